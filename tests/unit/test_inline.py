"""Inline mode: jobs run at once, in the test's own thread, through the same codec and the same decisions."""

import asyncio
import threading

import pytest

from worklist import ArgumentError, JobFailed, Retry, Snooze, Worklist, current_job
from worklist.testing import FakeClock, InlineWorker


def test_a_job_has_run_when_enqueue_returns(app: Worklist):
    ran: list[object] = []

    @app.task
    def task(x: int) -> int:
        ran.append((x, threading.current_thread()))
        return x + 1

    with app.inline():
        assert task.enqueue(1).result(timeout=0) == 2
    assert ran == [(1, threading.current_thread())]


def test_nothing_of_it_reaches_the_real_store(file_app: Worklist):
    task = file_app.task(name="task")(lambda: None)
    waiting = task.enqueue()
    with file_app.inline():
        assert task.enqueue().status == "succeeded"
        assert waiting.status is None
    assert file_app.store.counts() == {"default": {"queued": 1}}


def test_a_failure_is_told_by_the_handle(app: Worklist):
    @app.task
    def task() -> None:
        raise ValueError("bad")

    with app.inline():
        job = task.enqueue()
        with pytest.raises(JobFailed, match="ValueError: bad"):
            job.result(timeout=0)


def test_retries_snoozes_and_delays_are_not_waited_for(app: Worklist):
    attempts: list[int] = []

    @app.task(retries=3, backoff="1h")
    def task() -> str:
        attempts.append(current_job().attempt)
        if len(attempts) < 3:
            raise OSError
        if len(attempts) == 3:
            raise Snooze("1d")
        if len(attempts) == 4:
            raise Retry("1w")
        return "done"

    with app.inline():
        assert task.using(delay="1d").enqueue().result(timeout=0) == "done"
    assert attempts == [1, 2, 3, 3, 4]


def test_delayed_jobs_run_in_the_order_in_which_they_are_due(app: Worklist):
    ran: list[str] = []

    @app.task
    def task(name: str) -> None:
        ran.append(name)

    @app.task
    def start() -> None:
        task.using(delay="2h").enqueue("late")
        task.using(delay="1h").enqueue("early")
        task.enqueue("now")

    with app.inline():
        start.enqueue()
    assert ran == ["now", "early", "late"]


def test_coroutines_run_too(app: Worklist):
    @app.task
    async def task(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    with app.inline():
        assert task.enqueue(1).result(timeout=0) == 2


def test_arguments_are_checked_and_pass_through_bytes(app: Worklist):
    got: list[object] = []

    @app.task
    def task(x: list[int]) -> None:
        got.append(x)

    mine = [1]
    with app.inline():
        task.enqueue(mine)
        with pytest.raises(ArgumentError):
            task.enqueue("one")  # type: ignore[arg-type]
    assert got == [[1]]
    assert got[0] is not mine


def test_aenqueue_runs_plain_functions_at_once(app: Worklist):
    task = app.task(name="task")(lambda: 5)

    async def main() -> object:
        job = await task.aenqueue()
        return await asyncio.wait_for(job, 60)

    with app.inline():
        assert asyncio.run(main()) == 5


def test_inline_mode_ends_even_if_the_test_fails(app: Worklist):
    task = app.task(name="task")(lambda: None)
    with pytest.raises(KeyError), app.inline():
        raise KeyError
    assert task.enqueue().status == "queued"


def test_inline_mode_may_be_entered_again(app: Worklist):
    task = app.task(name="task")(lambda: 5)
    for _ in range(2):
        with app.inline():
            assert task.enqueue().result(timeout=0) == 5


def test_a_fake_clock_stands_still_until_it_is_moved():
    clock = FakeClock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    clock.advance(2.5)
    assert clock() == 102.5


def test_an_inline_worker_with_nothing_to_do_returns(app: Worklist):
    InlineWorker(app.environment, app._codec).run()
