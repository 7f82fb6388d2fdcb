"""A worker in a process of its own: outlives programs, is there once, and no job falls between its end and a start."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from worklist import ConfigError, JobHandle, WorkerProcess, Worklist, WorklistError
from worklist.detached import LOG_BYTES, find
from worklist.detached import Place as Files

from .conftest import Place, eventually

TASKS = """
@app.task
def fork(path: str) -> int:
    pid = os.fork()
    if pid == 0:
        while not os.path.exists(path):
            time.sleep(0.01)
        os._exit(0)
    return pid

@app.task
def start_again() -> int:
    return app.start_worker().pid
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder with an app; the worker on its file is ended afterwards, whichever it is by then."""
    place = Place(tmp_path, monkeypatch, TASKS)
    monkeypatch.setenv("LEASE", "1.5")
    place.environment["LEASE"] = "1.5"
    yield place
    left = find(place.folder / "jobs.db")
    if left is not None:
        left.stop(now=True)
        assert left.wait(30)
    place.end()


def found(place: Place) -> WorkerProcess | None:
    return find(place.folder / "jobs.db")


def program(place: Place, code: str) -> subprocess.Popen[str]:
    """Start a program that uses the app."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", f"import {place.module} as tasks, os, time\n{code}"],
        env=place.environment,
        cwd=place.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    place.processes.append(process)
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(worker: WorkerProcess) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait(30)


def test_it_outlives_the_program_that_is_killed(place: Place) -> None:
    go = place.folder / "go"
    started = program(
        place,
        f"print(tasks.app.start_worker(threads=2).pid, flush=True)\n"
        f"tasks.until_file.enqueue(0, {str(go)!r}); tasks.touch.enqueue_many([(n,) for n in range(1, 50)])\n"
        "print('put', flush=True); time.sleep(600)",
    )
    pid = int(said(started))
    assert said(started) == "put"
    started.kill()
    started.wait()
    go.touch()
    eventually(lambda: place.counts() == {"succeeded": 50})
    assert os.getsid(pid) == pid, "what ends the program's session must not reach it"
    worker = found(place)
    assert worker is not None
    assert (worker.pid, worker.app, worker.log) == (pid, f"{place.module}:app", place.folder / "jobs.db.log")
    assert f"pid {pid} serves default" in worker.log.read_text()


def test_programs_at_the_same_moment_start_one(place: Place) -> None:
    go = place.folder / "go"
    code = f"print('up', flush=True)\nwhile not os.path.exists({str(go)!r}): pass\nprint(tasks.app.start_worker().pid)"
    programs = [program(place, code) for _ in range(6)]
    for each in programs:
        assert said(each) == "up"
    go.touch()
    pids = {said(each) for each in programs}
    assert len(pids) == 1
    eventually(lambda: len(place.app.inspector.workers()) == 1)
    assert (place.folder / "jobs.db.log").read_text().count(" serves ") == 1


def test_no_job_falls_between_the_end_of_one_and_the_start_of_another(place: Place) -> None:
    """The worker looks every 10 ms whether it may go; each round comes at another moment of that, or of its end."""
    jobs: list[JobHandle[int]] = []
    pids = set()
    for number in range(40):
        if number % 2:
            jobs.append(place.tasks.touch.enqueue(number))
        worker = place.app.start_worker(idle_exit=0)
        if not number % 2:
            jobs.append(place.tasks.touch.enqueue(number))
        pids.add(worker.pid)
        if number % 3 == 0:
            assert jobs[-1].result(timeout=60) == number
        worker.wait(number % 10 * 0.003)
    eventually(lambda: all(job.status == "succeeded" for job in jobs))
    assert worker.wait(60)
    assert 1 < len(pids) < 40, "some are to be found, and some to have gone"
    assert set(place.runs().values()) == {1}


def test_an_idle_worker_stays_for_a_program_that_lives(place: Place) -> None:
    worker = place.app.start_worker(idle_exit=0)
    for number in range(100):
        assert place.tasks.touch.enqueue(number).result(timeout=60) == number
    assert worker.running
    place.app.close()
    assert worker.wait(60)


def test_an_idle_worker_stays_for_what_is_due_later(place: Place) -> None:
    with place.app:
        job = place.tasks.touch.using(delay=2).enqueue(1)
        worker = place.app.start_worker(idle_exit=0)
    assert worker.wait(60), "it is to end after that"
    assert job.status == "succeeded"


def test_one_that_was_killed_is_followed_by_another(place: Place) -> None:
    job = place.tasks.until_file.enqueue(1, str(place.folder / "go"))
    first = place.app.start_worker()
    eventually(lambda: place.runs()[1] == 1)
    kill(first)
    assert not first.running
    assert found(place) is None
    second = place.app.start_worker()
    assert second.pid != first.pid
    (place.folder / "go").touch()
    assert job.result(timeout=60) == second.pid


def test_the_pid_of_a_dead_one_means_nothing_though_somebody_has_it_now(place: Place) -> None:
    first = place.app.start_worker()
    kill(first)
    about = place.folder / "jobs.db.worker" / "worker.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"pid": os.getpid()}))
    assert found(place) is None
    assert place.app.start_worker().pid != os.getpid()


def test_who_starts_while_one_is_stopping_gets_the_next(place: Place) -> None:
    go = place.folder / "go"
    running = place.tasks.until_file.enqueue(1, str(go))
    first = place.app.start_worker()
    eventually(lambda: place.runs()[1] == 1)
    first.stop()
    eventually(lambda: '"leaving":true' in (place.folder / "jobs.db.worker" / "worker.json").read_text())
    seconds: list[WorkerProcess] = []
    starter = threading.Thread(target=lambda: seconds.append(place.app.start_worker()))
    starter.start()
    go.touch()
    starter.join(60)
    assert running.result(timeout=0) == first.pid
    assert seconds[0].pid != first.pid
    assert place.tasks.touch.enqueue(2).result(timeout=60) == 2


def test_stop_now_hands_back_what_runs(place: Place) -> None:
    job = place.tasks.until_file.enqueue(1, str(place.folder / "never"))
    worker = place.app.start_worker()
    eventually(lambda: place.runs()[1] == 1)
    assert not worker.wait(0)
    worker.stop(now=True)
    assert worker.wait(20)
    assert job.status == "queued"


def test_a_process_that_a_job_forked_is_not_the_worker(place: Place) -> None:
    go = place.folder / "go"
    worker = place.app.start_worker()
    place.tasks.fork.enqueue(str(go)).result(timeout=60)
    try:
        kill(worker)
        assert found(place) is None
    finally:
        go.touch()


def test_a_job_that_starts_its_own_worker_finds_itself_in_it(place: Place) -> None:
    with place.app:
        worker = place.app.start_worker(idle_exit=0)
        assert place.tasks.start_again.enqueue().result(timeout=60) == worker.pid
    assert worker.wait(60), "it must not wait for itself"


def test_a_program_that_dies_while_it_starts_one(place: Place) -> None:
    """The worker has the lock already; the next program waits until it serves."""
    slow, go = place.folder / "slow", place.folder / "go"
    place.script.write_text(
        place.script.read_text().replace(
            "app = Worklist(",
            f"if os.path.exists({str(slow)!r}) and 'worker' in __import__('sys').argv:\n"
            f"    open({str(slow)!r} + '.begun', 'w').close()\n"
            f"    while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
            "app = Worklist(",
            1,
        )
    )
    slow.touch()
    first = program(place, "tasks.app.start_worker()")
    eventually((place.folder / "slow.begun").exists)
    first.kill()
    first.wait()
    second = program(place, "print('up', flush=True); print(tasks.app.start_worker().pid, flush=True)")
    assert said(second) == "up"
    go.touch()
    assert int(said(second)) > 0
    assert (place.folder / "jobs.db.log").read_text().count(" serves ") == 1


# -- what is refused ----------------------------------------------------------------------------------------------


def test_one_that_does_not_know_the_tasks_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "other.py").write_text(
        f"from worklist import Worklist\napp = Worklist({place.url!r})\n@app.task\ndef unheard_of() -> None: ...\n"
    )
    worker = place.app.start_worker()
    other = __import__("other")
    try:
        with pytest.raises(WorklistError, match=f"pid {worker.pid}.*does not serve the task 'other.unheard_of'"):
            other.app.start_worker()
    finally:
        other.app.close()
        del sys.modules["other"]


def test_what_makes_no_sense_is_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match="memory:// live in the process that puts them"):
        Worklist("memory://").start_worker()
    with pytest.raises(ConfigError, match="use app.work"):
        place.app.start_worker(detached=False)
    with pytest.raises(ConfigError, match="threads is 0"):
        place.app.start_worker(threads=0)
    with pytest.raises(ConfigError, match="idle_exit is 'soon'"):
        place.app.start_worker(idle_exit="soon")
    nameless = Worklist(place.url)
    nameless.task(name="length")(len)
    with nameless, pytest.raises(ConfigError, match="in no variable of a module"):
        nameless.start_worker()
    assert found(place) is None


SCRIPT = """
import sys
from worklist import Worklist
app = Worklist(sys.argv[1] if len(sys.argv) == 2 else "sqlite:///jobs.db")
@app.task
def double(n: int) -> int:
    return 2 * n
"""
SCRIPTS = [
    ("app.start_worker()\n", "sqlite:///jobs.db", "start_worker() was reached while the worker imported the script"),
    ("if __name__ == '__main__': app.start_worker()\n", "sqlite:///else.db", "its URL has to be the same in both"),
    ("if __name__ == '__main__': app.start_worker()\nelse: 1 / 0\n", "sqlite:///jobs.db", "ZeroDivisionError"),
    ("if __name__ == '__main__': app.start_worker()\nelse: __import__('os')._exit(7)\n", "sqlite:///jobs.db", "code 7"),
]


@pytest.mark.parametrize(("end", "url", "error"), SCRIPTS)
def test_a_script_that_cannot_be_imported_is_told_why(tmp_path: Path, end: str, url: str, error: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT + end)
    done = subprocess.run(
        [sys.executable, "script.py", url], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert error in done.stderr.splitlines()[-1]
    assert find(tmp_path / "jobs.db") is None
    assert find(tmp_path / "else.db") is None


def test_a_script_in_another_folder_is_imported_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "script.py").write_text("raise ImportError('the wrong one')")
    (tmp_path / "scripts" / "script.py").write_text(
        SCRIPT + "if __name__ == '__main__':\n    with app:\n"
        "        worker = app.start_worker(idle_exit=0); print(double.enqueue(4).result(timeout=60))\n"
        "    worker.wait(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "../scripts/script.py"],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("8\n", "")
    assert find(tmp_path / "here" / "jobs.db") is None


def test_the_log_keeps_its_newer_half(tmp_path: Path) -> None:
    files = Files(tmp_path / "jobs.db")
    lines = [f"line {number:07}\n" for number in range(LOG_BYTES // 13 + 1)]
    with files.log.open("a") as log:
        log.writelines(lines)
        log.flush()
        files.trim_log()
        log.write("the next\n")
    kept = files.log.read_text().splitlines(keepends=True)
    assert kept[:-1] == lines[-len(kept) + 1 :]
    assert kept[-1] == "the next\n"
    assert LOG_BYTES // 2 - 13 <= files.log.stat().st_size <= LOG_BYTES // 2 + 13
