"""What a job logs is kept with it: from threads, coroutines and inline, within bounds, and nobody else's lines."""

import asyncio
import functools
import logging
import re
import threading

import pytest

from worklist import Retry, Worklist, current_job
from worklist.core.errors import ConfigError, TimeLimitExceeded
from worklist.core.joblog import MAX_LINE, MAX_LINES, MAX_TEXT, Capture, JobLog, entry_of, said

from .conftest import PATIENCE, known, serving

log = logging.getLogger("tests.logs")
quiet = logging.getLogger("tests.quiet")


@pytest.fixture(autouse=True)
def levels():
    """Have one logger pass everything, to nobody else, as an app's own configuration may; and another one little."""
    log.setLevel(logging.DEBUG)
    log.propagate = False
    quiet.setLevel(logging.ERROR)
    yield
    log.setLevel(logging.NOTSET)
    log.propagate = True
    quiet.setLevel(logging.NOTSET)


def texts(job) -> list[str]:
    """The lines without their times."""
    return [line.split("Z ", 1)[1] for line in job.logs]


def test_records_of_any_logger_and_own_lines_are_kept(app):
    @app.task
    def work() -> None:
        log.info("sent %d of %s", 3, "them")
        log.debug("below the level of the setting")
        quiet.warning("below the level of its logger")
        quiet.error("bad")
        current_job().log("my own \ud800")

    job = work.enqueue()
    log.info("not in a job")
    app.work(until_empty=True)
    log.info("not in a job any more")
    assert texts(job) == ["INFO tests.logs: sent 3 of them", "ERROR tests.quiet: bad", r"my own \ud800"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO", job.logs[0])


def test_jobs_that_run_together_do_not_mix_their_lines(file_app):
    both = threading.Barrier(2)

    @file_app.task
    def in_thread(name: str) -> None:
        log.info("%s begins", name)
        both.wait(PATIENCE)
        log.info("%s ends", name)

    @file_app.task
    async def in_loop(name: str) -> None:
        log.info("%s begins", name)
        await asyncio.to_thread(log.info, "%s in a thread", name)
        log.info("%s ends", name)

    jobs = in_thread.enqueue_many([("a",), ("b",)])
    others = in_loop.enqueue_many([("c",), ("d",)])
    file_app.work(until_empty=True, threads=2)
    for name, job in zip("ab", jobs, strict=True):
        assert texts(job) == [f"INFO tests.logs: {name} begins", f"INFO tests.logs: {name} ends"]
    for name, job in zip("cd", others, strict=True):
        assert texts(job) == [f"INFO tests.logs: {name} {what}" for what in ("begins", "in a thread", "ends")]


def test_a_traceback_that_is_logged_is_kept_line_by_line(app):
    @app.task
    def work() -> None:
        try:
            raise KeyError("lost")
        except KeyError:
            log.exception("caught")

    job = work.enqueue()
    app.work(until_empty=True)
    assert job.logs[0].endswith("ERROR tests.logs: caught")
    assert job.logs[1] == "Traceback (most recent call last):"
    assert job.logs[-1] == "KeyError: 'lost'"


def test_two_workers_in_one_process_keep_a_line_once(app):
    @app.task
    def work() -> None:
        log.info("once")

    with serving(app), serving(app):
        jobs = [work.enqueue() for _ in range(20)]
        for job in jobs:
            job.result(PATIENCE)
    assert [texts(job) for job in jobs] == [["INFO tests.logs: once"]] * 20


def test_logging_is_as_it_was_when_the_workers_have_ended(app):
    before = logging.getLogRecordFactory()

    @app.task
    def work() -> bool:
        return logging.getLogRecordFactory() is not before and not logging.getLogger().handlers

    handlers = logging.getLogger().handlers[:]  # the test runner's
    for handler in handlers:
        logging.getLogger().removeHandler(handler)
    try:
        with serving(app):
            job = work.enqueue()
            assert job.result(PATIENCE), "basicConfig() has to find a root logger without handlers"
            app.work(until_empty=True)
            assert logging.getLogRecordFactory() is not before, "the first worker still runs"
    finally:
        for handler in handlers:
            logging.getLogger().addHandler(handler)
    assert logging.getLogRecordFactory() is before


def test_a_factory_that_wraps_the_hook_neither_doubles_lines_nor_loses_them():
    class Job:
        def __init__(self):
            self.taken = []

        def take(self, record):
            self.taken.append(record.getMessage())

    job = Job()
    capture = Capture(lambda: job)
    before = logging.getLogRecordFactory()
    try:
        with capture:
            inner = logging.getLogRecordFactory()
            logging.setLogRecordFactory(functools.partial(inner))
            log.info("one")
        log.info("nobody runs")
        with capture, capture:
            log.info("two")
            logging.makeLogRecord({"msg": "made elsewhere"})
    finally:
        logging.setLogRecordFactory(before)
    assert job.taken == ["one", "two"]


@pytest.mark.parametrize(("level", "kept"), [("none", []), ("warning", ["w"]), ("debug", ["d", "w"])])
def test_the_setting_says_from_which_level_on(level, kept, monkeypatch):
    before = logging.getLogRecordFactory()
    monkeypatch.setenv("WORKLIST_LOGS", level.upper())

    with Worklist("memory://") as app:

        @app.task
        def work() -> bool:
            log.debug("d")
            log.warning("w")
            current_job().log("own")
            return logging.getLogRecordFactory() is before

        job = work.enqueue()
        app.work(until_empty=True)
        assert [text.split(": ")[-1] for text in texts(job)] == [*kept, "own"]
        assert job.result() == (level == "none"), "where nothing is kept, logging is left alone"


@pytest.mark.parametrize("value", ["inf", "", 20, True])
def test_a_level_that_is_none_is_refused(value):
    with pytest.raises(ConfigError, match="logs is .*; expected one of none, debug, info, warning, error, critical"):
        Worklist("memory://", logs=value)
    with pytest.raises(ConfigError, match="did you mean 'info'"):
        Worklist("memory://", logs="inf")


def test_inline_jobs_keep_theirs(app):
    @app.task
    async def work() -> None:
        log.info("inline")

    with app.inline():
        assert texts(work.enqueue()) == ["INFO tests.logs: inline"]


def test_lines_that_were_logged_before_a_retry_stay_until_there_are_newer_ones(file_app):
    @file_app.task
    def work(again: bool) -> None:
        attempt = current_job().attempt
        if attempt == 1 or again:
            log.info("attempt %d", attempt)
        if attempt == 1:
            raise Retry(0)

    once, twice = work.enqueue_many([(False,), (True,)])
    file_app.work(until_empty=True)
    assert (texts(once), texts(twice)) == (["INFO tests.logs: attempt 1"], ["INFO tests.logs: attempt 2"])


@pytest.mark.usefixtures("busy_keeper")
def test_lines_are_seen_while_the_job_runs(file_app):
    logged, go_on = threading.Event(), threading.Event()

    @file_app.task
    def work() -> None:
        log.info("begun")
        logged.set()
        go_on.wait(PATIENCE)

    with serving(file_app):
        job = work.enqueue()
        assert logged.wait(PATIENCE)
        for update in job.updates(timeout=PATIENCE):
            if job.logs:
                assert (update.state, texts(job)) == ("running", ["INFO tests.logs: begun"])
                break
        go_on.set()
        job.result(PATIENCE)


def test_what_a_job_said_before_its_worker_stopped_is_kept(app):
    logged, never = threading.Event(), threading.Event()

    @app.task
    def work() -> None:
        log.info("begun")
        logged.set()
        never.wait(PATIENCE)

    job = work.enqueue()
    with serving(app, grace=0):
        assert logged.wait(PATIENCE)
    never.set()
    assert (job.status, texts(job)) == ("queued", ["INFO tests.logs: begun"])


def test_what_is_kept_of_a_log_is_bounded():
    kept = JobLog()
    kept.write("x" * 5000)
    assert [len(line) for line in kept.lines()] == [MAX_LINE]
    assert kept.lines()[0].endswith("x…")
    for n in range(MAX_LINES + 5):
        kept.write(str(n))
    assert (len(kept.lines()), kept.lines()[-1]) == (MAX_LINES, str(MAX_LINES + 4))
    kept.write("\n".join(str(n) for n in range(1000)))
    assert kept.lines() == tuple(str(n) for n in range(1000 - MAX_LINES, 1000))
    for _ in range(MAX_LINES):
        kept.write("y" * MAX_LINE)
    assert sum(map(len, kept.lines())) == MAX_TEXT // MAX_LINE * MAX_LINE


def test_a_copy_of_a_log_stays_as_it_is():
    kept = JobLog()
    kept.write("one")
    copy = kept.copy()
    kept.write("two")
    assert (copy.lines(), copy.count) == (("one",), 1)
    assert (kept.lines(), kept.count) == (("one", "two"), 2)


def test_entries():
    assert said("text", 0.25) == "1970-01-01T00:00:00.250Z text"
    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "%d", ("x",), None)
    assert entry_of(record).endswith("WARNING a.b: %d (its arguments do not fit: TypeError)")
    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "with", (), None, sinfo="Stack:\n  here")
    assert entry_of(record).splitlines()[1:] == ["Stack:", "  here"]
    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "no error", (), (None, None, None))
    assert entry_of(record).endswith("Z WARNING a.b: no error")


def test_a_time_limit_that_strikes_while_a_message_is_made_is_no_bad_argument():
    class Slow:
        def __str__(self) -> str:
            raise TimeLimitExceeded

    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "%s", (Slow(),), None)
    with pytest.raises(TimeLimitExceeded):
        entry_of(record)


def test_a_job_that_logs_nothing_has_no_log(app):
    job = app.task(name="silent")(lambda: None).enqueue()
    app.work(until_empty=True)
    assert (job.logs, known(job).logs) == ((), ())
