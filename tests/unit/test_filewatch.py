"""The wake-up of SQLite: whoever waits hears of every commit once it can be seen, by whatever means the system has."""

import os
import threading
from pathlib import Path

import pytest

from worklist.brokers.sqlite import SqliteBroker, filewatch
from worklist.brokers.sqlite.filewatch import FileWatch, _PollWatch, watch_file
from worklist.core.job import Job, new_job_id

PATIENCE = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture(params=["best", "poll"])
def watch(request: pytest.FixtureRequest, file: Path):
    watch = watch_file(str(file)) if request.param == "best" else _PollWatch(str(file))
    yield watch
    watch.close()


def write(file: Path) -> None:
    with file.open("ab") as log:
        log.write(b"!")


def until_it_returns(watch: FileWatch, seconds: float = 10 * PATIENCE) -> tuple[threading.Thread, list[bool]]:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(watch.wait(seconds)), daemon=True)
    thread.start()
    return thread, answers


def test_a_write_between_two_waits_is_not_missed(watch, file):
    for _ in range(3):
        watch.wait(0.0)
        write(file)
        thread, answers = until_it_returns(watch)
        thread.join(PATIENCE)
        assert answers == [False]


def test_a_write_ends_a_wait(watch, file):
    for _ in range(3):
        thread, answers = until_it_returns(watch)
        write(file)
        thread.join(PATIENCE)
        assert answers == [False]


def test_a_poke_ends_the_wait_and_is_told_from_a_write(watch):
    thread, answers = until_it_returns(watch)
    watch.poke()
    thread.join(PATIENCE)
    assert answers == [True]


def test_a_poke_before_the_wait_ends_it(watch):
    watch.poke()
    assert watch.wait(PATIENCE) is True
    assert watch.wait(0.0) is False


def test_any_number_of_pokes_is_one(watch):
    for _ in range(100_000):
        watch.poke()
    while watch.wait(0.0):
        pass
    assert watch.wait(0.0) is False


def test_a_wait_ends_after_its_time(watch, file):
    watch.wait(0.0)
    thread, answers = until_it_returns(watch, 0.01)
    thread.join(PATIENCE)
    assert answers == [False]


def test_a_watch_may_be_closed_twice_and_poked_after(watch):
    watch.close()
    watch.close()
    watch.poke()


def test_a_wait_soon_after_a_write_is_short(watch, file):
    """The writer makes visible what it wrote only after the write that woke the waiter."""
    watch.wait(0.0)
    write(file)
    watch.wait(PATIENCE)
    thread, answers = until_it_returns(watch)
    thread.join(PATIENCE)
    assert answers == [False]


def test_polling_waits_for_a_file_that_is_not_there_yet(tmp_path):
    watch = _PollWatch(str(tmp_path / "later"))
    thread, answers = until_it_returns(watch)
    (tmp_path / "later").touch()
    thread.join(PATIENCE)
    assert answers == [False]


def test_polling_takes_over_where_the_system_has_no_watch_left(file, monkeypatch):
    def none_left(path: str) -> FileWatch:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(filewatch, "_best_watch", lambda: none_left)
    assert isinstance(watch_file(str(file)), _PollWatch)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_a_closed_watch_gives_its_descriptors_back(file):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        watch_file(str(file)).close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("durability", ["normal", "full"])
@pytest.mark.parametrize("polling", [False, True])
def test_a_wait_hears_of_every_put_of_another_process(tmp_path, monkeypatch, durability, polling):
    if polling:
        monkeypatch.setattr(filewatch, "_best_watch", lambda: _PollWatch)
    waiter = SqliteBroker(tmp_path / "jobs.db", durability=durability)
    putter = SqliteBroker(tmp_path / "jobs.db", durability=durability)
    for n in range(10):
        begun = threading.Event()

        def wait(n: int = n, begun: threading.Event = begun) -> None:
            waiter.wait([f"q{n}"], 0.0)  # makes this thread's watch, so that the next one is in the midst of it
            begun.set()
            waiter.wait([f"q{n}"], 10 * PATIENCE)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        begun.wait(PATIENCE)
        putter.put([Job(new_job_id(), "task", queue=f"q{n}")])
        thread.join(PATIENCE)
        assert not thread.is_alive()
    waiter.close()
    putter.close()


def test_a_lease_of_nothing_wakes_nobody(tmp_path):
    """Else two idle workers would wake each other for ever."""
    broker = SqliteBroker(tmp_path / "jobs.db")
    watch = watch_file(str(tmp_path / "jobs.db-wal"))
    before = os.stat(tmp_path / "jobs.db-wal").st_mtime_ns
    broker.lease("w", ["default"], 10, 30.0)
    broker.settle([])
    assert os.stat(tmp_path / "jobs.db-wal").st_mtime_ns == before
    watch.close()
    broker.close()
