"""A real supervisord with what ``worklist export supervisor`` prints: it starts, restarts and stops the tree."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from worklist import Worklist

from .conftest import eventually

APP = """
import os
from worklist import Worklist

app = Worklist()

@app.task
def parent() -> int:
    return os.getppid()
"""

SUPERVISORD = """
[supervisord]
nodaemon=true
pidfile=%(here)s/supervisord.pid
logfile=%(here)s/supervisord.log
childlogdir=%(here)s

[unix_http_server]
file=%(here)s/socket

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(here)s/socket

[include]
files=shop.conf
"""


class Site:
    """A folder for supervisord, and in it one for the app, whose name has what supervisor takes for syntax."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "50% it's"
        self.code.mkdir()
        (self.code / "shop.py").write_text(APP)
        (folder / "supervisord.conf").write_text(SUPERVISORD)
        source = str(Path(__file__).parents[2] / "src")
        self.environment = {**os.environ, "PYTHONPATH": source}
        self.environment.pop("WORKLIST_URL", None)
        exported = self.done("worklist", "export", "supervisor", "shop:app", "--workers=2", "--no-beat", at=self.code)
        (folder / "shop.conf").write_text(exported)
        self.app = Worklist(f"sqlite:///{str(self.code).replace('%', '%25')}/worklist.db")
        self.task = self.app.task(name="shop.parent")(os.getppid)
        with (folder / "said.log").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def done(self, module: str, *words: str, at: Path) -> str:
        """Run a program; return what it printed, whatever its exit code tells."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=at,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        ).stdout

    def control(self, *words: str) -> str:
        return self.done("supervisor.supervisorctl", "-c", "supervisord.conf", *words, at=self.folder)

    def tree(self) -> int:
        """Have a job done; return the pid of the ``worklist up`` that its worker belongs to."""
        return self.task.enqueue().result(timeout=60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=60)
        self.app.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def session_of(pid: int) -> list[int]:
    """The processes of the session that supervisord makes for each program."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = entry.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == pid and state != "Z":
            found.append(int(entry.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not list its processes")
def test_it_is_started_restarted_and_stopped(site: Site) -> None:
    first = site.tree()
    eventually(lambda: f"pid {first}" in site.control("status", "shop"))
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not session_of(first))
    second = site.tree()
    assert second != first
    eventually(lambda: f"pid {second}" in site.control("status", "shop"))
    site.control("stop", "shop")
    assert session_of(second) == []
    assert site.app.inspector.workers() == [], "they have signed off, so they were stopped gently"
    log = "".join(path.read_text() for path in site.folder.glob("shop-stdout*.log"))
    assert "starts 2 workers" in log
    site.process.terminate()
    assert site.process.wait(timeout=60) == 0
    assert not (site.folder / "socket").exists()
    assert not (site.folder / "supervisord.pid").exists()
