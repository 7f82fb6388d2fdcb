"""Watching jobs: the updates of one, the ends of many, in threads and in coroutines, and what that costs."""

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from worklist import (
    BrokerError,
    ConfigError,
    DoneAndPending,
    JobHandle,
    JobState,
    JobUnknown,
    JobUpdate,
    Progress,
    ResultTimeout,
    Worklist,
    current_job,
)
from worklist.core.awaiting import CHUNK, Watcher
from worklist.core.job import JobRecord
from worklist.core.watching import _new_lines

from .conftest import PATIENCE, serving


@pytest.fixture(params=["memory", "sqlite"])
def app(request, tmp_path):
    app = Worklist("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")

    @app.task(name="half")
    def half(x: int) -> int:
        if x % 2:
            raise ValueError(f"{x} is odd")
        return x // 2

    yield app
    app.close()


@pytest.fixture
def steps(app) -> "Steps":
    return Steps(app)


class Steps:
    """A task that goes on from step to step when it is told to."""

    def __init__(self, app: Worklist) -> None:
        self.go = threading.Semaphore(0)

        @app.task(name="steps")
        def steps(number: int) -> int:
            for step in range(number):
                current_job().progress(step, number)
                current_job().log(f"step {step}")
                assert self.go.acquire(timeout=PATIENCE)
            return number

        self.task = steps


def unknown(app: Worklist) -> JobHandle[int]:
    return JobHandle("0" * 26, app)


# -- the updates of one -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("busy_keeper")
def test_updates_tell_of_every_step_and_end_with_the_job(app, steps):
    job = steps.task.enqueue(3)
    stream = job.updates(timeout=PATIENCE)
    assert next(stream) == JobUpdate(id=job.id, state=JobState.QUEUED, attempt=0)
    seen: list[JobUpdate] = []
    with serving(app):
        for update in stream:
            if update.progress not in [None, *(earlier.progress for earlier in seen)]:
                steps.go.release()
            seen.append(update)
    assert {update.state for update in seen[:-1]} == {JobState.RUNNING}
    assert {update.attempt for update in seen} == {1}
    assert [p for p in dict.fromkeys(update.progress for update in seen) if p] == [Progress(n, 3) for n in range(3)]
    assert [line.split("Z ")[1] for update in seen for line in update.lines] == ["step 0", "step 1", "step 2"]
    assert seen[-1].state is JobState.SUCCEEDED
    assert list(stream) == []


@pytest.mark.usefixtures("busy_keeper")
def test_updates_in_a_coroutine(app, steps):
    async def main() -> list[JobUpdate]:
        job = await steps.task.aenqueue(1)
        seen: list[JobUpdate] = []
        async for update in job.updates(timeout=PATIENCE):
            if update.progress not in [None, *(earlier.progress for earlier in seen)]:
                steps.go.release()
            seen.append(update)
        return seen

    with serving(app):
        seen = asyncio.run(main())
    assert (seen[-1].state, seen[-1].progress) == (JobState.SUCCEEDED, Progress(0, 1))


def test_a_job_that_has_ended_has_one_update(app):
    job = app.tasks["half"].enqueue(1)
    app.work(until_empty=True)
    assert [(update.state, update.attempt) for update in job.updates()] == [(JobState.FAILED, 1)]


def test_an_unknown_job_has_no_updates(app):
    stream = unknown(app).updates()
    with pytest.raises(JobUnknown, match="never enqueued here"):
        next(stream)
    assert list(stream) == []

    async def main() -> None:
        async for _ in unknown(app).updates():
            raise AssertionError

    with pytest.raises(JobUnknown):
        asyncio.run(main())


def test_updates_end_where_the_record_is_removed_meanwhile(app):
    job = app.tasks["half"].using(results="none").enqueue(2)
    stream = job.updates(timeout=PATIENCE)
    assert next(stream).state is JobState.QUEUED
    app.work(until_empty=True)
    assert all(update.state is JobState.RUNNING for update in stream)


def test_updates_end_after_their_time(app):
    job = app.tasks["half"].enqueue(2)
    stream = job.updates(timeout=0)
    assert next(stream).state is JobState.QUEUED, "the present state comes first, however short the time"
    with pytest.raises(ResultTimeout, match=rf"job {job.id} \(half\) is still queued after 0 s"):
        next(stream)


def test_a_coroutine_may_wait_for_the_next_update_for_a_while(app):
    async def main() -> None:
        job = await app.tasks["half"].aenqueue(2)
        stream = job.updates()
        assert (await anext(stream)).state is JobState.QUEUED
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)
        job.cancel()
        assert (await asyncio.wait_for(anext(stream), PATIENCE)).state is JobState.CANCELLED, "nothing is lost"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "", ""),
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abc", "bcd", "d"),
        ("abc", "cde", "de"),
        ("abc", "xyz", "xyz"),
        ("abc", "", ""),
    ],
)
def test_new_lines_are_told_also_where_old_ones_were_dropped(before, now, new):
    assert _new_lines(tuple(before), tuple(now)) == tuple(new)


# -- what watching costs ------------------------------------------------------------------------------------------


def test_a_hundred_streams_cost_one_thread_and_one_query_at_a_time(app, monkeypatch):
    jobs = app.tasks["half"].enqueue_many([(2 * n,) for n in range(100)])
    asked: list[int] = []
    load = app.store.load
    monkeypatch.setattr(app.store, "load", lambda ids: (asked.append(len(ids)), load(ids))[1])
    before = threading.active_count()

    async def last(job: JobHandle[int]) -> JobState:
        states = [update.state async for update in job.updates(timeout=PATIENCE)]
        return states[-1]

    async def main() -> list[JobState]:
        watching = [asyncio.ensure_future(last(job)) for job in jobs]
        await asyncio.sleep(0)
        assert threading.active_count() == before + 1
        app.tasks["half"].client.change([job.id for job in jobs], "cancel")
        return list(await asyncio.gather(*watching))

    assert asyncio.run(main()) == [JobState.CANCELLED] * 100
    assert len(asked) < 40, "a query for each job"
    assert max(asked) == 100


class StillRecords:
    """A store where nothing happens until the test says so: `change` sets it off, and the watcher may `wake` it."""

    def __init__(self, **states: JobState) -> None:
        self.states = states
        self.looks = 0
        self.waiting = threading.Event()
        self._over = threading.Event()

    def load(self, ids):
        self.looks += 1
        return [JobRecord(id=id, task="t", queue="q", state=self.states[id], body=b"") for id in ids]

    def wait_change(self, seconds):
        self.waiting.set()
        assert self._over.wait(2 * PATIENCE)
        self._over.clear()

    def wake(self):
        self._over.set()

    def change(self, id: str, state: JobState) -> None:
        self.states[id] = state
        self.wake()


def test_nothing_is_asked_while_nothing_changes():
    records = StillRecords(a=JobState.QUEUED)
    future = Watcher(records, records.wake).result("a")
    assert records.waiting.wait(PATIENCE)
    looks = records.looks
    records.change("a", JobState.SUCCEEDED)
    record = future.result(PATIENCE)
    assert record is not None
    assert record.state is JobState.SUCCEEDED
    assert (looks, records.looks) == (1, 2)


def test_a_newcomer_does_not_wait_for_the_next_change():
    """The watcher sits in its wait for the first job; a second one that has ended already is told of at once."""
    records = StillRecords(a=JobState.QUEUED, b=JobState.SUCCEEDED)
    watcher = Watcher(records, records.wake)
    first = watcher.result("a")
    assert records.waiting.wait(PATIENCE)
    assert watcher.result("b").result(PATIENCE) is not None
    records.change("a", JobState.CANCELLED)
    assert first.result(PATIENCE) is not None


def test_a_stream_that_is_dropped_is_no_longer_watched_for(app):
    job = app.tasks["half"].enqueue(2)
    for _ in job.updates():
        break
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "worklist-results":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_a_closed_app_lets_its_readers_go(app):
    job = app.tasks["half"].enqueue(2)
    stream = job.updates()
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, stream)
        app.close()
        with pytest.raises(BrokerError, match="the app was closed while jobs were waited for"):
            waiting.result(PATIENCE)


# -- the ends of many -------------------------------------------------------------------------------------------------


def test_as_completed_yields_in_the_order_of_the_ends(app):
    tasks = app.tasks["half"]
    jobs = [tasks.using(priority=n % 7).enqueue(n) for n in range(50)]
    app.work(until_empty=True, threads=1)
    ends = [job.record().finished for job in app.as_completed(jobs, timeout=0)]
    assert len(ends) == 50
    assert ends == sorted(ends)


def test_as_completed_yields_each_job_as_soon_as_it_has_ended(app):
    jobs = [app.tasks["half"].using(delay=60).enqueue(n) for n in range(5)]
    order = [jobs[n] for n in (3, 0, 4, 2, 1)]
    stream = app.as_completed(jobs)
    for job in order:
        job.cancel()
        assert next(stream) == job
    assert list(stream) == []


def test_as_completed_in_a_coroutine(app):
    async def main() -> list[int]:
        jobs = [await app.tasks["half"].aenqueue(2 * n) for n in range(20)]
        return [job.result(timeout=0) async for job in app.as_completed(jobs, timeout=PATIENCE)]

    with serving(app):
        assert sorted(asyncio.run(main())) == list(range(20))


def test_as_completed_takes_jobs_once_and_unknown_ones_as_ended(app):
    job = app.tasks["half"].enqueue(2)
    nobody = unknown(app)
    app.work(until_empty=True)
    assert set(app.as_completed([job, nobody, job, app.job(job.id)])) == {job, nobody}
    assert sum(1 for _ in app.as_completed([job, nobody, job])) == 2
    assert list(app.as_completed([])) == []


def test_as_completed_ends_after_its_time_with_what_has_ended_told(app):
    done, one, other = app.tasks["half"].enqueue_many([(2,)] * 3)
    done.cancel()
    stream = app.as_completed([one, done, other], timeout=0)
    assert next(stream) == done
    with pytest.raises(ResultTimeout, match=rf"2 jobs, {one.id} the first of them, have not ended after 0 s"):
        next(stream)
    with pytest.raises(ResultTimeout, match=f"job {one.id} has not ended after 0.01 s"):
        list(app.as_completed([one], timeout=0.01))


def test_wait_for_all(app):
    jobs = app.tasks["half"].enqueue_many([(n,) for n in range(CHUNK + 200)])
    with serving(app):
        done, pending = app.wait(jobs, timeout=PATIENCE)
    assert (done, pending) == (set(jobs), set())
    assert all(job.done() for job in jobs[:3])


def test_wait_for_all_takes_a_query_for_500_jobs_at_a_look(app, monkeypatch):
    jobs = app.tasks["half"].enqueue_many([(n,) for n in range(2 * CHUNK + 1)])
    asked: list[int] = []
    load = app.store.load
    monkeypatch.setattr(app.store, "load", lambda ids: (asked.append(len(ids)), load(ids))[1])
    app.change([job.id for job in jobs], "cancel")
    assert app.wait(jobs).pending == set()
    assert asked == [CHUNK, CHUNK, 1]


def test_wait_returns_after_its_time_with_what_is_pending(app):
    jobs = app.tasks["half"].enqueue_many([(2,), (4,)])
    jobs[0].cancel()
    assert app.wait(jobs, timeout=0) == DoneAndPending({jobs[0]}, {jobs[1]})
    assert app.wait(jobs[1:], timeout=0.01) == (set(), {jobs[1]})


@pytest.mark.parametrize(("when", "number"), [("first", 1), ("failure", 2), ("all", 3)])
def test_wait_returns_at_the_first_end_or_the_first_failure(app, when, number):
    first, failing, last = (app.tasks["half"].enqueue(n) for n in (2, 1, 4))
    other = app.tasks["half"].using(delay=60).enqueue(6)
    app.work(until_empty=True, max_jobs=number, threads=1)
    jobs = [first, failing, last] if when == "all" else [first, failing, last, other]
    assert app.wait(jobs, timeout=PATIENCE, return_when=when).done == {*[first, failing, last][:number]}


def test_wait_for_a_failure_that_does_not_come_is_a_wait_for_all(app):
    jobs = app.tasks["half"].enqueue_many([(2,), (4,)])
    app.work(until_empty=True)
    assert app.wait([*jobs, unknown(app), jobs[0]], return_when="failure").done == {*jobs, unknown(app)}
    assert app.wait([]) == (set(), set())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda app, job: app.wait([job], return_when="frist"), "return_when is 'frist'; .* mean 'first'"),
        (lambda app, job: app.wait(job), r"the jobs to wait for are <JobHandle .*; expected a list of handles"),
        (lambda app, job: app.wait(job.id), r"the jobs to wait for are '.*; expected a list of handles"),
        (lambda app, job: app.as_completed([job, job.id]), r"among the jobs to wait for is '.*app.job\(id\)"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(app, call: Callable[..., object], words):
    with pytest.raises(ConfigError, match=words):
        call(app, app.tasks["half"].enqueue(2))


def test_a_store_that_breaks_ends_every_watch(app, monkeypatch):
    def broken(ids):
        raise BrokerError("gone")

    job = app.tasks["half"].enqueue(2)
    monkeypatch.setattr(app.store, "load", broken)
    for watch in (lambda: list(job.updates()), lambda: list(app.as_completed([job])), lambda: app.wait([job])):
        with pytest.raises(BrokerError, match="gone"):
            watch()


def test_unknown_is_not_queued(app):
    job = app.tasks["half"].enqueue(2)
    assert (job.status, unknown(app).status) == (JobState.QUEUED, None)
    assert (job.logs, unknown(app).logs) == ((), ())
