"""A worker on a broker in memory: what running a job does, for plain functions and for coroutines."""

import asyncio
import concurrent.futures
import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from worklist import Cancel, ConfigError, CurrentJob, JobFailed, Retry, Snooze, Worklist, current_job
from worklist.core import events, execution
from worklist.core.errors import BrokerUnavailable, JobAborted, NoCurrentJob, TimeLimitExceeded
from worklist.core.job import Job, JobState, Progress, new_job_id
from worklist.core.worker import Worker

from .conftest import PATIENCE, known, serving

KINDS = pytest.mark.parametrize("kind", ["thread", "async"])


def either(kind: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """Return `body` as a plain function, or as a coroutine function."""
    if kind == "thread":
        return body

    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return body()

    return coroutine


def declare(app: Worklist, kind: str, body: Callable[..., Any], **options: Any) -> Any:
    return app.task(name="task", **options)(either(kind, body))


def ending(*outcomes: Any) -> Callable[[], Any]:
    """Return a function that raises or returns one after the other."""
    left = list(outcomes)

    def body() -> Any:
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return body


@KINDS
def test_a_result_comes_back(app, run, kind):
    task = declare(app, kind, ending({"n": [1, 2]}))
    job = task.enqueue()
    assert run(app, job).state == "succeeded"
    assert job.result(timeout=0) == {"n": [1, 2]}


@KINDS
def test_a_failure_comes_back_as_text(app, run, kind):
    job = declare(app, kind, ending(ValueError("bad page"))).enqueue()
    assert run(app, job).state == "failed"
    with pytest.raises(JobFailed, match=r"(?s)ValueError: bad page.*in body") as caught:
        job.result(timeout=0)
    assert (caught.value.error_type, caught.value.error_message) == ("ValueError", "bad page")
    assert "in body" in caught.value.error_traceback


@KINDS
def test_a_task_is_tried_again_until_it_succeeds(app, run, kind):
    job = declare(app, kind, ending(OSError("1"), OSError("2"), "at last"), retries=3, backoff=[0]).enqueue()
    record = run(app, job)
    assert (record.state, record.attempt, [error.message for error in record.errors]) == ("succeeded", 3, ["1", "2"])


@KINDS
def test_a_task_is_not_tried_more_often_than_it_may(app, run, kind):
    job = declare(app, kind, ending(*(OSError(str(n)) for n in range(9))), retries=2, backoff=[0]).enqueue()
    record = run(app, job)
    assert (record.state, record.attempt, [error.attempt for error in record.errors]) == ("failed", 3, [1, 2, 3])


@KINDS
def test_a_task_may_ask_for_another_time_or_for_none(app, run, kind):
    job = declare(app, kind, ending(Snooze(0), Retry(0), Snooze(0), Cancel("enough"))).enqueue()
    record = run(app, job)
    assert (record.state, record.attempt) == ("cancelled", 2)
    assert [error.type for error in record.errors] == ["Retry"]


@KINDS
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopIteration(), JobAborted()],
    ids=repr,
)
def test_whatever_a_task_raises_it_fails_and_the_worker_goes_on(app, run, kind, error):
    job = declare(app, kind, ending(error, "next")).enqueue()
    other = app.tasks["task"].enqueue()
    states = {run(app, job).state, known(other).state}
    assert states == {"failed", "succeeded"}


def test_lost_workers_do_not_use_up_the_retries_of_a_task(app, run):
    job = declare(app, "thread", ending(OSError("1"), OSError("2")), retries=1, backoff=[0]).enqueue()
    app.store.lease("dead", ["default"], 1, 0.0)
    record = run(app, job)
    assert (record.state, record.attempt, record.lost) == ("failed", 3, 1)
    assert [error.type for error in record.errors] == ["WorkerLost", "OSError", "OSError"]


@KINDS
@pytest.mark.parametrize("results", ["all", "failures", "none"])
def test_what_is_kept_is_what_the_task_says(app, kind, results):
    task = declare(app, kind, ending(1, OSError()), results=results)
    jobs = task.enqueue_many([(), ()])
    app.work(until_empty=True, threads=1, concurrency=1)
    kept = {"all": ["succeeded", "failed"], "failures": [None, "failed"], "none": [None, None]}
    assert [job.status for job in jobs] == kept[results]


@KINDS
def test_a_result_that_cannot_be_stored_fails_by_name_and_is_not_tried_again(app, run, kind):
    job = declare(app, kind, ending({"pages": [1, {"open": object()}]}, 2), retries=3).enqueue()
    (error,) = run(app, job).errors
    assert error.type == "ResultEncodingError"
    assert "result['pages'][1]['open'] is of type object" in error.message


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize("value", [{object(): 1}, "\udcff", 2**70, ENDLESS], ids=["key", "text", "number", "endless"])
def test_a_result_that_cannot_be_stored_never_ends_the_worker(app, run, value):
    task = app.task(name="task", results="all")(ending(value))
    record = run(app, task.enqueue())
    assert record.state == "failed"


def test_jobs_run_side_by_side_in_as_many_threads_as_there_are(app):
    together = threading.Barrier(4)
    app.task(name="task")(lambda: together.wait(PATIENCE))
    jobs = app.tasks["task"].enqueue_many([()] * 4)
    app.work(until_empty=True, threads=4)
    assert [job.status for job in jobs] == ["succeeded"] * 4


def test_coroutines_run_side_by_side_up_to_the_concurrency(app):
    running: list[int] = []
    most: list[int] = []

    @app.task
    async def task() -> None:
        running.append(1)
        most.append(len(running))
        for _ in range(20):
            await asyncio.sleep(0)
        running.pop()

    task.enqueue_many([()] * 40)
    app.work(until_empty=True, concurrency=5)
    assert max(most) == 5


def test_a_task_may_put_others_that_run_too(app):
    ran: list[int] = []

    @app.task
    def count(n: int) -> None:
        ran.append(n)
        if n:
            count.enqueue(n - 1)

    count.enqueue(5)
    app.work(until_empty=True)
    assert ran == [5, 4, 3, 2, 1, 0]


def test_a_worker_ends_after_so_many_jobs(app):
    app.task(name="task")(lambda: None)
    app.tasks["task"].enqueue_many([()] * 20)
    report = app.work(max_jobs=7)
    assert (report.processed, report.recycle) == (7, True)
    assert app.store.counts()["default"] == {"succeeded": 7, "queued": 13}


def test_a_worker_serves_the_queues_it_is_told_to(app):
    app.task(name="a", queue="a")(lambda: None)
    app.task(name="b", queue="b")(lambda: None)
    jobs = [app.tasks[name].enqueue() for name in "ab"]
    app.work(queues=["b"], until_empty=True)
    assert [job.status for job in jobs] == ["queued", "succeeded"]
    app.work(until_empty=True)
    assert jobs[0].status == "succeeded"


# -- time limits ----------------------------------------------------------------------------------------------


def test_a_thread_is_stopped_at_its_time_limit(app, run):
    def body() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pass

    job = app.task(name="task", timeout=0.05)(body).enqueue()
    record = run(app, job)
    assert (record.state, record.errors[0].type) == ("failed", "TimeLimitExceeded")
    assert "time limit of 0.05 s" in record.errors[0].message
    assert "in body" in record.errors[0].traceback


def test_a_coroutine_is_stopped_at_its_time_limit(app, run):
    async def body() -> None:
        await asyncio.sleep(PATIENCE)

    job = app.task(name="task", timeout=0.05)(body).enqueue()
    record = run(app, job)
    assert (record.state, record.errors[0].type) == ("failed", "TimeLimitExceeded")
    assert "time limit of 0.05 s" in record.errors[0].message


def test_a_time_limit_is_an_error_like_any_other(app, run):
    tries: list[int] = []

    @app.task(timeout=0.05, retries=1, backoff=[0])
    async def task() -> int:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(PATIENCE)
        return len(tries)

    job = task.enqueue()
    assert (run(app, job).state, job.result(timeout=0)) == ("succeeded", 2)


@KINDS
def test_a_timeout_of_the_tasks_own_is_not_taken_for_the_limit(app, run, kind):
    job = declare(app, kind, ending(TimeoutError("server")), timeout=60).enqueue()
    (error,) = run(app, job).errors
    assert (error.type, error.message) == ("TimeoutError", "server")


def spin() -> None:
    """Be busy in Python. An empty loop would do, but Python 3.13 raises on its backward jump, outside of the `try`."""
    for _ in range(100):
        continue


def test_a_task_may_clean_up_at_its_time_limit(app, run):
    cleaned: list[str] = []

    @app.task(timeout=0.05)
    def task() -> str:
        try:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                spin()
        except TimeLimitExceeded:
            cleaned.append("up")
            raise
        return "never"

    assert run(app, task.enqueue()).state == "failed"
    assert cleaned == ["up"]


def test_each_job_has_its_own_time(app):
    """Also where a thread serves jobs with and without a limit in turn."""

    @app.task(timeout=60)
    def quick() -> None: ...

    @app.task(timeout=0.05)
    def slow() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pass

    first, second, third = quick.enqueue(), slow.enqueue(), quick.enqueue()
    app.work(until_empty=True, threads=1)
    assert [job.status for job in (first, second, third)] == ["succeeded", "failed", "succeeded"]


def test_of_jobs_whose_worker_died_only_those_that_run_are_held(app):
    """If the next worker dies, too, those that it leased ahead would count as having died with it twice."""
    go = threading.Event()

    @app.task
    def task() -> None:
        go.wait(PATIENCE)

    task.enqueue_many([()] * 50)
    assert len(app.store.lease("dead", ["default"], 50, 0.0)) == 50
    worker = app.make_worker(threads=2)
    worker._rate = 10_000.0  # it is used to short jobs, and leases many ahead
    (executor,) = worker._executors.values()
    executor.start(worker._inbox.put)
    try:
        for _ in range(3):
            worker._exchange(worker._room())
            assert len(worker._in_flight) == 2
        assert app.inspector.counts()["default"] == {JobState.RUNNING: 2, JobState.QUEUED: 48}
    finally:
        go.set()
        executor.stop()


@pytest.mark.usefixtures("busy_keeper")
def test_a_worker_reports_how_fast_its_jobs_end():
    with Worklist("memory://", lease=1) as app:

        @app.task
        def task() -> None: ...

        task.enqueue_many([()] * 90)
        with serving(app):
            until(lambda: [worker.rate for worker in app.inspector.workers()] == [1.5])  # over a minute that has begun


# -- cancelling -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("busy_keeper")
def test_a_running_thread_is_stopped_when_its_job_is_cancelled(app):
    running, seen = threading.Event(), []

    @app.task(retries=5)
    def task() -> None:
        job = current_job()
        running.set()
        try:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                spin()
        except JobAborted:
            seen.append(job.cancelled)
            raise

    job = task.enqueue()
    with serving(app):
        assert running.wait(PATIENCE)
        assert job.cancel()
        until(job.done)
    assert (job.status, seen, known(job).errors) == ("cancelled", [True], ())
    assert not job.cancel()


@pytest.mark.usefixtures("busy_keeper")
def test_a_running_coroutine_is_stopped_when_its_job_is_cancelled(app):
    running, stopped = threading.Event(), []

    @app.task(retries=5)
    async def task() -> None:
        running.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            stopped.append(current_job().cancelled)
            raise

    job = task.enqueue()
    with serving(app):
        assert running.wait(PATIENCE)
        assert job.cancel()
        until(job.done)
    assert (job.status, stopped) == ("cancelled", [True])


@pytest.mark.usefixtures("busy_keeper")
def test_a_loop_may_look_whether_its_job_was_cancelled(app):
    running = threading.Event()

    @app.task
    def task() -> str:
        running.set()
        with contextlib.suppress(JobAborted):
            while not current_job().cancelled:
                pass
        return "tidied up"

    job = task.enqueue()
    with serving(app):
        assert running.wait(PATIENCE)
        job.cancel()
        assert job.result(timeout=PATIENCE) == "tidied up"


def test_a_queued_job_that_is_cancelled_never_runs(app, run):
    ran: list[int] = []
    job = app.task(name="task")(lambda: ran.append(1)).enqueue()
    assert job.cancel()
    assert (run(app, job).state, ran) == ("cancelled", [])


def until(true: Callable[[], bool]) -> None:
    """Wait until something holds, generously."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)


@KINDS
def test_a_worker_that_is_stopped_hands_back_what_runs_too_long(app, kind):
    running = threading.Event()

    def body() -> None:
        running.set()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pass

    async def coroutine() -> None:
        running.set()
        await asyncio.sleep(PATIENCE)

    job = app.task(name="task")(body if kind == "thread" else coroutine).enqueue()
    with serving(app, grace=0):
        assert running.wait(PATIENCE)
    record = known(job)
    assert (record.state, record.attempt, record.errors) == ("queued", 0, ())


def test_a_worker_that_is_stopped_lets_what_runs_end(app):
    running, go_on = threading.Event(), threading.Event()

    @app.task
    def task() -> str:
        running.set()
        go_on.wait(PATIENCE)
        return "done"

    worker = app.make_worker(threads=1)
    job, other = task.enqueue_many([(), ()])
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    assert running.wait(PATIENCE)
    worker.stop()
    go_on.set()
    thread.join(PATIENCE)
    assert (job.status, other.status, known(other).attempt) == ("succeeded", "queued", 0)


# -- what surrounds a job -------------------------------------------------------------------------------------


@KINDS
def test_middleware_surrounds_the_job_in_the_order_it_was_registered(app, run, kind):
    told: list[str] = []

    def surround(name: str) -> None:
        @app.middleware
        def around(job: CurrentJob):
            told.append(f"{name} before {job.task} {job.attempt}")
            yield
            told.append(f"{name} after")

    surround("outer")
    surround("inner")
    job = declare(app, kind, lambda: told.append("job")).enqueue()
    assert run(app, job).state == "succeeded"
    assert told == ["outer before task 1", "inner before task 1", "job", "inner after", "outer after"]


@KINDS
def test_middleware_sees_what_the_job_raises_and_may_raise_another(app, run, kind):
    @app.middleware
    def around(job):
        try:
            yield
        except KeyError as error:
            raise Retry(0, reason=f"no {error.args[0]}") from error

    job = declare(app, kind, ending(KeyError("x"), "ok")).enqueue()
    record = run(app, job)
    assert (record.state, record.errors[0].message) == ("succeeded", "no x")


@KINDS
def test_middleware_may_keep_an_error_to_itself(app, run, kind):
    @app.middleware
    def around(job):
        with contextlib.suppress(KeyError):
            yield

    job = declare(app, kind, ending(KeyError("x"))).enqueue()
    assert (run(app, job).state, job.result(timeout=0)) == ("succeeded", None)


@KINDS
@pytest.mark.parametrize("error", [OSError("no lock"), TimeoutError("no lock")], ids=repr)
def test_middleware_that_raises_before_the_job_fails_it(app, run, kind, error):
    ran: list[int] = []

    @app.middleware
    def around(job):
        raise error
        yield

    job = declare(app, kind, lambda: ran.append(1), timeout=60).enqueue()
    record = run(app, job)
    assert (record.state, record.errors[0].message, ran) == ("failed", "no lock", [])


def test_middleware_has_to_be_a_generator_function(app):
    with pytest.raises(ConfigError, match="yield exactly once"):
        app.middleware(lambda job: None)  # type: ignore[arg-type, return-value]


@KINDS
def test_the_current_job_tells_where_one_is(app, run, kind):
    told: list[Any] = []

    def look() -> None:
        job = current_job()
        told.append((job.id, job.task, job.queue, job.attempt, job.arguments, job.cancelled))
        if job.attempt == 1:
            raise Retry(0)

    handle = declare(app, kind, look, queue="q").enqueue()
    run(app, handle)
    assert told == [(handle.id, "task", "q", n, ((), {}), False) for n in (1, 2)]


def test_outside_of_a_job_there_is_no_current_one(app, run):
    run(app, app.task(name="task")(lambda: None).enqueue())
    with pytest.raises(NoCurrentJob):
        current_job()


@KINDS
def test_progress_is_kept_with_the_job(app, run, kind):
    def body() -> None:
        current_job().progress(3, 4, "pages")
        current_job().progress(4, 4)

    job = declare(app, kind, body).enqueue()
    run(app, job)
    assert job.progress == Progress(4, 4)


@pytest.mark.usefixtures("busy_keeper")
def test_progress_is_seen_while_the_job_runs(app):
    go_on = threading.Event()

    @app.task
    def task() -> None:
        current_job().progress(1, 2, "half")
        go_on.wait(PATIENCE)

    job = task.enqueue()
    with serving(app):
        until(lambda: job.progress is not None)
        assert (job.progress, job.status) == (Progress(1, 2, "half"), "running")
        go_on.set()
        until(job.done)


@pytest.mark.parametrize("wrong", [("half",), (1, "all"), (None,)])
def test_progress_that_is_no_number_is_the_tasks_own_error(file_app, run, wrong):
    job = file_app.task(name="task")(lambda: current_job().progress(*wrong)).enqueue()
    assert run(file_app, job).errors[0].type in ("TypeError", "ValueError")


def test_odd_text_in_errors_and_progress_does_not_end_the_worker(file_app, run):
    def body() -> None:
        current_job().progress(1, 2, "\udcff")
        raise ValueError("\udcff")

    job = file_app.task(name="task")(body).enqueue()
    record = run(file_app, job)
    assert (record.state, record.errors[0].message, record.progress) == ("failed", "\\udcff", Progress(1, 2, "\\udcff"))


def test_listeners_hear_of_every_outcome(app):
    heard: list[Any] = []
    kinds = [
        events.JobLeased,
        events.JobSucceeded,
        events.JobRetried,
        events.JobFailed,
        events.JobSnoozed,
        events.JobCancelled,
        events.WorkerStarted,
        events.WorkerStopped,
    ]
    for kind in kinds:
        app.on(kind)(heard.append)
    job = app.task(name="task", retries=1, backoff=[0])(ending(OSError("x"), Snooze(0), "ok")).enqueue()
    app.work(until_empty=True)
    assert [type(event).__name__ for event in heard] == [
        "WorkerStarted",
        *("JobLeased", "JobRetried"),
        *("JobLeased", "JobSnoozed"),
        *("JobLeased", "JobSucceeded"),
        "WorkerStopped",
    ]
    assert {(event.id, event.task) for event in heard[1:-1]} == {(job.id, "task")}
    assert [event.attempt for event in heard[1:-1]] == [1, 1, 2, 2, 2, 2]
    assert (heard[2].error.message, heard[2].delay, heard[-1].processed) == ("x", 0, 3)
    heard.clear()
    app.task(name="bad")(ending(OSError("y"), Cancel("no"))).enqueue_many([(), ()])
    app.work(until_empty=True, threads=1)
    assert [getattr(event, "error", event).message for event in heard if isinstance(event, events.JobFailed)] == ["y"]
    assert [event.reason for event in heard if isinstance(event, events.JobCancelled)] == ["no"]


def test_a_listener_that_raises_is_logged_and_disturbs_nobody(app, run, caplog):
    heard: list[Any] = []

    @app.on(events.JobSucceeded)
    def broken(event):
        raise RuntimeError("no network")

    app.on(events.JobSucceeded)(heard.append)
    assert run(app, app.task(name="task")(lambda: None).enqueue()).state == "succeeded"
    assert len(heard) == 1
    assert "a listener for JobSucceeded raised" in caplog.text


def test_a_failure_that_nobody_listens_for_is_logged(app, run, caplog):
    job = app.task(name="task")(ending(OSError("no page"))).enqueue()
    run(app, job)
    assert f"job {job.id} (task) failed: OSError: no page" in caplog.text


# -- a broker in trouble --------------------------------------------------------------------------------------


def test_a_worker_waits_for_its_broker_and_loses_no_outcome(app, monkeypatch):
    troubles: list[events.BrokerTrouble] = []
    app.on(events.BrokerTrouble)(troubles.append)
    exchange, calls = app.store.exchange, Counter()

    def unreliable(*args: Any) -> Any:
        calls["n"] += 1
        if calls["n"] in (1, 3):
            raise BrokerUnavailable("try later")
        return exchange(*args)

    monkeypatch.setattr(app.store, "exchange", unreliable)
    jobs = app.task(name="task")(lambda: 7).enqueue_many([()] * 3)
    app.work(until_empty=True, threads=1)
    assert [job.result(timeout=0) for job in jobs] == [7] * 3
    assert [trouble.error for trouble in troubles] == ["try later"] * 2


def test_a_worker_that_is_to_end_when_all_is_done_waits_for_its_broker_too(app, monkeypatch):
    held_back, calls = app.store.held_back, Counter()

    def unreliable(*args: Any) -> Any:
        calls["n"] += 1
        if calls["n"] == 1:
            raise BrokerUnavailable("try later")
        return held_back(*args)

    monkeypatch.setattr(app.store, "held_back", unreliable)
    job = app.task(name="task")(lambda: 7).enqueue()
    app.work(until_empty=True, threads=1)
    assert (job.result(timeout=0), calls["n"] > 1) == (7, True)


# -- tasks that nobody knows ----------------------------------------------------------------------------------


def test_a_job_of_an_unknown_task_is_handed_back_for_a_while(app, run):
    app.task(name="send")(lambda: None)
    job = Job(new_job_id(), "sned", created=time.time())
    app.put([job])
    record = run(app, app.job(job.id))
    assert (record.state, record.attempt) == ("queued", 0)
    assert record.due > time.time()


def test_a_job_of_an_unknown_task_fails_in_the_end_and_is_kept(app, run):
    app.task(name="send")(lambda: None)
    job = Job(new_job_id(), "sned", created=time.time() - execution.UNKNOWN_TASK_GRACE - 1)
    app.put([job])
    record = run(app, app.job(job.id))
    assert (record.state, record.errors[0].type) == ("failed", "UnknownTask")
    assert "no task named 'sned'" in record.errors[0].message
    assert "did you mean 'send'" in record.errors[0].message
    assert "10 minutes" in record.errors[0].message
    app.task(name="sned")(lambda: 5)
    assert app.job(job.id).retry()
    assert run(app, app.job(job.id)).state == "succeeded"


def test_bytes_that_are_no_job_fail_alone_and_are_kept(app, run):
    task = app.task(name="task")(lambda: 1)
    bad, good = task.enqueue(), task.enqueue()
    app.store._by_id[bad.id].body = b"\xff\x00"
    assert (run(app, bad).state, good.status) == ("failed", "succeeded")
    assert known(bad).errors[0].type == "UndecodableJob"
    assert known(bad).body == b"\xff\x00"


def test_a_worker_in_another_thread_leaves_signals_alone(app):
    app.task(name="task")(lambda: 1).enqueue()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(app.work, until_empty=True).result(PATIENCE).processed == 1


def test_the_log_of_the_library_is_silent_when_all_is_well(app, run, caplog):
    caplog.set_level(logging.WARNING)
    run(app, app.task(name="task")(lambda: 1).enqueue())
    assert caplog.text == ""


# -- who leases -----------------------------------------------------------------------------------------------


def leasing_with(app: Worklist, monkeypatch: pytest.MonkeyPatch, leased: Callable[[], object]) -> None:
    """Have `leased` called, in the thread that leases, whenever jobs were leased and nobody knows of them yet."""
    exchange = app.store.exchange

    def exchange_and_tell(*arguments: Any) -> Any:
        leases = exchange(*arguments)
        if leases:
            leased()
        return leases

    monkeypatch.setattr(app.store, "exchange", exchange_and_tell)


def idle(worker: Worker) -> bool:
    return worker._watching and not worker._in_flight


def test_an_idle_worker_leases_in_the_thread_that_hears_of_the_job(app, monkeypatch):
    @app.task
    def task() -> None: ...

    threads: list[str] = []
    leasing_with(app, monkeypatch, lambda: threads.append(threading.current_thread().name))
    with serving(app) as worker:
        for _ in range(5):
            until(lambda: idle(worker))
            assert task.enqueue().result(PATIENCE) is None
    assert "worklist-watcher" in threads


def test_a_job_that_is_leased_while_its_worker_stops_is_handed_back_or_run(app, monkeypatch):
    @app.task
    def task() -> None: ...

    leased, go = threading.Event(), threading.Event()

    def wait() -> None:
        leased.set()
        go.wait(PATIENCE)

    leasing_with(app, monkeypatch, wait)
    with serving(app, threads=1) as worker:
        until(lambda: idle(worker))
        job = task.enqueue()
        assert leased.wait(PATIENCE)
        worker.stop()
        time.sleep(0.05)
        go.set()
    assert job.status in (JobState.QUEUED, JobState.SUCCEEDED)


def test_a_worker_that_was_idle_keeps_to_its_number_of_jobs(app):
    @app.task
    def task() -> None: ...

    worker = app.make_worker(max_jobs=3)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: idle(worker))
    task.enqueue_many([()] * 5)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert app.inspector.counts()["default"] == {JobState.SUCCEEDED: 3, JobState.QUEUED: 2}


def test_a_job_that_cannot_be_read_does_not_stay_with_an_idle_worker(app):
    @app.task
    def task() -> None: ...

    with serving(app) as worker:
        until(lambda: idle(worker))
        job = Job(new_job_id(), task.name, b"\x81\xa1x\x01", created=time.time())
        app.store.put([job])
        until(lambda: app.job(job.id).status is JobState.FAILED)
        until(lambda: idle(worker))


LATE = """
import sys
from worklist.executors import take_back
take_back()
sys.settrace(lambda *about: None)
print((lambda: "traced")())
"""


def test_a_process_can_be_traced_after_a_time_limit_that_came_too_late():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "traced\n", done.stderr
