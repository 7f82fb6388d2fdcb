"""Workers are asked to stop; nothing is lost, and what was not started is handed back."""

import signal
import time

from .conftest import Place, eventually


def test_sigterm_lets_running_jobs_end_and_hands_the_rest_back(place: Place) -> None:
    go = place.folder / "go"
    running = place.tasks.until_file.enqueue(1, str(go))
    worker = place.worker(threads=1)
    eventually(lambda: place.runs()[1] == 1)
    waiting = place.tasks.touch.enqueue(2)
    worker.terminate()
    time.sleep(0.5)  # for the signal to be heard before the job ends, after which the other one could begin
    assert running.status == "running"
    go.touch()
    assert worker.wait(timeout=30) == 0
    assert running.result(timeout=0) == worker.pid
    assert waiting.status == "queued"
    record = waiting.record()
    assert record is not None
    assert record.attempt == 0, "a job that was handed back must not lose an attempt"


def test_a_second_signal_stops_now_and_hands_back_what_runs(place: Place) -> None:
    job = place.tasks.until_file.enqueue(1, str(place.folder / "never"))
    worker = place.worker(lease=60.0)
    eventually(lambda: place.runs()[1] == 1)
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGINT)
    eventually(lambda: worker.poll() is not None or worker.send_signal(signal.SIGINT))
    assert job.status == "queued", "it has to be free at once, not when its lease of a minute lapses"


def test_two_signals_at_once_are_heard(place: Place) -> None:
    for number in range(8):  # they went unheard in every fourth or so
        worker = place.worker(lease=60.0)
        assert place.tasks.touch.enqueue(number).result(timeout=60) == number
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(timeout=20) == 0


def test_the_grace_time_ends(place: Place) -> None:
    job = place.tasks.anap.enqueue(1, 3600.0)
    worker = place.worker(lease=60.0, grace=0.2)
    eventually(lambda: place.runs()[1] == 1)
    begun = time.monotonic()
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    assert time.monotonic() - begun < 10
    assert job.status == "queued"


def test_a_running_job_is_cancelled_from_another_process(place: Place) -> None:
    job = place.tasks.anap.enqueue(1, 3600.0)
    thread_job = place.tasks.until_file.enqueue(2, str(place.folder / "never"))
    place.worker()
    eventually(lambda: place.runs()[1] == 1 and place.runs()[2] == 1)
    assert job.cancel()
    assert thread_job.cancel()
    eventually(lambda: job.status == "cancelled" and thread_job.status == "cancelled")


def test_a_slow_job_does_not_keep_those_behind_it_hostage(place: Place) -> None:
    go = place.folder / "go"
    quick = [(n,) for n in range(2000)]
    place.tasks.touch.enqueue_many(quick)
    slow = place.tasks.until_file.enqueue(5000, str(go))
    behind = place.tasks.touch.enqueue_many([(10_000 + n,) for n in range(100)])
    first = place.worker(threads=1, lease=60.0)
    eventually(lambda: place.runs()[5000] == 1)
    place.worker(threads=1, lease=60.0)
    eventually(lambda: all(job.status == "succeeded" for job in behind))
    assert slow.status == "running"
    assert first.poll() is None
    go.touch()
    eventually(lambda: slow.status == "succeeded")
