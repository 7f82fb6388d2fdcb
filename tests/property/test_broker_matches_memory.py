"""SQLite beside the model in memory: the same calls at the same time have the same effect, as far as anyone can see."""

import itertools
import math
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worklist.brokers.memory import MemoryBroker
from worklist.brokers.sqlite import SqliteBroker
from worklist.core.job import FOREVER, KEEP_UNRUN, ErrorInfo, Job, JobRecord, JobState, Progress
from worklist.core.outcome import Cancel, Done, Fail, Retry, Snooze
from worklist.core.ports import Filter, Lease, Report, Settlement, Store, WorkerInfo
from worklist.testing import FakeClock

QUEUES = ("a", "b", "c")
TASKS = ("t", "u")
WORKERS = ("v", "w")
TICK = 1 / 1024
"""Around a settle the clock moves a little: SQLite tells apart by the time in which of its lives a job ended."""

Pair = tuple[Lease, Lease]

jobs = st.lists(
    st.fixed_dictionaries(
        {
            "queue": st.sampled_from(QUEUES),
            "task": st.sampled_from(TASKS),
            "args": st.binary(max_size=3),
            "priority": st.integers(-1, 2),
        },
        optional={
            "again": st.integers(0, 20),
            "delay": st.sampled_from([0.0, 5.0, 30.0]),
            "eta": st.sampled_from([-10.0, 0.0, 7.0]),
            "key": st.sampled_from(["k", "l"]),
            "hold": st.sampled_from([0.0, 10.0, 100.0, FOREVER]),
            "replace": st.booleans(),
            "expires": st.sampled_from([0.0, 3.0, 20.0]),
            "redeliveries": st.integers(0, 2),
        },
    ),
    max_size=4,
)
errors = st.builds(
    ErrorInfo,
    type=st.sampled_from(["OSError", "ValueError"]),
    message=st.text(max_size=3),
    traceback=st.just(""),
    attempt=st.integers(1, 3),
    at=st.just(1.5),
)


def a_retry(delay: float | None, error: ErrorInfo | None) -> Retry:
    retry = Retry(delay)
    retry.error = error
    return retry


outcomes = st.one_of(
    st.builds(Done, st.sampled_from([b"\xc0", b"\x01", b"\x02"])),
    st.builds(Fail, errors),
    st.builds(a_retry, st.sampled_from([None, 0.0, 5.0]), st.none() | errors),
    st.builds(Snooze, st.sampled_from([0.0, 5.0])),
    st.builds(Cancel),
)
progresses = st.builds(Progress, st.integers(0, 3), st.none() | st.integers(3, 5), st.sampled_from(["", "pages"]))
ends = st.lists(
    st.tuples(
        st.integers(0, 30),
        outcomes,
        st.sampled_from(["all", "failures", "none"]),
        st.sampled_from([0.0, 20.0, math.inf]),
        st.none() | progresses,
    ),
    max_size=4,
)
queue_lists = st.lists(st.sampled_from(QUEUES), max_size=4)
terms = st.sampled_from([5.0, 30.0])
some = st.lists(st.integers(0, 30), max_size=4)


class Brokers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.model = MemoryBroker(clock=self.clock)
        self.one, self.other = self.open_two()
        self.fresh = itertools.count()
        self.ids: list[str] = []
        self.put_before: list[Job] = []
        self.leases: list[Pair] = []

    def open_two(self) -> tuple[Store, Store]:
        """Return two objects on one new place."""
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "jobs.db"
        return SqliteBroker(path, clock=self.clock), SqliteBroker(path, clock=self.clock)

    def clean_up(self) -> None:
        """Remove the place."""
        self.folder.cleanup()

    def teardown(self) -> None:
        self.other.close()
        self.one.close()
        self.clean_up()

    @initialize(two=st.booleans())
    def take_turns(self, two: bool) -> None:
        """Let half of the runs alternate between two objects on the same place."""
        self.two = two

    @property
    def subject(self) -> Store:
        if self.two:
            self.one, self.other = self.other, self.one
        return self.one

    # -- the verbs ------------------------------------------------------------------------------------------

    @rule(specs=jobs)
    def put(self, specs: list[dict[str, Any]]) -> None:
        batch = [self.a_job(spec) for spec in specs]
        self.put_before += batch
        self.ids += [job.id for job in batch]
        assert self.subject.put(batch) == self.model.put(batch)

    def a_job(self, spec: dict[str, Any]) -> Job:
        again = spec.pop("again", None)
        if again is not None and again < len(self.put_before):
            job = self.put_before[again]
            stands_aside = job.id.endswith("1")  # SQLite may add it again where the one in its place is gone
            if (
                not stands_aside and self.model.load([job.id])[0] is not None
            ):  # else it would come last in memory, and by its age in SQLite
                return job
        if "eta" in spec:
            spec = {**spec, "eta": self.clock.now + spec["eta"]}
        moment, twin = divmod(next(self.fresh), 2)  # ids begin with a time that two of them share
        return Job(id=f"{1000 * moment:016x}{twin:010x}", **spec)

    @rule(worker=st.sampled_from(WORKERS), queues=queue_lists, limit=st.integers(0, 4), seconds=terms)
    def lease(self, worker: str, queues: list[str], limit: int, seconds: float) -> None:
        ours = self.model.lease(worker, queues, limit, seconds)
        theirs = self.subject.lease(worker, queues, limit, seconds)
        self.note(ours, theirs)

    @rule(worker=st.sampled_from(WORKERS))
    def lease_all(self, worker: str) -> None:
        self.note(self.model.lease(worker, QUEUES, 100, 30.0), self.subject.lease(worker, QUEUES, 100, 30.0))

    def note(self, ours: list[Lease], theirs: list[Lease]) -> None:
        assert [facts(it) for it in theirs] == [facts(it) for it in ours]
        self.leases += zip(ours, theirs, strict=True)

    @precondition(lambda self: self.leases)
    @rule(ends=ends)
    def settle(self, ends: list[Any]) -> None:
        self.clock.advance(TICK)
        ours, theirs = self.settlements(ends)
        self.model.settle(ours)
        self.subject.settle(theirs)
        self.clock.advance(TICK)

    @precondition(lambda self: self.leases)
    @rule(ends=ends, worker=st.sampled_from(WORKERS), queues=queue_lists, limit=st.integers(0, 4), seconds=terms)
    def exchange(self, ends: list[Any], worker: str, queues: list[str], limit: int, seconds: float) -> None:
        self.clock.advance(TICK)
        ours, theirs = self.settlements([(*end[:3], KEEP_UNRUN, end[4]) for end in ends])
        self.note(
            self.model.exchange(ours, worker, queues, limit, seconds),
            self.subject.exchange(theirs, worker, queues, limit, seconds),
        )
        self.clock.advance(TICK)

    def settlements(self, ends: list[Any]) -> tuple[list[Settlement], list[Settlement]]:
        """Return the same outcomes for both; each job has one at most, for no worker settles a job twice at once."""
        chosen: dict[str, tuple[Pair, Any]] = {}
        for index, *rest in ends:
            pair = self.leases[-1 - index % len(self.leases)]  # mostly the latest, sometimes one long lost
            chosen.setdefault(pair[0].id, (pair, rest))
        return tuple([Settlement(pair[side], *rest) for pair, rest in chosen.values()] for side in (0, 1))  # type: ignore[return-value]

    @precondition(lambda self: self.leases)
    @rule(indices=some, worker=st.sampled_from(WORKERS), seconds=terms)
    def extend(self, indices: list[int], worker: str, seconds: float) -> None:
        info = WorkerInfo(id=worker, host="h", pid=1, queues=QUEUES, slots=2, started=0.0, running=len(indices))
        pairs = self.pairs(indices)
        ours = self.model.extend(info, [it for it, _ in pairs], seconds)
        theirs = self.subject.extend(info, [it for _, it in pairs], seconds)
        said = [(it.number in ours.lost, other.number in theirs.lost) for it, other in pairs]
        assert (False, True) not in said
        assert self.two or (True, False) not in said  # what another object settled, this one need not know to be over
        assert theirs.cancelled == ours.cancelled

    @precondition(lambda self: self.leases)
    @rule(indices=some, progress=progresses)
    def report(self, indices: list[int], progress: Progress) -> None:
        pairs = self.pairs(indices)
        self.model.report([Report(it, progress) for it, _ in pairs])
        self.subject.report([Report(it, progress) for _, it in pairs])

    def pairs(self, indices: list[int]) -> list[Pair]:
        return [self.leases[-1 - index % len(self.leases)] for index in indices]

    @rule(seconds=st.sampled_from([TICK, 1.0, 3.0, 5.0, 30.0, 700_000.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(indices=some, change=st.sampled_from(["cancel", "retry", "delete"]))
    def change(self, indices: list[int], change: Any) -> None:
        self.clock.advance(TICK)
        ids = [self.ids[-1 - index % len(self.ids)] for index in indices] if self.ids else ["nobody"]
        assert self.subject.change(ids, change) == self.model.change(ids, change)

    @rule(queue=st.sampled_from(QUEUES), state=st.sampled_from(JobState))
    def purge(self, queue: str, state: JobState) -> None:
        assert self.subject.purge(queue, state) == self.model.purge(queue, state)

    @rule(queue=st.sampled_from(QUEUES), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.model.pause(queue, paused)
        self.subject.pause(queue, paused)

    @rule()
    def prune(self) -> None:
        assert self.subject.prune(10_000) == self.model.prune(10_000)

    @rule(worker=st.sampled_from(WORKERS))
    def goodbye(self, worker: str) -> None:
        self.model.goodbye(worker)
        self.subject.goodbye(worker)

    @rule(
        wanted=st.builds(
            Filter,
            state=st.none() | st.sampled_from(JobState),
            queue=st.none() | st.sampled_from(QUEUES),
            task=st.none() | st.sampled_from(TASKS),
            limit=st.integers(0, 5) | st.just(1000),
            newest_first=st.booleans(),
        )
    )
    def find(self, wanted: Filter) -> None:
        assert shown(self.subject.find(wanted)) == shown(self.model.find(wanted))

    # -- what anyone can see --------------------------------------------------------------------------------

    @invariant()
    def the_same_is_seen(self) -> None:
        assert shown(self.subject.load(self.ids)) == shown(self.model.load(self.ids))
        assert self.subject.counts() == self.model.counts()
        assert self.subject.paused() == self.model.paused()
        assert sorted(self.subject.workers(), key=worker_id) == sorted(self.model.workers(), key=worker_id)


def facts(lease: Lease) -> tuple[Any, ...]:
    return lease.id, lease.body, lease.attempt, lease.lost


def shown(records: list[Any]) -> list[JobRecord | None]:
    return records


def worker_id(info: WorkerInfo) -> str:
    return info.id


Brokers.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestSqliteMatchesMemory = Brokers.TestCase
