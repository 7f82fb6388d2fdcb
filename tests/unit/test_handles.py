"""Handles: ask what became of a job, wait for its result, cancel it, from threads and from coroutines."""

import asyncio
import threading

import pytest

from worklist import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobHandle,
    JobUnknown,
    ResultNotKept,
    ResultTimeout,
    Snooze,
    Worklist,
)
from worklist.core.errors import BrokerError
from worklist.core.job import JobState

from .conftest import PATIENCE, known, serving


@pytest.fixture(params=["memory", "sqlite"])
def app(request, tmp_path):
    app = Worklist("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")

    @app.task(name="double")
    def double(x: int) -> int:
        if x < 0:
            raise ValueError(f"{x} is negative")
        return 2 * x

    yield app
    app.close()


def test_a_result_is_there_when_the_job_has_finished(app):
    job = app.tasks["double"].enqueue(4)
    assert (job.status, job.done()) == (JobState.QUEUED, False)
    app.work(until_empty=True)
    assert (job.status, job.done(), job.result()) == (JobState.SUCCEEDED, True, 8)


def test_a_wait_for_a_result_ends_when_the_job_does(app):
    with serving(app):
        assert [app.tasks["double"].enqueue(n).result(timeout=PATIENCE) for n in range(5)] == [0, 2, 4, 6, 8]


def test_a_wait_for_a_result_ends_after_its_time(app):
    job = app.tasks["double"].enqueue(4)
    with pytest.raises(ResultTimeout, match=rf"{job.id} \(double\) is still queued after 0.01 s"):
        job.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        job.result(timeout=0)


def test_a_failure_is_raised_with_what_the_worker_saw(app):
    job = app.tasks["double"].enqueue(-4)
    app.work(until_empty=True)
    with pytest.raises(
        JobFailed, match=r"(?s)double failed after 1 attempt.*ValueError: -4 is negative.*In the worker:"
    ):
        job.result(timeout=0)
    assert job.done()


def test_a_cancelled_job_raises_that(app):
    job = app.tasks["double"].enqueue(4)
    assert job.cancel()
    with pytest.raises(JobCancelled, match=job.id):
        job.result(timeout=0)
    assert not job.cancel()


def test_an_expired_job_raises_that(app):
    job = app.tasks["double"].using(expires=0).enqueue(4)
    app.work(until_empty=True)
    with pytest.raises(JobExpired, match="not started before it expired"):
        job.result(timeout=0)


def test_an_unknown_job_raises_that(app):
    job: JobHandle[int] = JobHandle("0" * 26, app)
    with pytest.raises(JobUnknown, match="not known"):
        job.result(timeout=0)
    with pytest.raises(JobUnknown):
        app.job("0" * 26)
    assert (job.status, job.done(), job.progress, job.record(), job.cancel(), job.retry()) == (
        *(None, True, None, None),
        *(False, False),
    )


def test_a_failed_job_may_be_run_again(app):
    job = app.tasks["double"].enqueue(-4)
    app.work(until_empty=True)
    assert job.retry()
    assert not job.retry()
    assert (job.status, known(job).attempt) == ("queued", 0)


@pytest.mark.parametrize("policy", ["failures", "none"])
def test_nobody_waits_for_a_result_that_is_never_kept(app, policy):
    job = app.tasks["double"].using(results=policy).enqueue(4)
    with pytest.raises(ResultNotKept, match=f"results='{policy}'"):
        job.result(timeout=0)

    async def wait() -> None:
        await job

    with pytest.raises(ResultNotKept):
        asyncio.run(wait())


def test_a_handle_is_found_again_by_its_id(app):
    job = app.tasks["double"].enqueue(4)
    again = app.job(job.id)
    app.work(until_empty=True)
    assert again == job
    assert len({again, job}) == 1
    assert again.result(timeout=0) == 8
    assert job.id in repr(job)


def test_a_thousand_coroutines_put_and_wait(app):
    async def main() -> list[int]:
        jobs = await asyncio.gather(*(app.tasks["double"].aenqueue(n) for n in range(1000)))
        assert len({job.id for job in jobs}) == 1000
        return await asyncio.wait_for(asyncio.gather(*jobs), PATIENCE)

    with serving(app):
        assert asyncio.run(main()) == [2 * n for n in range(1000)]


def test_coroutines_are_told_how_a_job_did_not_succeed(app):
    async def main() -> list[object]:
        failed = await app.tasks["double"].aenqueue(-1)
        cancelled = await app.tasks["double"].using(delay=60).aenqueue(1)
        expired = await app.tasks["double"].using(expires=0).aenqueue(1)
        cancelled.cancel()
        unknown: JobHandle[int] = JobHandle("0" * 26, app)
        both = asyncio.gather(failed, cancelled, expired, unknown, return_exceptions=True)
        return list(await asyncio.wait_for(both, PATIENCE))

    with serving(app):
        errors = asyncio.run(main())
    assert [type(error) for error in errors] == [JobFailed, JobCancelled, JobExpired, JobUnknown]


def test_a_coroutine_that_gives_up_waiting_disturbs_no_other(app):
    async def main() -> int:
        job = await app.tasks["double"].using(delay=0.2).aenqueue(4)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job, 0.01)
        return await asyncio.wait_for(job, PATIENCE)

    with serving(app):
        assert asyncio.run(main()) == 8


def test_a_coroutine_learns_that_the_store_is_broken(app, monkeypatch):
    def broken(ids):
        raise BrokerError("gone")

    async def main() -> None:
        job = await app.tasks["double"].aenqueue(1)
        monkeypatch.setattr(app.store, "load", broken)
        with pytest.raises(BrokerError, match="gone"):
            await asyncio.wait_for(job, PATIENCE)

    asyncio.run(main())


def test_the_thread_that_watches_ends_when_nobody_waits(app):
    async def main() -> None:
        await asyncio.wait_for(await app.tasks["double"].aenqueue(1), PATIENCE)

    with serving(app):
        asyncio.run(main())
        asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name == "worklist-results":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_many_wait_for_one_job(app):
    results: list[int] = []
    job = app.tasks["double"].enqueue(4)
    threads = [threading.Thread(target=lambda: results.append(job.result(PATIENCE)), daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    with serving(app):
        for thread in threads:
            thread.join(PATIENCE)
    assert results == [8] * 5


def test_a_snoozed_job_has_not_finished(app):
    @app.task
    def later() -> None:
        raise Snooze(60)

    job = later.enqueue()
    app.work(until_empty=True)
    assert (job.status, job.done()) == ("queued", False)
