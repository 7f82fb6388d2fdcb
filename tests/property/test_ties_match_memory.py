"""The same with lanes, groups, followers and jobs that wait: SQLite beside the model in memory."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from worklist.core.errors import GroupEnded
from worklist.core.job import KEEP_UNRUN, Job, Ties
from worklist.core.lane import LaneLimits
from worklist.core.ports import LaneChange, Settlement, Store

from .test_broker_matches_memory import QUEUES, TICK, WORKERS, Brokers, ends, jobs, settings, terms

LANES = ("x", "y", "z")
GROUPS = ("g1", "g2", "g3")
limits = st.builds(
    LaneLimits,
    rate=st.sampled_from([None, 1.0, 0.25]),
    burst=st.integers(1, 2),
    concurrency=st.sampled_from([None, 1, 2]),
)
ties = st.fixed_dictionaries(
    {"followed": st.booleans()},
    optional={
        "lane": st.sampled_from(LANES),
        "limits": st.none() | limits,
        "group": st.sampled_from(GROUPS),
        "after": st.integers(0, 10) | st.sampled_from(GROUPS),
        "when": st.sampled_from(["succeeded", "all"]),
        "takes": st.booleans(),
    },
)
tied_jobs = st.tuples(jobs, st.lists(st.none() | ties, min_size=4, max_size=4))


def outcome_of(store: Store, batch: list[Job]) -> list[str] | str:
    """Return what a put returns, or the text of its refusal."""
    try:
        return store.put(batch)
    except GroupEnded as error:
        return str(error)


class TiedBrokers(Brokers):
    """Jobs of every kind; what is done with them is the same."""

    @rule(specs=tied_jobs)
    def put_tied(self, specs: Any) -> None:
        batch = self.tied(*specs)
        ours, theirs = outcome_of(self.model, batch), outcome_of(self.subject, batch)
        assert theirs == ours
        if isinstance(ours, list):
            self.put_before += batch
            self.ids += [job.id for job in batch]

    def tied(self, specs: list[dict[str, Any]], ties: list[dict[str, Any] | None]) -> list[Job]:
        batch: list[Job] = []
        for spec, wanted in zip(specs, ties, strict=False):
            plain = {name: value for name, value in spec.items() if name != "again"}
            job = self.a_job(plain)
            next(self.fresh)  # two jobs of one put come from one process, so they never share their moment
            if wanted is not None:
                bonds = dict(wanted)
                known = [*self.ids, *(it.id for it in batch)]
                if isinstance(bonds.get("after"), int):
                    bonds["after"] = known[-1 - bonds["after"] % len(known)] if known else "g3"
                job = Job(**{**{name: getattr(job, name) for name in job.__struct_fields__}, "ties": Ties(**bonds)})
            batch.append(job)
        return batch

    @precondition(lambda self: self.leases)
    @rule(ends=ends, followers=tied_jobs, worker=st.sampled_from(WORKERS), limit=st.integers(0, 4), seconds=terms)
    def exchange_with_followers(self, ends: list[Any], followers: Any, worker: str, limit: int, seconds: float) -> None:
        self.clock.advance(TICK)
        batch = [job for job in self.tied(*followers) if job.ties is None or job.ties.group is None]
        self.ids += [job.id for job in batch]
        ours, theirs = self.settlements([(*end[:3], KEEP_UNRUN, end[4]) for end in ends])
        for side in (ours, theirs):
            if side:
                first = side[0]
                side[0] = Settlement(first.lease, first.outcome, first.results, first.keep, first.progress, batch)
        self.note(
            self.model.exchange(ours, worker, QUEUES, limit, seconds),
            self.subject.exchange(theirs, worker, QUEUES, limit, seconds),
        )
        self.clock.advance(TICK)

    @rule(name=st.sampled_from(LANES), limits=limits, weight=st.sampled_from([0.5, 1.0, 2.0]))
    def limit_lane(self, name: str, limits: LaneLimits, weight: float) -> None:
        change = LaneChange(limits=limits, weight=weight, pinned=True)
        self.model.change_lane(name, change)
        self.subject.change_lane(name, change)

    @rule(name=st.sampled_from(LANES), seconds=st.sampled_from([0.0, 5.0, float("inf")]))
    def pause_lane(self, name: str, seconds: float) -> None:
        change = LaneChange(paused=self.clock.now + seconds if seconds else 0.0)
        self.model.change_lane(name, change)
        self.subject.change_lane(name, change)

    @rule(id=st.sampled_from(GROUPS))
    def open_group(self, id: str) -> None:
        self.model.open_group(id)
        self.subject.open_group(id)

    @rule(id=st.sampled_from(GROUPS))
    def seal_group(self, id: str) -> None:
        self.model.seal_group(id)
        self.subject.seal_group(id)

    @rule(id=st.sampled_from(GROUPS))
    def call_off(self, id: str) -> None:
        assert self.subject.call_off(id) == self.model.call_off(id)

    @invariant()
    def lanes_and_groups_are_the_same(self) -> None:
        assert self.subject.lanes() == self.model.lanes()
        assert self.subject.load_groups(GROUPS) == self.model.load_groups(GROUPS)
        for id in GROUPS:
            assert self.subject.results(id) == self.model.results(id)
            assert self.subject.members(id, None, 100) == self.model.members(id, None, 100)
        assert self.subject.held_back(QUEUES) == self.model.held_back(QUEUES)


TiedBrokers.TestCase.settings = settings(Brokers.TestCase.settings, max_examples=100, stateful_step_count=30)
TestTiesOnSqliteMatchMemory = TiedBrokers.TestCase
