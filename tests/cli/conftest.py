"""A folder with an app in it, to run commands in: in this process, or as real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from worklist import Worklist
from worklist.cli import main

APP = """
import os, time
from worklist import Worklist, current_job

app = Worklist(lease=float(os.environ.get("LEASE", "30")), queues=["spare"])
number = 5

@app.task
def add(a: int, b: int = 1) -> int:
    return a + b

@app.task(queue="mail")
def fail(text: str) -> None:
    current_job().progress(1, 3, "on the way"); current_job().log("no \\x1b[31mroute")
    raise ValueError(text)

@app.task(retries=1, backoff=0)
def fail_twice() -> None:
    raise ConnectionError("refused")

@app.task
def note(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\n")

@app.task
def until_file(path: str) -> int:
    with open(f"{path}.begun", "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()

@app.task
def hog() -> list[int]:
    hog.held = bytearray(300 << 20)
    return []
"""


class Folder:
    """The working directory, with ``tasks.py`` and whatever a test adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.processes: list[subprocess.Popen[str]] = []
        self.write("tasks.py", APP)
        self._app: Worklist | None = None

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    @property
    def app(self) -> Worklist:
        """The app on the folder's file, imported here."""
        return self.tasks.app  # type: ignore[no-any-return]

    @property
    def tasks(self) -> Any:
        return __import__("tasks")

    def run(self, *arguments: str, input: str | None = None) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(main, arguments, input=input)

    def ok(self, *arguments: str) -> str:
        """Run a command that has to succeed; return what it printed."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def error(self, *arguments: str, code: int = 1) -> str:
        """Run a command that has to be refused with one line; return that line."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        return line

    def begun(self, name: str) -> int:
        """Wait for a job of `until_file` to begin; return the process that runs it."""
        file = self.path / f"{name}.begun"
        eventually(lambda: file.exists() and file.read_text().endswith("\n"))
        return int(file.read_text())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a real ``worklist`` process; what it says goes to a file that `said` reads."""
        with (self.path / "said.log").open("a") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "worklist", *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )
        self.processes.append(process)
        return process

    def said(self) -> str:
        """All that the processes have printed so far."""
        log = self.path / "said.log"
        return log.read_text() if log.exists() else ""

    def workers(self) -> list[int]:
        """The pids of the workers that have signed in."""
        return sorted(worker.pid for worker in self.app.inspector.workers())

    def signed_in(self, number: int, besides: int | None = None) -> list[int]:
        """Wait until so many workers have signed in, one that is known not counted; return their pids."""
        found: list[int] = []

        def enough() -> bool:
            found[:] = [pid for pid in self.workers() if pid != besides]
            return len(found) == number

        eventually(enough)
        return found

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])))
    for name in ("WORKLIST_URL", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    known = set(sys.modules)
    folder = Folder(tmp_path)
    yield folder
    folder.end()
    if "tasks" in sys.modules:
        folder.app.close()
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def eventually(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)
