"""The beat, turn by turn, with a clock that is moved: what is put when, what of missed ticks, what of trouble."""

import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from worklist.brokers.memory import MemoryBroker
from worklist.core import beat as module
from worklist.core.beat import GRACE, POLL_SECONDS, POLL_SECONDS_WITHOUT, Beat, ticks_to_put
from worklist.core.codec import Codec
from worklist.core.errors import BrokerUnavailable
from worklist.core.events import BrokerTrouble, EventBus
from worklist.core.job import Job
from worklist.core.outcome import Done
from worklist.core.ports import Filter, Settlement
from worklist.core.schedule import Schedule
from worklist.testing import FakeClock

T0 = 1_700_000_010.0
"""A multiple of 30."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(T0)


@pytest.fixture
def store(clock: FakeClock) -> Iterator[MemoryBroker]:
    store = MemoryBroker(clock=clock)
    yield store
    store.close()


def a_schedule(**fields: Any) -> Schedule:
    return Schedule(**{"name": "s", "job": Job("", "t"), "every": "30s", "overlap": True, "due": T0 + 30, **fields})


def ticks(store: MemoryBroker) -> list[float]:
    """The fire times of all jobs, as seconds after T0."""
    records = store.find(Filter(newest_first=False, limit=10_000))
    return [(Codec().decode(record.body).eta or 0.0) - T0 for record in records]


def a_beat(store: Any, *declared: Schedule) -> Beat:
    return Beat(store, EventBus(), declared)


# -- in time ------------------------------------------------------------------------------------------------------


def test_a_tick_gives_a_job_that_knows_its_fire_time(store: MemoryBroker, clock: FakeClock) -> None:
    store.save_schedule(a_schedule(), None)
    beat = a_beat(store)
    beat.turn(clock.now)
    assert ticks(store) == []
    clock.advance(30.25)
    beat.turn(clock.now)
    assert ticks(store) == [30]
    (record,) = store.find(Filter())
    assert record.due == clock.now
    (schedule,) = store.schedules()
    assert (schedule.last, schedule.due) == (T0 + 30, T0 + 60)


def test_the_next_turn_is_when_something_is_due_or_may_have_changed(store: MemoryBroker, clock: FakeClock) -> None:
    beat = a_beat(store)
    assert beat.turn(clock.now) == clock.now + POLL_SECONDS_WITHOUT
    store.save_schedule(a_schedule(), None)
    assert beat.turn(clock.now) == clock.now + POLL_SECONDS
    clock.advance(29.5)
    assert beat.turn(clock.now) == T0 + 30
    store.save_schedule(a_schedule(name="quick", every="1s", due=T0 + 29), None)
    assert beat.turn(T0 + 29.6) == T0 + 30, "the time after the tick that was just made counts"


def test_a_paused_schedule_does_not_fire(store: MemoryBroker, clock: FakeClock) -> None:
    store.save_schedule(a_schedule(paused=True).started(clock.now), None)
    clock.advance(10_000)
    a_beat(store).turn(clock.now)
    assert ticks(store) == []


def test_ticks_that_are_a_little_late_all_give_their_jobs(store: MemoryBroker, clock: FakeClock) -> None:
    store.save_schedule(a_schedule(every="1s", due=T0 + 1, missed="skip"), None)
    clock.advance(1 + GRACE)
    a_beat(store).turn(clock.now)
    assert ticks(store) == list(range(1, 62))


# -- after a pause ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "most", "expected"),
    [
        ("skip", 100, []),
        ("once", 100, [300]),
        ("all", 100, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300]),
        ("all", 3, [240, 270, 300]),
        ("all", 1, [300]),
    ],
)
def test_what_becomes_of_missed_ticks(
    store: MemoryBroker, clock: FakeClock, missed: str, most: int, expected: list[float]
) -> None:
    store.save_schedule(a_schedule(missed=missed, most=most), None)
    clock.advance(310)
    beat = a_beat(store)
    beat.turn(clock.now)
    assert ticks(store) == expected
    (schedule,) = store.schedules()
    assert schedule.due == T0 + 330
    assert schedule.last == (T0 + 300 if expected else None)
    clock.advance(20)
    beat.turn(clock.now)
    assert ticks(store) == [*expected, 330]


def test_grace_has_an_end() -> None:
    schedule = a_schedule(due=T0, missed="skip")
    assert ticks_to_put(schedule, T0 + GRACE) == [T0, T0 + 30, T0 + 60]
    assert ticks_to_put(schedule, T0 + GRACE + 0.01) == []


def test_a_pause_of_years_is_no_work() -> None:
    schedule = a_schedule(every="1s", due=T0 - 1e8, missed="all", most=2)
    assert ticks_to_put(schedule, T0) == [T0 - 1, T0]


def test_a_clock_that_is_put_back_gives_no_tick_twice(store: MemoryBroker, clock: FakeClock) -> None:
    store.save_schedule(a_schedule(), None)
    beat = a_beat(store)
    beat.turn(T0 + 30)
    for now in (T0, T0 + 29, T0 + 30, T0 + 59):
        beat.turn(now)
    assert ticks(store) == [30]
    beat.turn(T0 + 60)
    assert ticks(store) == [30, 60]


# -- overlap ------------------------------------------------------------------------------------------------------


def test_a_tick_that_meets_an_unfinished_job_puts_nothing(
    store: MemoryBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store.save_schedule(a_schedule(overlap=False), None)
    beat = a_beat(store)
    clock.advance(30)
    beat.turn(clock.now)
    (lease,) = store.lease("w", ["default"], 1, 1000.0)
    clock.advance(30)
    with caplog.at_level(logging.INFO, "worklist"):
        beat.turn(clock.now)
    assert ticks(store) == [30]
    assert f"schedule 's': a tick put nothing, since job {lease.id} has not finished" in caplog.text
    store.settle([Settlement(lease, Done())])
    clock.advance(30)
    beat.turn(clock.now)
    assert ticks(store) == [30, 90]


def test_two_schedules_of_one_task_do_not_get_in_each_others_way(store: MemoryBroker, clock: FakeClock) -> None:
    for name in ("a", "b"):
        store.save_schedule(a_schedule(name=name, overlap=False), None)
    clock.advance(30)
    a_beat(store).turn(clock.now)
    assert ticks(store) == [30, 30]


def test_a_key_of_the_tasks_own_stays() -> None:
    schedule = a_schedule(job=Job("", "t", key="t:k", hold=60.0), overlap=False)
    job = schedule.job_of(T0, "id", T0 + 1)
    assert (job.id, job.key, job.hold, job.eta, job.created) == ("id", "t:k", 60.0, T0, T0 + 1)


# -- what code declares ---------------------------------------------------------------------------------------------


def test_declared_schedules_are_stored_at_the_first_turn(store: MemoryBroker, clock: FakeClock) -> None:
    declared = a_schedule(declared=True, due=0.0)
    a_beat(store, declared).turn(clock.now)
    assert store.schedules() == [msgspec.structs.replace(declared, due=T0 + 30)]


def test_a_later_beat_keeps_history_and_next_tick_where_the_times_are_the_same(
    store: MemoryBroker, clock: FakeClock
) -> None:
    a_beat(store, a_schedule(declared=True)).turn(clock.now)
    a_beat(store).turn(T0 + 30)
    clock.advance(200)
    changed = a_schedule(declared=True, job=Job("", "t", b"\x81\xa1x\x01"), missed="skip")
    a_beat(store, changed).turn(T0 + 31)
    assert store.schedules() == [msgspec.structs.replace(changed, due=T0 + 60, last=T0 + 30)]


def test_a_later_beat_begins_anew_where_the_times_differ(store: MemoryBroker, clock: FakeClock) -> None:
    a_beat(store, a_schedule(declared=True)).turn(clock.now)
    a_beat(store).turn(T0 + 30)
    a_beat(store, a_schedule(declared=True, every="45s")).turn(T0 + 31)
    (schedule,) = store.schedules()
    assert (schedule.every, schedule.last) == ("45s", T0 + 30)
    assert schedule.due % 45 == 0
    assert 0 < schedule.due - (T0 + 31) <= 45


def test_a_pause_outlives_a_deploy(store: MemoryBroker, clock: FakeClock) -> None:
    store.save_schedule(a_schedule(declared=True, paused=True).started(clock.now), None)
    a_beat(store, a_schedule(declared=True, every="45s")).turn(clock.now)
    clock.advance(1000)
    a_beat(store).turn(clock.now)
    assert ticks(store) == []
    assert store.schedules()[0].every == "45s"


def test_what_was_changed_at_run_time_is_not_the_codes_any_more(store: MemoryBroker, clock: FakeClock) -> None:
    by_hand = a_schedule(declared=False, every="45s").started(clock.now)
    store.save_schedule(by_hand, None)
    a_beat(store, a_schedule(declared=True)).turn(clock.now)
    assert store.schedules() == [by_hand]


def test_a_schedule_that_no_code_declares_any_more_is_told_of_and_goes_on(
    store: MemoryBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    a_beat(store, a_schedule(name="old", declared=True)).turn(clock.now)
    clock.advance(30)
    a_beat(store, a_schedule(name="new", declared=True)).turn(clock.now)
    assert "worklist schedules delete old" in caplog.text
    assert ticks(store) == [30]


# -- trouble ------------------------------------------------------------------------------------------------------


class Broken:
    """A store that fails so many times, in one way."""

    def __init__(self, store: MemoryBroker, failures: int, error: Exception) -> None:
        self._store = store
        self.failures = failures
        self.error = error

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    def schedules(self) -> list[Schedule]:
        if self.failures:
            self.failures -= 1
            raise self.error
        return self._store.schedules()


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), RuntimeError("a bug")])
def test_trouble_is_waited_out(store: MemoryBroker, clock: FakeClock, error: Exception) -> None:
    heard: list[BrokerTrouble] = []
    events = EventBus()
    events.on(BrokerTrouble, heard.append)
    beat = Beat(Broken(store, 9, error), events, [a_schedule(declared=True)])  # type: ignore[arg-type]
    pauses = [beat.once() for _ in range(9)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert [it.delay for it in heard] == (pauses if isinstance(error, BrokerUnavailable) else [])
    assert beat.once() <= POLL_SECONDS + module.JITTER_SECONDS
    assert [schedule.name for schedule in store.schedules()] == ["s"], "what is declared is not forgotten"


def test_one_schedule_that_cannot_fire_here_does_not_stop_the_others(
    store: MemoryBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store.save_schedule(a_schedule(name="a", every="0 0 * * *", tz="Mars/Olympus"), None)
    store.save_schedule(a_schedule(name="b"), None)
    beat = a_beat(store)
    clock.advance(30)
    beat.turn(clock.now)
    assert beat.turn(clock.now) == clock.now + POLL_SECONDS
    assert ticks(store) == [30]
    assert caplog.text.count("the schedule 'a' cannot fire here: there is no time zone 'Mars/Olympus'") == 1
    assert store.schedules()[0].due == T0 + 30, "a machine that knows the zone may still fire it"


def test_stop_ends_run(store: MemoryBroker) -> None:
    beat = a_beat(store)
    beat.start()
    beat.stop()
    beat.join(60)
    assert beat._thread is not None
    assert not beat._thread.is_alive()
