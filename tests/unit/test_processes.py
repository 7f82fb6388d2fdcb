"""Tasks with process=True: in child processes, which are killed where a thread could not be stopped."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worklist import group
from worklist.core.job import JobState, Progress
from worklist.core.ports import Filter

from . import process_tasks as tasks
from .conftest import PATIENCE, known, serving

app = tasks.app


@pytest.fixture(autouse=True)
def fresh():
    yield
    app.close()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)


def test_what_runs_in_children_comes_back_in_every_way():
    """One worker for all of these, since children take their time to start."""
    pids = tasks.pid.enqueue_many([()] * 3)
    failed, left, unstorable = tasks.fail.enqueue("bad"), tasks.leave.enqueue(), tasks.open_file.enqueue()
    retried, cancelled, snoozed = tasks.ask.enqueue_many([("retry",), ("cancel",), ("snooze",)])
    app.work(until_empty=True, children=1)
    assert len({job.result(timeout=0) for job in pids}) == 1
    assert pids[0].result() != os.getpid()
    assert [(e.type, e.message, e.attempt) for e in known(failed).errors] == [("ValueError", "bad", n) for n in (1, 2)]
    assert "in fail" in known(failed).errors[0].traceback
    assert (left.status, known(left).errors[0].type) == ("failed", "SystemExit")
    assert known(unstorable).errors[0].type == "ResultEncodingError"
    assert retried.result(timeout=0) == f"{retried.id} 2"
    assert retried.progress == Progress(1, 2, "asked")
    assert (cancelled.status, snoozed.status) == ("cancelled", "queued")


def test_a_child_is_killed_at_its_time_limit_and_another_takes_its_place():
    spinning, after = tasks.spin.enqueue(), tasks.pid.enqueue()
    app.work(until_empty=True, children=1)
    (error,) = known(spinning).errors
    assert (error.type, error.message) == ("TimeLimitExceeded", "ran longer than its time limit of 0.2 s")
    assert after.status == "succeeded"


def test_a_child_that_dies_fails_its_job_alone():
    dying, after = tasks.die.enqueue(), tasks.pid.enqueue()
    app.work(until_empty=True, children=1)
    (error,) = known(dying).errors
    assert error.type == "ChildDied"
    assert "exit code 7" in error.message
    assert after.status == "succeeded"


@pytest.mark.usefixtures("busy_keeper")
def test_a_child_is_killed_when_its_job_is_cancelled(tmp_path):
    job = tasks.sleep_long.enqueue(str(tmp_path / "started"))
    with serving(app, children=1):
        until(Path(tmp_path / "started").exists)
        assert job.cancel()
        until(job.done)
    assert (job.status, known(job).errors) == ("cancelled", ())


def test_a_worker_that_is_stopped_kills_its_children_and_hands_their_jobs_back(tmp_path):
    job = tasks.sleep_long.enqueue(str(tmp_path / "started"))
    with serving(app, children=1, grace=0):
        until(Path(tmp_path / "started").exists)
    assert (job.status, known(job).attempt) == ("queued", 0)


@pytest.mark.usefixtures("busy_keeper")
def test_progress_of_a_child_is_seen_while_it_runs(tmp_path):
    job = tasks.report_and_wait.enqueue(str(tmp_path / "go_on"))
    with serving(app, children=1):
        until(lambda: job.progress is not None)
        assert (job.progress, job.status) == (Progress(1, 2, "half"), "running")
        (tmp_path / "go_on").touch()
        until(job.done)
    assert job.status == "succeeded"


@pytest.mark.usefixtures("busy_keeper")
def test_what_a_child_logs_and_its_last_word_before_a_silence_are_seen_while_it_runs(tmp_path):
    job = tasks.log_and_wait.enqueue(str(tmp_path / "go_on"))
    with serving(app, children=1):
        until(lambda: len(job.logs) == 3 and job.progress == Progress(2))
        assert job.status == "running"
        (tmp_path / "go_on").touch()
        until(job.done)
    texts = [line.split(maxsplit=1)[1] for line in job.logs]
    assert texts == ["WARNING tests.child: from the child", "first", "second", "third"]


def test_a_child_gets_the_results_that_it_waited_for_and_puts_followers():
    chained = (tasks.number.s(3) | tasks.number.s() | tasks.total.si([4])).enqueue()
    summed = (tasks.number.map([1, 2, 3]) | tasks.total.s()).enqueue()
    followed = (tasks.number.s(5) | tasks.spread.si(0)).enqueue()
    grown = group(tasks.spread.s(2)).enqueue()
    app.work(until_empty=True, children=1)
    assert (chained.result(timeout=0), summed.result(timeout=0), followed.result(timeout=0)) == (4, 6, 0)
    assert grown.result(timeout=0) == [2, 1, 0]
    assert len(app.inspector.find(Filter(task=tasks.pid.name, state=JobState.SUCCEEDED))) == 3
