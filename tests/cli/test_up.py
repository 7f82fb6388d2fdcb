"""``worklist up``: workers and a beat as one tree, and the parent of all such trees by itself."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worklist.supervisor import CANNOT_START, Supervisor

from .conftest import Folder, eventually
from .test_processes import gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not list its processes")


def children_of(pid: int) -> dict[int, str]:
    """The living children of a process: their pids, and the command of worklist that each runs."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            words = (entry / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if int(parent) == pid:
            found[int(entry.name)] = words[3] if words[1:3] == ["-m", "worklist"] else words[0]
    return found


@pytest.fixture
def tree(folder: Folder) -> subprocess.Popen[str]:
    """A parent with two workers that have signed in, and a beat."""
    tree = folder.start("up", "tasks:app", "--workers", "2", "--threads", "1", LEASE="3")
    folder.signed_in(2)
    return tree


def test_what_it_consists_of(folder: Folder, tree: subprocess.Popen[str]) -> None:
    assert f"pid {tree.pid} starts 2 workers and a beat of tasks:app" in folder.said()
    eventually(lambda: sorted(children_of(tree.pid).values()) == ["beat", "worker", "worker"])
    for pid in folder.workers():
        assert "--no-beat" in Path(f"/proc/{pid}/cmdline").read_text().split("\0"), "one beat is enough"
    tree.send_signal(signal.SIGTERM)
    assert tree.wait(timeout=60) == 0
    assert folder.workers() == []


@pytest.mark.parametrize("kind", ["worker", "beat"])
def test_whatever_is_killed_is_restarted(folder: Folder, tree: subprocess.Popen[str], kind: str) -> None:
    before = children_of(tree.pid)
    victim = next(pid for pid, command in before.items() if command == kind)
    os.kill(victim, signal.SIGKILL)
    line = rf"restart +{kind}( [12])? \(pid {victim}\) was killed by SIGKILL; started again as pid (\d+)"
    eventually(lambda: re.search(line, folder.said()))
    found = re.search(line, folder.said())
    assert found
    assert children_of(tree.pid)[int(found[2])] == kind
    assert set(children_of(tree.pid)) == set(before) - {victim} | {int(found[2])}
    assert folder.tasks.add.enqueue(1).result(timeout=60) == 2


def test_a_second_signal_does_not_wait(folder: Folder, tree: subprocess.Popen[str]) -> None:
    job = folder.tasks.until_file.enqueue(str(folder.path / "never"))
    eventually((folder.path / "never.begun").exists)
    tree.send_signal(signal.SIGINT)
    eventually(lambda: len(children_of(tree.pid)) == 1)  # the busy one has its grace time
    tree.send_signal(signal.SIGTERM)
    assert tree.wait(timeout=60) == 0
    assert job.status == "queued"


def test_none_outlives_a_parent_that_is_killed(folder: Folder, tree: subprocess.Popen[str]) -> None:
    go = folder.path / "go"
    job = folder.tasks.until_file.enqueue(str(go))
    busy = folder.begun("go")
    children = children_of(tree.pid)
    tree.kill()
    eventually(lambda: all(gone(pid) for pid in children if pid != busy))
    assert not gone(busy), "a job that runs has its grace time"
    go.touch()
    assert job.result(timeout=60) == busy
    eventually(lambda: gone(busy))
    assert folder.workers() == []


TICKING = """
from worklist import Worklist

app = Worklist()

@app.task(every="1s")
def tick() -> None:
    open("ticks", "w").close()
"""


def test_the_beat_puts_what_is_due(folder: Folder) -> None:
    folder.write("ticking.py", TICKING)
    folder.start("up", "ticking:app")
    eventually((folder.path / "ticks").exists)


def test_without_a_beat(folder: Folder) -> None:
    tree = folder.start("up", "tasks:app", "--no-beat", "--max-jobs", "2")
    (first,) = folder.signed_in(1)
    assert f"pid {tree.pid} starts 1 worker of tasks:app" in folder.said()
    assert children_of(tree.pid) == {first: "worker"}
    for job in folder.tasks.add.enqueue_many([(n,) for n in range(3)]):
        job.result(timeout=60)
    assert f"recycle   worker 1 (pid {first}) reached --max-jobs" in folder.said()


def test_an_app_that_cannot_be_imported_is_told_once(folder: Folder) -> None:
    folder.write("broken.py", "x = nothing\n")
    assert folder.start("up", "broken:app", "--workers", "2").wait(timeout=60) == 1
    _, error = folder.said().splitlines()
    assert error.startswith("error: importing 'broken' raised NameError")


def test_what_is_not_understood(folder: Folder) -> None:
    assert "no such option" in folder.error("up", "tasks:app", "--until-empty", code=2).lower()
    assert "no app was named" in folder.error("up", code=2)


# -- as the first process of a container --------------------------------------------------------------------------


@pytest.fixture
def container(folder: Folder) -> Iterator[Callable[..., int]]:
    """Start ``worklist up`` as process 1 of a namespace of its own; return its pid as it is seen from here."""
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    try:
        possible = subprocess.run([*namespace, "true"], capture_output=True, check=False, timeout=60).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("this machine makes no namespace of processes (Linux, as root)")

    def start(*arguments: str) -> int:
        with (folder.path / "said.log").open("a") as said:
            process = subprocess.Popen(
                [*namespace, sys.executable, "-m", "worklist", "up", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )
        folder.processes.append(process)
        eventually(lambda: children_of(process.pid))
        return next(iter(children_of(process.pid)))

    yield start
    for process in folder.processes:
        process.kill()


ORPHANS = """
import subprocess
from worklist import Worklist

app = Worklist()

@app.task
def leave_one(path: str) -> None:
    subprocess.run(["sh", "-c", f"while ! [ -e {path} ]; do sleep 0.05; done &"], check=True)
"""


def test_the_first_process_of_a_container_buries_orphans(folder: Folder, container: Callable[..., int]) -> None:
    folder.write("orphans.py", ORPHANS)
    parent = container("orphans:app", "--no-beat")
    folder.signed_in(1)
    assert "pid 1 starts 1 worker" in folder.said()
    alone = set(children_of(parent))
    __import__("orphans").leave_one.enqueue(str(folder.path / "go")).result(timeout=60)
    eventually(lambda: len(children_of(parent)) == 2)
    (folder.path / "go").touch()
    eventually(lambda: set(children_of(parent)) == alone)
    os.kill(parent, signal.SIGTERM)
    assert folder.processes[0].wait(timeout=60) == 0
    __import__("orphans").app.close()


# -- the parent by itself, with children that are scripts ---------------------------------------------------------


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


OBEDIENT = "import sys; sys.stdin.read(1)"
DEAF = "import time; time.sleep(3600)"


def test_a_third_wish_kills() -> None:
    lines: list[str] = []

    def say(label: str, text: str) -> None:
        lines.append(f"{label} {text}")

    supervisor = Supervisor({"deaf": script(DEAF)}, say)
    for _ in range(3):
        supervisor.stop()
    assert supervisor.run() == 0
    assert [re.sub(r"\d+", "N", line) for line in lines] == [
        "killed deaf (pid N) did not end in time",
        "ended deaf (pid N) was killed by SIGKILL while it was to stop",
    ]


def test_a_child_that_cannot_start_does_not_end_the_others(tmp_path: Path) -> None:
    """It says why at its second start, when it is not hushed any more, and is tried again and again."""
    lines: list[str] = []
    log = tmp_path / "starts"

    def say(label: str, text: str) -> None:
        lines.append(f"{label} {text}")
        if len(lines) == 2:
            supervisor.stop()

    failing = f"import sys; open({str(log)!r}, 'a').write(f'{{sys.argv[1:]}}\\n'); sys.exit({CANNOT_START})"
    supervisor = Supervisor({"good": script(OBEDIENT), "beat": script(failing)}, say, hush=["--hush"])
    assert supervisor.run() == 0
    assert log.read_text().splitlines()[:2] == ["['--hush']", "[]"]
    assert [re.sub(r"\d+", "N", line) for line in lines[:1]] == [
        "restart beat (pid N) could not start; started again as pid N"
    ]
