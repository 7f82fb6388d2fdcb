"""``worklist worker --processes N``: a parent that restarts what dies, and children that outlive nobody."""

import contextlib
import os
import re
import signal
import subprocess

import pytest

from worklist.supervisor import Supervisor, how_it_ended

from .conftest import Folder, eventually


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has waited for it yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
    return False


@pytest.fixture
def parent(folder: Folder) -> subprocess.Popen[str]:
    """A parent with two children that have signed in."""
    parent = folder.start("worker", "tasks:app", "--processes", "2", "--threads", "1", LEASE="3")
    folder.signed_in(2)
    return parent


def test_a_killed_child_is_restarted_and_its_job_done(folder: Folder, parent: subprocess.Popen[str]) -> None:
    go = folder.path / "go"
    job = folder.tasks.until_file.enqueue(str(go))
    victim = folder.begun("go")
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: "restart" in folder.said())
    found = re.search(rf"worker \d \(pid {victim}\) was killed by SIGKILL; started again as pid (\d+)", folder.said())
    assert found
    eventually(lambda: int(found[1]) in folder.workers())
    go.touch()
    assert job.result(timeout=60) != victim
    record = job.record()
    assert record is not None
    assert (record.attempt, record.lost) == (2, 1)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=60) == 0
    eventually(lambda: not folder.workers())


def test_children_end_gently_when_the_parent_is_killed(folder: Folder, parent: subprocess.Popen[str]) -> None:
    go = folder.path / "go"
    job = folder.tasks.until_file.enqueue(str(go))
    busy = folder.begun("go")
    children = folder.signed_in(2)
    parent.kill()
    (idle,) = set(children) - {busy}
    eventually(lambda: gone(idle))
    assert not gone(busy), "a job that runs has its grace time"
    go.touch()
    assert job.result(timeout=60) == busy
    eventually(lambda: gone(busy))
    assert folder.workers() == [], "they have signed off"


def test_sigterm_is_passed_on_and_jobs_are_handed_back(folder: Folder, parent: subprocess.Popen[str]) -> None:
    job = folder.tasks.until_file.enqueue(str(folder.path / "never"))
    eventually((folder.path / "never.begun").exists)
    parent.send_signal(signal.SIGTERM)
    eventually(lambda: len(folder.workers()) == 1)  # the idle one goes, the busy one has its grace time
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=60) == 0
    record = job.record()
    assert record is not None
    assert (record.state, record.attempt) == ("queued", 0)
    assert folder.workers() == []
    assert "restart" not in folder.said()


def test_children_are_recycled_until_the_queue_is_empty(folder: Folder) -> None:
    log = folder.path / "pids"
    folder.tasks.note.enqueue_many([(str(log),)] * 25)
    parent = folder.start("worker", "tasks:app", "--processes", "1", "--max-jobs", "10", "--until-empty")
    assert parent.wait(timeout=60) == 0
    pids = log.read_text().split()
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [10, 10, 5]
    assert folder.said().count("reached --max-jobs or --max-memory; pid ") == 2


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not tell how much memory is used")
def test_a_child_that_takes_too_much_memory_is_recycled(folder: Folder) -> None:
    folder.start("worker", "tasks:app", "--processes", "1", "--max-memory", "200MB")
    (first,) = folder.signed_in(1)
    folder.tasks.hog.enqueue()
    folder.signed_in(1, besides=first)
    eventually(lambda: f"(pid {first}) reached --max-jobs or --max-memory" in folder.said())


def test_an_app_that_cannot_be_imported_is_told_once(folder: Folder) -> None:
    folder.write("broken.py", "x = nothing\n")
    parent = folder.start("worker", "broken:app", "--processes", "3")
    assert parent.wait(timeout=60) == 1
    first, error = folder.said().splitlines()
    assert "starts 3 workers of broken:app" in first
    assert error.startswith("error: importing 'broken' raised NameError")


def test_a_child_that_keeps_dying_is_restarted_with_pauses(folder: Folder) -> None:
    folder.write(
        "doomed.py",
        "import os, threading\nfrom worklist import Worklist\napp = Worklist()\n"
        "@app.task\ndef nothing() -> None: ...\n"
        "if os.path.exists('doom'): os._exit(7)\n",
    )
    folder.write("doom", "")
    parent = folder.start("worker", "doomed:app", "--processes", "1")
    eventually(lambda: "started again in" in folder.said())
    assert re.search(r"worker 1 \(pid \d+\) ended with exit code 7; started again as pid \d+", folder.said())
    assert "it is started again in 0.5 s" in folder.said()
    (folder.path / "doom").unlink()
    eventually(lambda: "serves default" in folder.said())
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=60) == 0


def test_ctrl_c_in_a_terminal_reaches_everybody_and_counts_once(folder: Folder) -> None:
    """A terminal sends SIGINT to the whole group; with the parent's word that is still one wish, a gentle one."""
    go = folder.path / "go"
    job = folder.tasks.until_file.enqueue(str(go))
    parent = folder.start("worker", "tasks:app", "--processes", "1")
    child = folder.begun("go")
    os.kill(child, signal.SIGINT)
    parent.send_signal(signal.SIGINT)
    waiting = folder.tasks.add.enqueue(1)
    go.touch()
    assert job.result(timeout=60) == child
    assert parent.wait(timeout=60) == 0
    assert waiting.status == "queued"


def test_how_it_ended() -> None:
    assert how_it_ended(78) == "could not start"
    assert how_it_ended(3) == "ended with exit code 3"
    assert how_it_ended(-9) == "was killed by SIGKILL"
    assert how_it_ended(-99) == "was killed by signal 99"


def test_a_command_that_cannot_be_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    def say(label: str, text: str) -> None:
        lines.append(f"{label} {text}")
        supervisor.stop()

    supervisor = Supervisor({"worker 1": ["/nowhere/at/all"]}, say)
    assert supervisor.run() == 0
    assert "restart worker 1 could not be started: " in lines[0]
