"""``worklist worker --detach``, what ``status`` says of it, and ``worklist stop``."""

import os
import re
from collections.abc import Iterator

import pytest

from worklist.detached import find

from .conftest import Folder, eventually


@pytest.fixture(autouse=True)
def _nothing_left(folder: Folder) -> Iterator[None]:
    yield
    left = find(folder.path / "worklist.db")
    if left is not None:
        left.stop(now=True)
        assert left.wait(30)


def detach(folder: Folder, *options: str) -> int:
    """Start a detached worker as a shell would; return its pid."""
    before = len(folder.said())
    assert folder.start("worker", "tasks:app", "--detach", *options).wait(timeout=60) == 0
    (pid,) = re.findall(r"^pid (\d+) serves tasks:app", folder.said()[before:], re.MULTILINE)
    return int(pid)


def test_detach_status_and_stop(folder: Folder) -> None:
    pid = detach(folder, "--threads", "3")
    assert detach(folder) == pid, "there is one"
    assert " since " in folder.said().splitlines()[-1]
    assert folder.tasks.add.enqueue(1).result(timeout=60) == 2
    shown = folder.ok("status")
    assert re.search(rf"^detached worker: pid {pid} of tasks:app, began .*, prints to worklist.db.log$", shown, re.M)
    told = folder.json("status")["detached"]
    assert (told["pid"], told["app"], told["log"]) == (pid, "tasks:app", str(folder.path / "worklist.db.log"))
    assert folder.signed_in(1) == [pid]
    assert folder.json("status")["workers"][0]["slots"] == 3
    assert folder.ok("stop", "tasks:app").startswith(f"pid {pid} on sqlite:///worklist.db ended after ")
    assert folder.ok("stop", "--url", "sqlite:///worklist.db") == "no detached worker runs on sqlite:///worklist.db\n"
    assert folder.json("status")["detached"] is None
    assert "detached" not in folder.ok("status")


def test_it_ends_when_it_is_idle(folder: Folder) -> None:
    folder.tasks.add.enqueue(1)
    pid = detach(folder, "--idle-exit", "0.1s", "--queues", "default,spare", "--no-beat")
    eventually(lambda: find(folder.path / "worklist.db") is None)
    assert f"pid {pid} processed 1 job " in (folder.path / "worklist.db.log").read_text()


def test_stop_is_patient_and_says_what_to_do(folder: Folder) -> None:
    go = folder.path / "go"
    job = folder.tasks.until_file.enqueue(str(go))
    pid = detach(folder)
    eventually((folder.path / "go.begun").exists)
    line = folder.error("stop", "--grace", "0.1s")
    assert f"(pid {pid}) takes no more jobs, and after 0.1 s some still run" in line
    assert "--now hands them back at once" in line
    assert folder.ok("stop", "--now").startswith(f"pid {pid} ")
    assert job.status == "queued"


def test_what_the_app_prints_goes_to_the_log(folder: Folder) -> None:
    folder.write("chatty.py", (folder.path / "tasks.py").read_text() + "print('imported', os.getcwd())\n")
    assert folder.start("worker", "chatty:app", "--detach").wait(timeout=60) == 0
    assert f"imported {os.getcwd()}" in (folder.path / "worklist.db.log").read_text()


USAGE = [
    (["worker", "tasks:app", "--idle-exit", "5s"], "--idle-exit goes with --detach"),
    (["worker", "tasks:app", "--detach", "--idle-exit", "soon"], "--idle-exit is 'soon'"),
    (["worker", "tasks:app", "--detach", "--processes", "2"], "--processes does not go with --detach"),
    (["worker", "tasks:app", "--detach", "--until-empty"], "--until-empty does not go with --detach; expected --idle"),
    (["worker", "tasks:app", "--detach", "--max-jobs", "2"], "--max-jobs does not go with --detach"),
    (["stop", "--grace", "long"], "--grace is 'long'"),
    (["stop", "tasks:app", "--app", "other:app"], "two apps were named"),
]


@pytest.mark.parametrize(("arguments", "error"), USAGE)
def test_what_does_not_go_together(folder: Folder, arguments: list[str], error: str) -> None:
    assert error in folder.error(*arguments, code=2)


def test_jobs_in_memory_are_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKLIST_URL", "memory://")
    assert "where no other can see them" in folder.error("worker", "tasks:app", "--detach")
    assert "where no other can see them" in folder.error("stop", "tasks:app")
