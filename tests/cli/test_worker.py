"""``worklist worker`` as a real process: what it says, how it ends, and what it leaves."""

import signal

from .conftest import Folder, eventually


def test_what_a_worker_says(folder: Folder) -> None:
    folder.tasks.add.enqueue(1)
    failed = folder.tasks.fail.enqueue("no such \x1b[31mplace")
    retried = folder.tasks.fail_twice.enqueue()
    worker = folder.start("worker", "tasks:app", "--threads", "1", "--until-empty")
    assert worker.wait(timeout=60) == 0
    start, *lines, end = [line.split(maxsplit=2)[1:] for line in folder.said().splitlines()]
    assert start == [
        "worker",
        f"pid {worker.pid} serves default, mail, spare of tasks:app (6 tasks) on sqlite:///worklist.db with threads 1",
    ]
    assert end[0] == "ended"
    assert end[1].startswith(f"pid {worker.pid} processed 4 jobs in ")
    assert sorted(label for label, _ in lines) == ["failed", "failed", "retry"]
    told = "\n".join(f"{label} {text}" for label, text in lines)
    assert (
        f"failed tasks.fail {failed.id}, attempt 1 after 0.0 s: ValueError: no such \\x1b[31mplace (tasks.py:15)"
        in told
    )
    assert (
        f"retry tasks.fail_twice {retried.id}, attempt 1 after 0.0 s, again at once: ConnectionError: refused" in told
    )
    assert f"failed tasks.fail_twice {retried.id}, attempt 2" in told


def test_a_quiet_worker_says_nothing_of_jobs(folder: Folder) -> None:
    folder.tasks.fail.enqueue("x")
    folder.tasks.fail_twice.enqueue()
    assert folder.start("worker", "tasks:app", "--quiet", "--until-empty").wait(timeout=60) == 0
    assert folder.said() == ""
    assert folder.app.inspector.counts()["mail"] == {"failed": 1}


def test_jobs_of_an_unknown_task_are_told_once(folder: Folder) -> None:
    folder.write("older.py", (folder.path / "tasks.py").read_text().replace("def add(", "def ad("))
    folder.write(
        "older.py", (folder.path / "older.py").read_text().replace("@app.task\n", '@app.task(name="tasks.ad")\n', 1)
    )
    folder.tasks.add.enqueue_many([(n,) for n in range(3)])
    folder.start("worker", "older:app")
    eventually(lambda: "handed back" in folder.said())
    folder.processes[0].send_signal(signal.SIGTERM)
    assert folder.processes[0].wait(timeout=60) == 0
    (line,) = [line for line in folder.said().splitlines() if " unknown " in line]
    assert "no task named 'tasks.add' is registered here (did you mean 'tasks.ad'?)" in line


def test_colours_only_where_they_are_wanted(folder: Folder) -> None:
    folder.tasks.fail.enqueue("x")
    assert folder.start("worker", "tasks:app", "--until-empty", FORCE_COLOR="1").wait(timeout=60) == 0
    assert "\x1b[1;31mfailed   \x1b[0m" in folder.said()


def test_sigterm_ends_it_gently(folder: Folder) -> None:
    go = folder.path / "go"
    running = folder.tasks.until_file.enqueue(str(go))
    worker = folder.start("worker", "--app", "tasks:app", "--threads", "1")
    eventually((folder.path / "go.begun").exists)
    waiting = folder.tasks.add.enqueue(2)
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: waiting.status == "queued")
    go.touch()
    assert worker.wait(timeout=60) == 0
    assert running.result(timeout=0) == worker.pid
    assert waiting.status == "queued"
    assert folder.workers() == []


def test_a_second_signal_ends_it_now(folder: Folder) -> None:
    job = folder.tasks.until_file.enqueue(str(folder.path / "never"))
    worker = folder.start("worker", "tasks:app")
    eventually((folder.path / "never.begun").exists)
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert job.status == "queued"


def test_max_jobs_ends_it(folder: Folder) -> None:
    folder.tasks.add.enqueue_many([(n,) for n in range(10)])
    assert folder.start("worker", "tasks:app", "--max-jobs", "4").wait(timeout=60) == 0
    assert folder.app.inspector.counts()["default"] == {"queued": 6, "succeeded": 4}


def test_only_the_queues_that_were_named(folder: Folder) -> None:
    folder.tasks.add.enqueue(1)
    folder.tasks.fail.enqueue("x")
    assert folder.start("worker", "tasks:app", "--queues", "mail, spare", "--until-empty").wait(timeout=60) == 0
    assert folder.app.inspector.counts() == {"default": {"queued": 1}, "mail": {"failed": 1}}


def test_the_app_is_found_in_pyproject(folder: Folder) -> None:
    folder.write("pyproject.toml", '[tool.worklist]\napp = "tasks:app"\n')
    job = folder.tasks.add.enqueue(1)
    assert folder.start("worker", "--until-empty").wait(timeout=60) == 0
    assert job.result(timeout=0) == 2


def test_a_damaged_file_is_told_in_one_line(folder: Folder) -> None:
    (folder.path / "worklist.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert folder.start("worker", "tasks:app").wait(timeout=60) == 1
    (line,) = folder.said().splitlines()
    assert line.startswith("error: worklist.db is damaged")
