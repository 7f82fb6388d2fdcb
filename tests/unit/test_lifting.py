"""Options that can be lifted, written as durations, or come from the environment."""

import logging
from collections.abc import Iterator

import pytest

from worklist import ConfigError, CurrentJob, Worklist
from worklist.core.outcome import as_backoff


def test_a_limit_of_a_task_can_be_lifted_for_one_call() -> None:
    app = Worklist("memory://")

    @app.task(timeout=5, key="k", expires=60, retries=2)
    def work() -> None: ...

    job = work.using(timeout=None, key=None, expires=None, retries=None).job((), {})
    assert (job.key, job.expires) == (None, None)
    options = work.options.for_run(job.overrides)
    assert (options.timeout, options.retries) == (None, None)


@pytest.mark.parametrize(("rule", "wait"), [(7200, 7200.0), ("90s", 90.0), ([1, "1m"], 1.0)])
def test_a_plain_wait_is_just_that(rule: object, wait: float) -> None:
    backoff = as_backoff(rule)  # type: ignore[arg-type]
    assert backoff.wait(1) == wait  # type: ignore[union-attr]


def test_a_misspelt_rule_is_told() -> None:
    with pytest.raises(ConfigError, match="did you mean 'exponential'"):
        as_backoff("exponental")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LEASE", "soon"), ("RESULTS", "al"), ("URL", "sqlit:///x"), ("SECRET", ""), ("REDELIVERIES", "-1")],
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"WORKLIST_{variable}", value)
    with pytest.raises(ConfigError, match=rf"\$WORKLIST_{variable}"):
        Worklist()


def test_a_middleware_may_swallow_what_the_function_raised() -> None:
    app = Worklist("memory://")

    @app.middleware
    def forgiving(job: CurrentJob) -> Iterator[None]:
        try:
            yield
        except ZeroDivisionError:
            return

    @app.task
    def divide(a: int, b: int) -> float:
        return a / b

    with app.inline():
        assert divide.enqueue(1, 0).result() is None


def test_a_failure_nobody_listens_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = Worklist("memory://")

    @app.task(results="none")
    def broken() -> None:
        raise ValueError("no good")

    broken.enqueue()
    with caplog.at_level(logging.ERROR, "worklist"):
        app.work(until_empty=True)
    assert "ValueError: no good" in caplog.text


def test_a_job_that_succeeded_can_be_run_again() -> None:
    app = Worklist("memory://")

    @app.task
    def work() -> int:
        return 1

    job = work.enqueue()
    app.work(until_empty=True)
    assert job.retry()
    assert job.status == "queued"
