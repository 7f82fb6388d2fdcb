"""Schedules on SQLite beside the model in memory: the same calls at the same time have the same effect."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from worklist.brokers.memory import MemoryBroker
from worklist.brokers.sqlite import SqliteBroker
from worklist.core.beat import Beat
from worklist.core.codec import Codec
from worklist.core.events import EventBus
from worklist.core.job import Job
from worklist.core.outcome import Done
from worklist.core.ports import Filter, Settlement, Store
from worklist.core.schedule import Schedule
from worklist.testing import FakeClock

NAMES = ("a", "b", "c")
specs = st.fixed_dictionaries(
    {
        "every": st.sampled_from(["10s", "45s", "*/2 * * * *", "30 1 * * *"]),
        "job": st.builds(Job, st.just(""), st.sampled_from(["t", "u"]), priority=st.integers(0, 1)),
        "missed": st.sampled_from(["skip", "once", "all"]),
        "most": st.integers(1, 3),
        "overlap": st.booleans(),
        "paused": st.booleans(),
    }
)


class Schedules(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.model = MemoryBroker(clock=self.clock)
        self.stores = self.open_two()
        self.turns = itertools.cycle(self.stores)
        self.beats = [Beat(store, EventBus()) for store in self.stores]
        self.model_beat = Beat(self.model, EventBus())
        self.seen: list[Schedule | None] = [None]
        self.fresh = itertools.count()

    def open_two(self) -> tuple[Store, Store]:
        """Return two objects on one new place."""
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "jobs.db"
        return SqliteBroker(path, clock=self.clock), SqliteBroker(path, clock=self.clock)

    def clean_up(self) -> None:
        """Remove the place."""
        self.folder.cleanup()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.clean_up()

    @property
    def subject(self) -> Store:
        return next(self.turns)

    @rule(name=st.sampled_from(NAMES), spec=specs, behind=st.integers(0, 2))
    def save(self, name: str, spec: dict[str, Any], behind: int) -> None:
        """Store one in the place of the one that is there, or of one that was seen long ago."""
        wanted = Schedule(name=name, **spec).started(self.clock.now)
        there = {schedule.name: schedule for schedule in self.model.schedules()}
        seen = there.get(name) if behind == 0 else self.seen[-min(behind, len(self.seen))]
        assert self.subject.save_schedule(wanted, seen) == self.model.save_schedule(wanted, seen)
        self.seen.append(wanted)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        assert self.subject.delete_schedule(name) == self.model.delete_schedule(name)

    @rule(which=st.integers(0, 10), ahead=st.sampled_from([5.0, 50.0]), jobs=st.integers(0, 2))
    def tick(self, which: int, ahead: float, jobs: int) -> None:
        """Make the tick of one that is there, or that was there once."""
        known = [*self.model.schedules(), *(it for it in self.seen if it is not None)]
        if not known:
            return
        seen = known[which % len(known)]
        due = self.clock.now + ahead
        batch = [seen.job_of(self.clock.now, f"{next(self.fresh):016x}{0:010x}", self.clock.now) for _ in range(jobs)]
        theirs = self.subject.tick(seen, due, self.clock.now, batch)
        assert by_job(theirs, batch) == by_job(self.model.tick(seen, due, self.clock.now, batch), batch)

    @rule(order=st.permutations([0, 1]))
    def beat(self, order: list[int]) -> None:
        """Two beats on one place do together what one does in memory."""
        self.model_beat.turn(self.clock.now)
        for which in order:
            self.beats[which].turn(self.clock.now)

    @rule()
    def work(self) -> None:
        """Finish what is queued, for the keys to be free again."""
        for store in (self.model, self.subject):
            leases = store.lease("w", ["default"], 100, 30.0)
            store.settle([Settlement(lease, Done()) for lease in leases])

    @rule(seconds=st.sampled_from([1.0, 9.5, 30.0, 61.0, 200.0, 90_000.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_same_is_seen(self) -> None:
        subject = self.subject
        assert subject.schedules() == self.model.schedules()
        assert told(subject) == told(self.model)


def by_job(ids: list[str] | None, batch: list[Job]) -> list[str] | None:
    """Return what a tick returned, but for the ids of jobs that a beat put: each beat gives its own jobs their ids."""
    ours = {job.id for job in batch}
    return None if ids is None else [id if id in ours else "one that a beat put" for id in ids]


def told(store: Any) -> list[tuple[Any, ...]]:
    """Return what was put, but for the ids that each beat gives its own jobs."""
    records = store.find(Filter(limit=10_000))
    bodies = [msgspec.structs.replace(Codec().decode(record.body), id="") for record in records]
    return sorted((str(body), str(record.state)) for body, record in zip(bodies, records, strict=True))


Schedules.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestSchedulesMatchMemory = Schedules.TestCase
