"""What becomes of a job whose function raised, when it is tried again, and the ids of jobs."""

import pickle
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist import Backoff, Cancel, ConfigError, Retry, Snooze
from worklist.core.job import FINISHED, MOVES, JobState, new_job_id
from worklist.core.outcome import EXPLICIT_RETRIES, MAX_TRACEBACK, Fail, as_backoff, decide, describe
from worklist.core.task import TaskOptions


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def decided(error: BaseException, failures: int = 1, **options):
    return decide(raised(error), failures, failures, 5.0, TaskOptions(**options))


def test_a_task_is_not_tried_again_unless_it_says_so():
    outcome = decided(ValueError("bad"))
    assert isinstance(outcome, Fail)
    assert (outcome.error.type, outcome.error.message, outcome.error.attempt, outcome.error.at) == (
        "ValueError",
        "bad",
        1,
        5.0,
    )
    assert "in raised" in outcome.error.traceback


def test_a_task_is_tried_again_as_often_as_it_says():
    for failures in (1, 2, 3):
        outcome = decided(ValueError("bad"), failures, retries=3, backoff=as_backoff([7]))
        assert isinstance(outcome, Retry)
        assert (outcome.delay, outcome.error.attempt) == (7, failures)
    assert isinstance(decided(ValueError("bad"), 4, retries=3), Fail)


def test_only_what_retry_on_names_is_tried_again():
    options = {"retries": 3, "retry_on": (OSError,)}
    assert isinstance(decided(ConnectionError(), **options), Retry)
    assert isinstance(decided(ValueError(), **options), Fail)


def test_what_fail_on_names_is_never_tried_again():
    options = {"retries": 3, "fail_on": (ConnectionError,)}
    assert isinstance(decided(ConnectionResetError(), **options), Fail)
    assert isinstance(decided(OSError(), **options), Retry)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_what_is_no_exception_fails_the_job_and_nothing_else(error):
    assert isinstance(decided(error, retries=3), Fail)


def test_asking_for_a_retry_is_heeded_within_the_tasks_own_limit():
    assert isinstance(decided(Retry(), 1, retries=0), Fail)
    assert isinstance(decided(Retry(), 2, retries=2), Retry)
    assert isinstance(decided(Retry(), 3, retries=2), Fail)


def test_asking_for_a_retry_is_heeded_a_while_without_a_limit():
    assert isinstance(decided(Retry(), EXPLICIT_RETRIES), Retry)
    assert isinstance(decided(Retry(), EXPLICIT_RETRIES + 1), Fail)


def test_asking_for_a_retry_may_say_when_and_why():
    outcome = decided(Retry("2m", reason="rate limit"), retries=1)
    assert (outcome.delay, outcome.error.type, outcome.error.message) == (120.0, "Retry", "rate limit")
    assert decided(Retry(), retries=1, backoff=as_backoff(9)).delay == 9


def test_asking_for_a_retry_goes_before_fail_on():
    assert isinstance(decided(Retry(), retries=1, fail_on=(Exception,)), Retry)


def test_snooze_and_cancel_are_outcomes_as_they_are():
    snooze, cancel = Snooze("1m"), Cancel("enough")
    assert decided(snooze, failures=99) is snooze
    assert decided(cancel, failures=99) is cancel
    assert (snooze.delay, cancel.reason) == (60.0, "enough")


@pytest.mark.parametrize("make", [lambda: Retry(-1), lambda: Snooze("soon"), lambda: Snooze(None)])
def test_a_wait_that_is_none_is_refused_where_it_is_made(make):
    with pytest.raises(ConfigError, match="Retry|Snooze"):
        make()


class Refusal(Cancel):
    def __init__(self, by: str, why: str) -> None:
        super().__init__(f"{by}: {why}")


@pytest.mark.parametrize(
    "outcome", [Retry(5, reason="later"), Retry(), Snooze(7), Cancel("no"), Refusal("a", "b")], ids=repr
)
def test_an_outcome_survives_the_way_from_a_child_process(outcome):
    if isinstance(outcome, Retry):
        outcome.error = describe(raised(OSError("x")), 2, 3.0)
    arrived = pickle.loads(pickle.dumps(outcome))
    assert str(arrived) == str(outcome)
    assert vars(arrived) == vars(outcome)


@given(
    base=st.floats(0, 1e4),
    factor=st.floats(1, 10),
    maximum=st.floats(0, 1e5),
    jitter=st.booleans(),
    retry=st.integers(1, 10_000),
)
def test_a_backoff_stays_within_its_bounds(base, factor, maximum, jitter, retry):
    wait = Backoff(base=base, factor=factor, maximum=maximum, jitter=jitter).wait(retry)
    whole = min(maximum, base * factor ** min(retry - 1, 64))
    assert whole * (0.5 if jitter else 1.0) <= wait <= whole


@given(st.integers(1, 200))
def test_a_backoff_never_shrinks_but_for_its_jitter(retry):
    plain = Backoff(jitter=False)
    assert plain.wait(retry) <= plain.wait(retry + 1) <= 3600


def test_jobs_that_failed_together_do_not_come_back_together():
    random.seed(1)
    assert len({Backoff().wait(5) for _ in range(100)}) > 50


@pytest.mark.parametrize(
    ("rule", "waits"),
    [
        ([1, "1m", 10], [1, 60, 10, 10]),
        (30, [30, 30]),
        ("2m", [120, 120]),
        (Backoff(base=2, factor=3, maximum=10, jitter=False), [2, 6, 10]),
    ],
)
def test_a_backoff_rule_means_its_waits(rule, waits):
    backoff = as_backoff(rule)
    assert [backoff.wait(n) for n in range(1, len(waits) + 1)] == waits


def test_named_rules_grow_or_stay():
    assert as_backoff("exponential").wait(8) > as_backoff("exponential").wait(1) * 10
    assert as_backoff("constant").wait(8) <= 10


@pytest.mark.parametrize(("rule", "near"), [("exponental", "exponential"), ("Constant", "constant"), ("x", None)])
def test_an_unknown_rule_is_refused_with_the_nearest_one(rule, near):
    with pytest.raises(ConfigError, match=f"did you mean '{near}'" if near else "expected a duration"):
        as_backoff(rule)


def test_a_backoff_function_is_asked_with_the_number_and_the_error():
    asked = []
    outcome = decided(OSError("x"), 2, retries=3, backoff=lambda retry, error: asked.append((retry, str(error))) or 4.5)
    assert (outcome.delay, asked) == (4.5, [(2, "x")])


@pytest.mark.parametrize("broken", [lambda retry, error: 1 / 0, lambda retry, error: -5, lambda retry, error: "soon"])
def test_a_backoff_function_that_fails_is_noted_and_the_default_is_used(broken):
    outcome = decided(OSError("x"), 1, retries=3, backoff=broken)
    assert 0.5 <= outcome.delay <= 1.0
    assert "back-off function failed" in outcome.error.traceback
    assert outcome.error.message == "x"


def test_an_error_is_described_even_if_it_cannot_describe_itself():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    info = describe(raised(Mute()), 1, 0.0)
    assert (info.type.rsplit(".", 1)[-1], info.message) == ("Mute", "(its message could not be made: RuntimeError)")


def test_an_error_about_an_odd_file_name_can_be_stored():
    info = describe(raised(ValueError("\udcff.txt")), 1, 0.0)
    assert info.message == "\\udcff.txt"
    assert info.traceback.encode()


def test_a_long_traceback_is_kept_from_its_end():
    info = describe(raised(ValueError("x" * MAX_TRACEBACK + "end")), 1, 0.0)
    assert len(info.traceback) == MAX_TRACEBACK
    assert info.traceback.endswith("end\n")


def test_ids_sort_by_time_and_are_unique_among_threads():
    made: list[list[str]] = [[] for _ in range(4)]

    def make(mine: list[str]) -> None:
        mine.extend(new_job_id() for _ in range(5000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({id for mine in made for id in mine}) == 20_000
    assert {len(id) for mine in made for id in mine} == {26}


def test_ids_rise_even_if_the_clock_goes_back(monkeypatch):
    first = new_job_id()
    monkeypatch.setattr("time.time_ns", lambda: 5)
    assert new_job_id() > first


def test_every_state_has_its_moves_and_finished_ones_can_only_be_run_again():
    assert set(MOVES) == set(JobState)
    assert {state for state in JobState if state.finished} == FINISHED
    runs_again = {state: MOVES[state] - {JobState.QUEUED} for state in FINISHED}
    assert all(JobState.QUEUED in MOVES[state] for state in FINISHED)
    assert {state: more for state, more in runs_again.items() if more} == {JobState.CANCELLED: {JobState.WAITING}}
    assert set().union(*MOVES.values()) == set(JobState)
