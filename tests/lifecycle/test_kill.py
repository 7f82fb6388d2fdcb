"""Workers die at any moment; every job is settled all the same."""

import random
import signal
import time

import pytest

from .conftest import Place, eventually


def test_kills_at_random_lose_nothing(place: Place) -> None:
    jobs, naps = 4000, 1500
    handles = place.tasks.touch.enqueue_many([(n,) for n in range(jobs)])
    slow = place.tasks.nap.enqueue_many([(jobs + n, 0.01) for n in range(naps)])
    kills = 0
    worker = place.worker(threads=4)
    while kills < 5 and place.counts().get("succeeded", 0) < jobs + naps:
        before = sum(place.runs().values())
        goal = before + random.randrange(100)
        eventually(lambda goal=goal: sum(place.runs().values()) > goal)
        worker.kill()
        kills += 1
        worker.wait()
        worker = place.worker(threads=4)
    eventually(lambda: place.counts().get("succeeded", 0) == jobs + naps)
    runs = place.runs()
    assert kills >= 3
    assert set(runs) == set(range(jobs + naps)), "a job was lost"
    doubles = sum(runs.values()) - len(runs)
    assert doubles <= kills * 405, "more jobs ran twice than can have been in flight"
    assert [handle.result(timeout=0) for handle in handles] == list(range(jobs))
    assert all(handle.status == "succeeded" for handle in slow)


def test_a_killed_worker_holds_its_job_no_longer_than_a_lease(place: Place) -> None:
    job = place.tasks.until_file.enqueue(1, str(place.folder / "go"))
    first = place.worker(lease=2.0)
    eventually(lambda: place.runs()[1] == 1)
    killed = time.monotonic()
    first.kill()
    second = place.worker(lease=2.0)
    eventually(lambda: place.runs()[1] == 2)
    assert time.monotonic() - killed < 2.0 + 1.0 + 2.0  # the lease, renewed at most at the kill, and a start-up
    (place.folder / "go").touch()
    assert job.result(timeout=30) == second.pid
    record = job.record()
    assert record is not None
    assert (record.attempt, record.lost) == (2, 1)
    assert record.errors[0].type == "WorkerLost"


def test_a_frozen_worker_cannot_settle_what_it_lost(place: Place) -> None:
    go = place.folder / "go"
    job = place.tasks.until_file.enqueue(1, str(go))
    frozen = place.worker(lease=1.0)
    eventually(lambda: place.runs()[1] == 1)
    frozen.send_signal(signal.SIGSTOP)
    other = place.worker(lease=1.0)
    eventually(lambda: place.runs()[1] == 2)
    go.touch()
    assert job.result(timeout=30) == other.pid
    frozen.send_signal(signal.SIGCONT)
    marker = place.tasks.touch.enqueue(2)
    other.terminate()
    other.wait()
    assert marker.result(timeout=30) == 2  # the thawed worker serves on, after it has tried to settle the lost job
    assert job.result(timeout=0) == other.pid, "the frozen worker overwrote the result"
    record = job.record()
    assert record is not None
    assert (record.attempt, record.lost) == (2, 1)
    assert place.runs()[1] == 2


def test_a_job_that_kills_its_worker_runs_out_of_redeliveries(place: Place) -> None:
    job = place.tasks.until_file.using(redeliveries=1).enqueue(1, str(place.folder / "never"))
    for run in (1, 2):
        worker = place.worker(lease=1.0)
        eventually(lambda run=run: place.runs()[1] == run)
        worker.kill()
        worker.wait()
    place.worker(lease=1.0)
    eventually(lambda: job.status == "failed")
    record = job.record()
    assert record is not None
    assert [error.type for error in record.errors] == ["WorkerLost", "WorkerLost"]
    assert place.runs()[1] == 2


def test_a_child_process_that_dies_fails_its_job_alone(place: Place) -> None:
    crash = place.tasks.crash.enqueue(1)
    fine = place.tasks.touch.enqueue(2)
    worker = place.worker()
    assert fine.result(timeout=30) == 2
    eventually(lambda: crash.status == "failed")
    record = crash.record()
    assert record is not None
    assert "exit code 3" in record.errors[-1].message
    assert worker.poll() is None


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_share_one_file(place: Place, processes: int) -> None:
    place.tasks.touch.enqueue_many([(n,) for n in range(3000)])
    workers = [place.worker(threads=2, until_empty=True) for _ in range(processes)]
    for worker in workers:
        assert worker.wait(timeout=60) == 0
    assert place.counts() == {"succeeded": 3000}
    assert set(place.runs().values()) == {1}, "a job ran twice though no worker died"
