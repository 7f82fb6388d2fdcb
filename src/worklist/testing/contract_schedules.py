"""What a broker promises of schedules: one tick for one fire time, whoever makes it, and no change that undoes another.

`BrokerContract` inherits it; it knows no broker.
"""

import math
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest

from ..core.beat import Beat
from ..core.codec import Codec
from ..core.events import EventBus
from ..core.job import Job, JobState, new_job_id
from ..core.ports import Filter, Store
from ..core.schedule import Schedule
from .inline import FakeClock

Test = TypeVar("Test", bound=Callable[..., object])
PATIENCE = 60.0

__all__ = ["ScheduleContract"]


def needs_schedule(test: Test) -> Test:
    """Mark a test that is skipped where the broker declares that it keeps no schedules."""
    test.__dict__["capabilities"] = ("schedule",)
    return test


def a_schedule(name: str = "nightly", **fields: Any) -> Schedule:
    """Return a schedule that is due at 1000."""
    facts: dict[str, Any] = {"job": Job("", "report"), "every": "30s", "due": 1000.0}
    return Schedule(name=name, **{**facts, **fields})


def a_tick(schedule: Schedule) -> Job:
    """Return the job of the tick that a schedule is due for."""
    return schedule.job_of(schedule.due, new_job_id(), schedule.due)


class ScheduleContract:
    """The promises of the port Schedules."""

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        """Return a second object on the same store; the subclass's."""
        raise NotImplementedError

    @needs_schedule
    def test_now_is_the_clock_of_the_broker(self, broker: Store, clock: FakeClock) -> None:
        assert broker.now() == clock.now
        clock.advance(5)
        assert broker.now() == clock.now

    @needs_schedule
    def test_schedules_are_kept_whole_and_listed_by_name(self, broker: Store, clock: FakeClock) -> None:
        whole = a_schedule(
            "b",
            job=Job("", "report", b"\x81\xa1x\x01", queue="slow", priority=3, expires=60.0, overrides={"retries": 2}),
            every="0 2 * * *",
            tz="Asia/Shanghai",
            missed="all",
            most=7,
            overlap=True,
            declared=True,
            paused=True,
            due=math.inf,
            last=990.0,
        )
        others = [a_schedule("c"), a_schedule("a")]
        assert broker.schedules() == []
        assert all(broker.save_schedule(it, None) for it in (whole, *others))
        assert self.make_another(broker, clock).schedules() == [others[1], whole, others[0]]

    @needs_schedule
    def test_a_schedule_is_stored_only_in_the_place_of_the_one_that_was_seen(self, broker: Store) -> None:
        first, second = a_schedule(), a_schedule(every="60s")
        assert not broker.save_schedule(second, first), "there was none to be replaced"
        assert broker.save_schedule(first, None)
        assert not broker.save_schedule(second, None), "there was one already"
        assert not broker.save_schedule(second, second)
        assert broker.schedules() == [first]
        assert broker.save_schedule(second, first)
        assert broker.schedules() == [second]

    @needs_schedule
    def test_a_change_does_not_undo_a_tick(self, broker: Store) -> None:
        seen = a_schedule()
        broker.save_schedule(seen, None)
        broker.tick(seen, 1030.0, 1000.0, [a_tick(seen)])
        assert not broker.save_schedule(msgspec.structs.replace(seen, every="60s"), seen)

    @needs_schedule
    def test_a_deleted_schedule_is_gone(self, broker: Store) -> None:
        seen = a_schedule()
        broker.save_schedule(seen, None)
        assert broker.delete_schedule("nightly")
        assert not broker.delete_schedule("nightly")
        assert broker.schedules() == []
        assert broker.tick(seen, 1030.0, 1000.0, [a_tick(seen)]) is None
        assert broker.counts() == {}

    @needs_schedule
    def test_a_tick_puts_its_jobs_and_moves_the_schedule_on(self, broker: Store) -> None:
        seen = a_schedule(overlap=True)
        broker.save_schedule(seen, None)
        jobs = [a_tick(seen), a_tick(seen)]
        assert broker.tick(seen, 1030.0, 1000.0, jobs) == [job.id for job in jobs]
        assert broker.schedules() == [msgspec.structs.replace(seen, due=1030.0, last=1000.0)]
        assert [Codec().decode(it.body) for it in broker.lease("w", ["default"], 9, 30.0)] == jobs

    @needs_schedule
    def test_a_tick_without_jobs_moves_the_schedule_on(self, broker: Store) -> None:
        seen = a_schedule()
        broker.save_schedule(seen, None)
        assert broker.tick(seen, 1030.0, None, []) == []
        assert broker.schedules() == [msgspec.structs.replace(seen, due=1030.0)]

    @needs_schedule
    def test_a_tick_is_made_once(self, broker: Store, clock: FakeClock) -> None:
        seen = a_schedule()
        broker.save_schedule(seen, None)
        other = self.make_another(broker, clock)
        assert broker.tick(seen, 1030.0, 1000.0, [a_tick(seen)]) is not None
        assert other.tick(seen, 1030.0, 1000.0, [a_tick(seen)]) is None
        assert len(broker.find(Filter())) == 1

    @needs_schedule
    @pytest.mark.parametrize("change", [{"paused": True, "due": math.inf}, {"job": Job("", "other")}, {"every": "60s"}])
    def test_a_tick_of_what_was_changed_meanwhile_puts_nothing(self, broker: Store, change: dict[str, Any]) -> None:
        seen = a_schedule()
        broker.save_schedule(seen, None)
        broker.save_schedule(msgspec.structs.replace(seen, **change), seen)
        assert broker.tick(seen, 1030.0, 1000.0, [a_tick(seen)]) is None
        assert broker.counts() == {}
        assert broker.schedules() == [msgspec.structs.replace(seen, **change)]

    @needs_schedule
    def test_a_tick_that_meets_the_job_before_puts_nothing_and_moves_on(self, broker: Store) -> None:
        seen = a_schedule()
        broker.save_schedule(seen, None)
        first = a_tick(seen)
        broker.tick(seen, 1030.0, 1000.0, [first])
        (seen,) = broker.schedules()
        assert broker.tick(seen, 1060.0, 1030.0, [a_tick(seen)]) == [first.id]
        assert [record.id for record in broker.find(Filter())] == [first.id]
        assert broker.schedules()[0].due == 1060.0

    @needs_schedule
    def test_a_tick_whose_jobs_cannot_be_put_changes_nothing(self, broker: Store) -> None:
        seen = a_schedule(overlap=True)
        broker.save_schedule(seen, None)
        unstorable = msgspec.structs.replace(a_tick(seen), overrides={"retries": object()})
        with pytest.raises(TypeError):
            broker.tick(seen, 1030.0, 1000.0, [unstorable])
        assert broker.schedules() == [seen]
        assert broker.counts() == {}

    @needs_schedule
    def test_of_many_that_tick_at_once_one_does(self, broker: Store, clock: FakeClock) -> None:
        seen = a_schedule(overlap=True)
        broker.save_schedule(seen, None)
        stores = [broker, *(self.make_another(broker, clock) for _ in range(4))]
        start, won = threading.Barrier(len(stores)), []

        def race(store: Store) -> None:
            for n in range(20):
                start.wait(PATIENCE)
                now = msgspec.structs.replace(seen, due=1000.0 + 30 * n, last=1000.0 + 30 * (n - 1) if n else None)
                if store.tick(now, now.due + 30, now.due, [a_tick(now)]) is not None:
                    won.append(n)

        threads = [threading.Thread(target=race, args=(store,), daemon=True) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert won == list(range(20))
        assert len(broker.find(Filter())) == 20

    @needs_schedule
    def test_any_number_of_beats_give_one_job_for_each_tick(self, broker: Store, clock: FakeClock) -> None:
        schedule = a_schedule(every="10s", overlap=True).started(clock.now)
        beats = [Beat(self.make_another(broker, clock), EventBus(), [schedule]) for _ in range(3)]
        end = clock.now + 300
        while clock.now < end:
            for beat in beats:
                beat.turn(clock.now)
            clock.advance(7)
        (stored,) = broker.schedules()
        queued = broker.find(Filter(state=JobState.QUEUED))
        ticks = sorted(Codec().decode(it.body).eta or 0.0 for it in queued)
        assert ticks == [schedule.due + 10 * n for n in range(len(ticks))]
        assert stored.last == ticks[-1]
        assert stored.due == ticks[-1] + 10
        assert clock.now - 20 < ticks[-1] <= clock.now
