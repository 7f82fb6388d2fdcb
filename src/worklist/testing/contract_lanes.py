"""What a broker with lanes promises, said in tests; `BrokerContract` inherits them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from ..core.job import Job, JobId, JobState, Ties
from ..core.lane import INFINITE, Lane, LaneLimits
from ..core.outcome import HAND_BACK, Cancel, Done, Fail, Outcome, Snooze
from ..core.ports import LaneChange, Lease, Settlement, Store
from .contract_tools import (
    DAY,
    LEASE,
    Contract,
    Waiting,
    a_job,
    a_retry,
    a_worker,
    an_error,
    in_threads,
    lease,
    lease_one,
    leased,
    needs,
    settle,
    state,
)
from .inline import FakeClock

ONE_AT_A_TIME = LaneLimits(concurrency=1)
ONE_A_SECOND = LaneLimits(rate=1.0)


def in_lane(lane: str, limits: LaneLimits | None = None, **fields: Any) -> Job:
    """Return a job in a lane, as a task with these limits declares it."""
    return a_job(ties=Ties(lane=lane, limits=limits), **fields)


def some_in_lane(lane: str, count: int, limits: LaneLimits | None = None, **fields: Any) -> list[Job]:
    """Return several of them."""
    return [in_lane(lane, limits, **fields) for _ in range(count)]


def the_lane(store: Store, name: str) -> Lane:
    """Return a lane that has to be known."""
    (found,) = store.lanes([name])
    return found


def lanes_of(jobs: Sequence[Job], ids: Sequence[JobId]) -> str:
    """Return the lanes of leased jobs in their order, one letter each; a job in none is a dot."""
    lanes = {job.id: (job.ties.lane if job.ties is not None else None) or "." for job in jobs}
    return "".join(lanes[id] for id in ids)


def settle_all(store: Store, leases: Sequence[Lease], outcome: Outcome | None = None) -> None:
    """Settle leases in one call."""
    store.settle([Settlement(it, outcome or Done()) for it in leases])


class Turns(Contract):
    """Lanes share a queue."""

    @needs("lane")
    def test_lanes_take_turns(self, broker: Store) -> None:
        jobs = [*some_in_lane("a", 3), *some_in_lane("b", 3), *some_in_lane("c", 3)]
        broker.put(jobs)
        assert lanes_of(jobs, leased(broker)) == "abcabcabc"

    @needs("lane")
    def test_lanes_take_turns_over_many_small_leases(self, broker: Store) -> None:
        jobs = [*some_in_lane("a", 3), *some_in_lane("b", 3), *some_in_lane("c", 3)]
        broker.put(jobs)
        assert lanes_of(jobs, [lease_one(broker).id for _ in jobs]) == "abcabcabc"

    @needs("lane")
    def test_a_tenant_with_very_many_jobs_does_not_hold_up_the_others(self, broker: Store) -> None:
        many = some_in_lane("crowd", 5000)
        few = [it for n in range(99) for it in some_in_lane(f"tenant {n:02}", 3)]
        broker.put([*many, *few])
        first = [id for _ in range(10) for id in leased(broker, 40)]
        assert len(first) == 400
        assert {job.id for job in few} <= set(first)
        assert [id for id in first if id in {job.id for job in many}] == [job.id for job in many[: 400 - 297]]

    @needs("lane")
    def test_a_lane_that_comes_late_is_served_next_and_makes_up_for_nothing(self, broker: Store) -> None:
        jobs = some_in_lane("a", 20)
        broker.put(jobs)
        leased(broker, 10)
        late = some_in_lane("b", 5)
        broker.put(late)
        assert sorted(lanes_of([*jobs, *late], leased(broker, 2))) == ["a", "b"]
        assert sorted(lanes_of([*jobs, *late], leased(broker, 4))) == ["a", "a", "b", "b"]

    @needs("lane")
    def test_jobs_in_no_lane_take_turns_as_one_more(self, broker: Store) -> None:
        jobs = [*(a_job() for _ in range(3)), *some_in_lane("a", 3), *some_in_lane("b", 3)]
        broker.put(jobs)
        assert lanes_of(jobs, leased(broker)) == ".ab.ab.ab"

    @needs("lane")
    def test_a_lane_of_double_weight_has_two_turns_where_another_has_one(self, broker: Store) -> None:
        broker.change_lane("a", LaneChange(weight=2.0))
        jobs = [*some_in_lane("a", 40), *some_in_lane("b", 40)]
        broker.put(jobs)
        assert Counter(lanes_of(jobs, [id for _ in range(6) for id in leased(broker, 5)])) == {"a": 20, "b": 10}

    @needs("lane", "priority")
    def test_within_a_lane_a_higher_priority_goes_first_then_first_in_first_out(self, broker: Store) -> None:
        jobs = [in_lane("a", priority=priority) for priority in (0, 5, -3, 5, 0)]
        broker.put(jobs)
        assert leased(broker, 2) == [jobs[1].id, jobs[3].id]
        assert leased(broker) == [jobs[0].id, jobs[4].id, jobs[2].id]

    @needs("lane", "priority")
    def test_a_priority_counts_within_its_lane_only(self, broker: Store) -> None:
        jobs = [*some_in_lane("a", 2, priority=9), *some_in_lane("b", 2)]
        broker.put(jobs)
        assert lanes_of(jobs, leased(broker)) == "abab"

    @needs("lane")
    def test_each_job_of_a_lane_is_leased_once_by_workers_that_ask_at_once(
        self, broker: Store, clock: FakeClock
    ) -> None:
        ids = broker.put([in_lane(f"lane {n % 7}") for n in range(140)])
        brokers = [broker, *(self.make_another(broker, clock) for _ in range(3))]

        def take(n: int) -> list[JobId]:
            taken: list[JobId] = []
            while more := [it.id for it in lease(brokers[n], 5, worker=f"w{n}")]:
                taken += more
            return taken

        taken = in_threads(len(brokers), take)
        assert sorted(id for some in taken for id in some) == sorted(ids)

    @needs("lane", "inspect")
    def test_a_lane_whose_jobs_are_gone_does_not_hide_the_others(self, broker: Store) -> None:
        gone, there = [in_lane(name) for name in "abc"], in_lane("d")
        broker.put([*gone, there])
        broker.change([job.id for job in gone], "cancel")
        assert leased(broker, 1) == [there.id]

    @needs("lane", "expires")
    def test_a_lane_whose_jobs_have_expired_does_not_hide_the_others(self, broker: Store, clock: FakeClock) -> None:
        stale, fresh = [in_lane(name, expires=1.0) for name in "aabc"], in_lane("d")
        broker.put([*stale, fresh])
        clock.advance(1)
        assert leased(broker, 1) == [fresh.id]
        assert leased(broker, 10) == []
        broker.prune(100)
        assert {state(broker, job.id) for job in stale} == {JobState.EXPIRED}

    @needs("lane")
    def test_a_queue_without_lanes_goes_on_as_before(self, broker: Store) -> None:
        closed = some_in_lane("a", 2, ONE_AT_A_TIME)
        plain = [a_job(queue="plain", priority=priority) for priority in (0, 1)]
        broker.put([*closed, *plain])
        assert len(lease(broker, 10)) == 1
        assert leased(broker, queues=["plain"]) == [plain[1].id, plain[0].id]

    @needs("lane")
    def test_queues_are_served_in_the_order_given_whatever_their_lanes(self, broker: Store) -> None:
        jobs = [in_lane("x", queue="two"), in_lane("y", queue="one"), a_job(queue="one")]
        broker.put(jobs)
        assert leased(broker, 2, ["one", "two"]) == [jobs[2].id, jobs[1].id]
        assert leased(broker, 2, ["one", "two"]) == [jobs[0].id]

    @needs("lane", "inspect")
    def test_a_paused_queue_is_passed_over_with_its_lanes(self, broker: Store) -> None:
        job = in_lane("a")
        broker.put([job])
        broker.pause("default", True)
        assert leased(broker) == []
        broker.pause("default", False)
        assert leased(broker) == [job.id]

    @needs("lane", "inspect")
    def test_a_record_tells_the_lane(self, broker: Store) -> None:
        job, plain = in_lane("a"), a_job()
        broker.put([job, plain])
        assert [it.lane for it in broker.load([job.id, plain.id]) if it] == ["a", None]


class Joining(Contract):
    """How a job comes to stand in its lane."""

    @needs("lane", "delay")
    def test_a_delayed_job_joins_its_lane_when_it_is_due(self, broker: Store, clock: FakeClock) -> None:
        jobs = [*some_in_lane("a", 2), *some_in_lane("b", 2, delay=10.0)]
        broker.put(jobs)
        assert the_lane(broker, "b").queued == 0
        clock.advance(10)
        assert lanes_of(jobs, leased(broker)) == "abab"

    @needs("lane")
    @pytest.mark.parametrize("outcome", [a_retry(), Snooze(0), HAND_BACK], ids=["retry", "snooze", "hand back"])
    def test_a_job_that_is_to_run_again_joins_its_lane(self, broker: Store, outcome: Outcome) -> None:
        jobs = some_in_lane("a", 2, LaneLimits(concurrency=5))
        broker.put(jobs)
        settle(broker, lease_one(broker), outcome)
        assert (the_lane(broker, "a").queued, the_lane(broker, "a").running) == (2, 0)
        assert leased(broker) == [job.id for job in jobs]

    @needs("lane", "delay")
    @pytest.mark.parametrize("outcome", [a_retry(10.0), Snooze(10.0)], ids=["retry", "snooze"])
    def test_one_that_is_to_run_later_joins_it_then(self, broker: Store, clock: FakeClock, outcome: Outcome) -> None:
        job = in_lane("a", ONE_AT_A_TIME)
        broker.put([job])
        settle(broker, lease_one(broker), outcome)
        assert leased(broker) == []
        clock.advance(10)
        assert leased(broker) == [job.id]
        assert the_lane(broker, "a").running == 1

    @needs("lane", "inspect")
    def test_a_job_that_an_operator_retries_joins_its_lane(self, broker: Store) -> None:
        broker.put(some_in_lane("a", 2, ONE_AT_A_TIME))
        ours = lease_one(broker)
        settle(broker, ours, Fail(an_error()))
        broker.change([ours.id], "retry")
        assert the_lane(broker, "a").queued == 2
        assert leased(broker) == [ours.id]

    @needs("lane", "key")
    def test_a_debounced_job_moves_to_the_lane_of_the_newer_call(self, broker: Store) -> None:
        first = in_lane("a", key="k")
        broker.put([first])
        assert broker.put([in_lane("b", ONE_AT_A_TIME, key="k", replace=True)]) == [first.id]
        assert [(it.name, it.queued) for it in broker.lanes()] == [("a", 0), ("b", 1)]
        assert leased(broker, 5) == [first.id]
        assert [(it.name, it.running) for it in broker.lanes()] == [("a", 0), ("b", 1)]

    @needs("lane", "key")
    def test_a_debounced_job_may_leave_its_lane_or_enter_one(self, broker: Store) -> None:
        first, second = in_lane("a", ONE_AT_A_TIME, key="k"), a_job(key="l")
        broker.put([first, second])
        broker.put([a_job(key="k", replace=True), in_lane("b", key="l", replace=True)])
        assert sorted(leased(broker)) == [first.id, second.id]
        assert [(it.name, it.running) for it in broker.lanes()] == [("a", 0), ("b", 1)]

    @needs("lane", "key")
    def test_a_job_that_is_not_added_stands_in_no_lane(self, broker: Store) -> None:
        broker.put([in_lane("a", key="k")])
        broker.put([in_lane("b", key="k")])
        assert sum(it.queued for it in broker.lanes()) == 1
        assert len(leased(broker)) == 1


class Limits(Contract):
    """What a lane allows."""

    @needs("lane")
    def test_a_rate_spends_a_token_for_each_lease_and_opens_when_one_is_earned(
        self, broker: Store, clock: FakeClock
    ) -> None:
        jobs = some_in_lane("a", 3, LaneLimits(rate=4.0))
        broker.put(jobs)
        assert leased(broker) == [jobs[0].id]
        clock.advance(0.249)
        assert leased(broker) == []
        clock.advance(0.001)
        assert leased(broker) == [jobs[1].id]
        assert leased(broker) == []

    @needs("lane")
    def test_a_token_is_spent_whatever_becomes_of_the_job(self, broker: Store) -> None:
        for outcome in (Done(), Fail(an_error()), Cancel(), a_retry(60.0), Snooze(60.0)):
            lane = f"lane of {type(outcome).__name__}"
            broker.put(some_in_lane(lane, 2, ONE_A_SECOND))
            settle(broker, lease_one(broker), outcome)
            assert leased(broker) == []

    @needs("lane")
    def test_a_token_of_a_job_that_is_handed_back_is_earned_back(self, broker: Store) -> None:
        job = in_lane("a", ONE_A_SECOND)
        broker.put([job])
        settle(broker, lease_one(broker), HAND_BACK)
        assert leased(broker) == [job.id]
        assert leased(broker) == []

    @needs("lane")
    def test_a_snooze_by_the_task_itself_costs_its_token(self, broker: Store, clock: FakeClock) -> None:
        job = in_lane("a", ONE_A_SECOND)
        broker.put([job])
        settle(broker, lease_one(broker), Snooze(0))
        assert leased(broker) == []
        clock.advance(1)
        assert leased(broker) == [job.id]

    @needs("lane")
    def test_a_burst_goes_together_after_a_silence_and_no_more(self, broker: Store, clock: FakeClock) -> None:
        broker.put(some_in_lane("a", 20, LaneLimits(rate=1.0, burst=3)))
        assert len(leased(broker)) == 3
        clock.advance(1)
        assert len(leased(broker)) == 1
        clock.advance(100)
        assert len(leased(broker)) == 3

    @needs("lane")
    def test_over_any_time_no_more_start_than_the_rate_and_one_burst(self, broker: Store, clock: FakeClock) -> None:
        broker.put(some_in_lane("a", 200, LaneLimits(rate=10.0, burst=4)))
        starts: list[float] = []
        for step in range(400):
            clock.advance(0.017 if step % 50 else 0.9)
            starts += [clock.now for _ in lease(broker, 10)]
        assert len(starts) > 80
        for first, begin in enumerate(starts):
            for last in range(first, len(starts)):
                assert last - first + 1 <= 4 + (starts[last] - begin) * 10 + 1e-3

    @needs("lane")
    def test_no_more_of_a_lane_run_than_its_ceiling_over_all_workers(self, broker: Store, clock: FakeClock) -> None:
        brokers = [broker, *(self.make_another(broker, clock) for _ in range(3))]
        broker.put([*some_in_lane("a", 50, LaneLimits(concurrency=5))])
        taken = in_threads(4, lambda n: brokers[n].lease(f"w{n}", ["default"], 3, LEASE))
        assert sum(map(len, taken)) == 5
        assert the_lane(broker, "a").running == 5

    @needs("lane")
    @pytest.mark.parametrize(
        "outcome",
        [Done(), Fail(an_error()), Cancel(), a_retry(60.0), Snooze(60.0)],
        ids=lambda outcome: type(outcome).__name__,
    )
    @pytest.mark.parametrize("policy", ["all", "none"])
    def test_a_place_comes_free_with_the_settle(self, broker: Store, outcome: Outcome, policy: str) -> None:
        jobs = some_in_lane("a", 2, ONE_AT_A_TIME)
        broker.put(jobs)
        first = lease_one(broker)
        assert leased(broker) == []
        settle(broker, first, outcome, results=policy)
        assert the_lane(broker, "a").running == 0
        assert leased(broker) == [jobs[1].id]

    @needs("lane")
    def test_exchange_takes_the_places_that_its_own_settle_frees(self, broker: Store) -> None:
        jobs = some_in_lane("a", 3, ONE_AT_A_TIME)
        broker.put(jobs)
        ours = lease_one(broker)
        for job in jobs[1:]:
            (ours,) = broker.exchange([Settlement(ours, Done())], "w", ["default"], 10, LEASE)
            assert ours.id == job.id

    @needs("lane")
    def test_the_places_of_a_dead_worker_come_free_with_its_lease(self, broker: Store, clock: FakeClock) -> None:
        jobs = some_in_lane("a", 4, LaneLimits(concurrency=2))
        broker.put(jobs)
        assert len(lease(broker, 10, worker="dead")) == 2
        clock.advance(LEASE)
        assert leased(broker) == [jobs[0].id, jobs[1].id]
        assert the_lane(broker, "a").running == 2

    @needs("lane")
    def test_so_does_that_of_a_job_that_dies_with_its_worker(self, broker: Store, clock: FakeClock) -> None:
        jobs = some_in_lane("a", 2, ONE_AT_A_TIME, redeliveries=0)
        broker.put(jobs)
        lease_one(broker)
        clock.advance(LEASE)
        assert leased(broker) == [jobs[1].id]

    @needs("lane")
    def test_a_lease_that_is_extended_keeps_its_place(self, broker: Store, clock: FakeClock) -> None:
        broker.put(some_in_lane("a", 2, ONE_AT_A_TIME))
        ours = lease_one(broker)
        for _ in range(3):
            clock.advance(LEASE - 1)
            broker.extend(a_worker(), [ours], LEASE)
            assert leased(broker) == []

    @needs("lane")
    def test_a_stale_settle_frees_no_place(self, broker: Store, clock: FakeClock) -> None:
        broker.put(some_in_lane("a", 3, ONE_AT_A_TIME))
        stale = lease_one(broker, "frozen")
        clock.advance(LEASE)
        fresh = lease_one(broker, "fresh")
        assert fresh.id == stale.id
        for outcome in (Done(), Fail(an_error()), Cancel(), a_retry(), HAND_BACK):
            settle(broker, stale, outcome)
            assert the_lane(broker, "a").running == 1
            assert leased(broker) == []
        settle(broker, fresh)
        settle(broker, fresh)
        assert the_lane(broker, "a").running == 0

    @needs("lane", "inspect")
    def test_a_job_that_stops_when_asked_frees_its_place(self, broker: Store) -> None:
        jobs = some_in_lane("a", 2, ONE_AT_A_TIME)
        broker.put(jobs)
        ours = lease_one(broker)
        broker.change([ours.id], "cancel")
        assert leased(broker) == []
        settle(broker, ours, a_retry())
        assert leased(broker) == [jobs[1].id]

    @needs("lane")
    def test_rate_and_ceiling_hold_together(self, broker: Store, clock: FakeClock) -> None:
        broker.put(some_in_lane("a", 10, LaneLimits(rate=1.0, burst=4, concurrency=3)))
        first = lease(broker, 10)
        assert len(first) == 3
        settle_all(broker, first)
        second = lease(broker, 10)
        assert len(second) == 1
        clock.advance(4)
        assert len(lease(broker, 10)) == 2

    @needs("lane")
    def test_a_lane_is_one_over_all_queues(self, broker: Store, clock: FakeClock) -> None:
        limits = LaneLimits(rate=1.0, burst=3, concurrency=2)
        jobs = [*some_in_lane("a", 2, limits, queue="one"), *some_in_lane("a", 2, limits, queue="two")]
        broker.put(jobs)
        (one,) = lease(broker, 1, ["one"])
        (two,) = lease(broker, 10, ["two"])
        assert leased(broker, queues=["one", "two"]) == []
        settle_all(broker, [one, two])
        assert leased(broker, queues=["two", "one"]) == [jobs[3].id]  # the last of three tokens
        clock.advance(1)
        assert leased(broker, queues=["two", "one"]) == [jobs[1].id]

    @needs("lane")
    def test_a_closed_lane_holds_up_nobody_else(self, broker: Store) -> None:
        closed, open, plain = some_in_lane("a", 5, ONE_AT_A_TIME), some_in_lane("b", 2), a_job()
        broker.put([*closed, *open, plain])
        assert sorted(leased(broker, 10)) == sorted([closed[0].id, *(job.id for job in open), plain.id])

    @needs("lane")
    def test_what_tasks_declare_follows_the_newest_put(self, broker: Store) -> None:
        broker.put(some_in_lane("a", 3, ONE_AT_A_TIME))
        assert len(leased(broker)) == 1
        broker.put([in_lane("a", LaneLimits(concurrency=3))])
        assert the_lane(broker, "a").limits == LaneLimits(concurrency=3)
        assert len(leased(broker)) == 2

    @needs("lane")
    def test_a_limit_that_is_lowered_stops_nobody_who_runs(self, broker: Store) -> None:
        broker.put(some_in_lane("a", 5, LaneLimits(concurrency=3)))
        leases = lease(broker, 3)
        broker.change_lane("a", LaneChange(limits=ONE_AT_A_TIME))
        settle_all(broker, leases[:2])
        assert leased(broker) == []
        settle_all(broker, leases[2:])
        assert len(leased(broker)) == 1

    @needs("lane")
    def test_limits_set_by_hand_win_until_they_are_reset(self, broker: Store) -> None:
        broker.change_lane("a", LaneChange(limits=LaneLimits(concurrency=2), pinned=True))
        broker.put(some_in_lane("a", 5, ONE_AT_A_TIME))
        assert the_lane(broker, "a").limits == LaneLimits(concurrency=2)
        assert len(leased(broker)) == 2
        broker.change_lane("a", LaneChange(pinned=False))
        broker.put([in_lane("a", LaneLimits(concurrency=3))])
        assert len(leased(broker)) == 1


class ChangingLanes(Contract):
    """What people do with lanes."""

    @needs("lane")
    def test_a_lane_that_nobody_has_used_is_not_known(self, broker: Store) -> None:
        broker.put([a_job()])
        assert broker.lanes() == []
        assert broker.lanes(["a"]) == []

    @needs("lane")
    def test_lanes_are_listed_by_name_with_what_they_hold(self, broker: Store) -> None:
        broker.put([*some_in_lane("b", 3, LaneLimits(concurrency=2)), *some_in_lane("a", 2), in_lane("c", delay=60.0)])
        lease(broker, 3)
        assert [(it.name, it.queued, it.running) for it in broker.lanes()] == [("a", 0, 2), ("b", 2, 1), ("c", 0, 0)]
        assert [it.name for it in broker.lanes(["b", "nobody"])] == ["b"]
        assert the_lane(broker, "b").limits == LaneLimits(concurrency=2)

    @needs("lane")
    def test_a_paused_lane_is_passed_over_until_it_is_resumed(self, broker: Store, clock: FakeClock) -> None:
        job, other = in_lane("a"), in_lane("b")
        broker.put([job, other])
        broker.change_lane("a", LaneChange(paused=INFINITE))
        ours = lease_one(broker)
        assert ours.id == other.id
        settle(broker, ours)
        clock.advance(1000 * DAY)
        assert leased(broker) == []
        broker.change_lane("a", LaneChange(paused=0.0))
        assert leased(broker) == [job.id]

    @needs("lane")
    def test_a_lane_paused_until_a_time_opens_by_itself(self, broker: Store, clock: FakeClock) -> None:
        job = in_lane("a")
        broker.put([job])
        broker.change_lane("a", LaneChange(paused=clock.now + 10))
        clock.advance(9.99)
        assert leased(broker) == []
        clock.advance(0.01)
        assert leased(broker) == [job.id]

    @needs("lane")
    def test_a_lane_may_be_paused_before_it_is_used(self, broker: Store) -> None:
        broker.change_lane("a", LaneChange(paused=INFINITE))
        assert the_lane(broker, "a") == Lane(name="a", paused=INFINITE)
        broker.put([in_lane("a", ONE_AT_A_TIME)])
        assert leased(broker) == []
        broker.change_lane("a", LaneChange(paused=0.0))
        assert len(leased(broker)) == 1

    @needs("lane")
    def test_a_pause_leaves_what_runs_alone(self, broker: Store) -> None:
        broker.put(some_in_lane("a", 2))
        ours = lease_one(broker)
        broker.change_lane("a", LaneChange(paused=INFINITE))
        assert broker.extend(a_worker(), [ours], LEASE).cancelled == frozenset()
        settle(broker, ours)
        assert state(broker, ours.id) is JobState.SUCCEEDED

    @needs("lane", "delay")
    def test_a_delayed_job_of_a_paused_lane_waits_for_the_end_of_the_pause(
        self, broker: Store, clock: FakeClock
    ) -> None:
        job = in_lane("a", delay=5.0)
        broker.put([job])
        broker.change_lane("a", LaneChange(paused=clock.now + 10))
        clock.advance(5)
        assert leased(broker) == []
        clock.advance(5)
        assert leased(broker) == [job.id]

    @needs("lane")
    def test_a_change_leaves_alone_what_it_does_not_name(self, broker: Store) -> None:
        everything = LaneChange(limits=ONE_A_SECOND, weight=3.0, paused=INFINITE, pinned=True)
        broker.change_lane("a", everything)
        broker.change_lane("a", LaneChange(weight=2.0))
        assert the_lane(broker, "a") == Lane(name="a", limits=ONE_A_SECOND, weight=2.0, paused=INFINITE, pinned=True)

    @needs("lane")
    def test_what_is_set_of_a_lane_is_seen_by_every_other_user_of_the_store(
        self, broker: Store, clock: FakeClock
    ) -> None:
        other = self.make_another(broker, clock)
        broker.put(some_in_lane("a", 3))
        broker.change_lane("a", LaneChange(limits=ONE_AT_A_TIME, pinned=True))
        broker.change_lane("b", LaneChange(paused=INFINITE))
        assert other.lanes() == broker.lanes()
        assert len(leased(other)) == 1
        assert leased(broker) == []
        assert the_lane(other, "b").paused == INFINITE

    @needs("lane")
    def test_held_back_is_a_queue_whose_jobs_only_a_rate_or_a_ceiling_keeps_from_starting(self, broker: Store) -> None:
        assert not broker.held_back(["default"])
        broker.put([*some_in_lane("a", 2, ONE_AT_A_TIME), *some_in_lane("b", 2, ONE_A_SECOND, queue="rated")])
        lease(broker, 10, ["default", "rated"])
        assert broker.held_back(["default"])
        assert broker.held_back(["rated"])
        assert broker.held_back(["nobody", "rated"])
        assert not broker.held_back(["nobody"])

    @needs("lane")
    def test_what_may_start_by_now_is_not_told_to_be_gone(self, broker: Store, clock: FakeClock) -> None:
        broker.put(some_in_lane("a", 2, ONE_A_SECOND))
        lease_one(broker)
        assert leased(broker) == []
        clock.advance(2)  # between the look for work and the question whether any is left
        assert broker.held_back(["default"])

    @needs("lane")
    def test_a_paused_lane_does_not_count_as_held_back(self, broker: Store) -> None:
        broker.put(some_in_lane("a", 2))
        broker.change_lane("a", LaneChange(paused=INFINITE))
        assert leased(broker) == []
        assert not broker.held_back(["default"])

    @needs("lane", "inspect")
    def test_nothing_of_a_paused_queue_counts_as_held_back(self, broker: Store) -> None:
        broker.put([*some_in_lane("a", 2, ONE_AT_A_TIME), in_lane("b")])
        lease_one(broker)
        broker.pause("default", True)
        assert not broker.held_back(["default"])

    @needs("lane", "inspect")
    def test_nothing_that_was_cancelled_counts_as_held_back(self, broker: Store) -> None:
        jobs = some_in_lane("a", 2, ONE_AT_A_TIME)
        broker.put(jobs)
        lease_one(broker)
        assert broker.held_back(["default"])
        broker.change([jobs[1].id], "cancel")
        assert not broker.held_back(["default"])

    @needs("lane")
    def test_a_closed_lane_without_jobs_holds_nothing_back(self, broker: Store) -> None:
        broker.put([in_lane("a", ONE_AT_A_TIME)])
        lease_one(broker)
        assert leased(broker) == []
        assert not broker.held_back(["default"])

    @needs("lane")
    def test_an_idle_lane_is_forgotten_and_comes_back_with_its_limits(self, broker: Store, clock: FakeClock) -> None:
        broker.put([in_lane("a", ONE_AT_A_TIME)])
        settle(broker, lease_one(broker))
        leased(broker)
        broker.prune(100)
        assert broker.lanes() == []
        broker.put(some_in_lane("a", 2, ONE_AT_A_TIME))
        assert len(leased(broker)) == 1

    @needs("lane", "delay")
    def test_a_lane_that_is_forgotten_comes_back_with_a_delayed_job(self, broker: Store, clock: FakeClock) -> None:
        jobs = some_in_lane("a", 3, ONE_AT_A_TIME, delay=DAY)
        broker.put(jobs)
        broker.prune(100)
        clock.advance(DAY)
        assert leased(broker) == [jobs[0].id]
        assert the_lane(broker, "a").limits == ONE_AT_A_TIME

    @needs("lane")
    def test_a_lane_that_is_forgotten_comes_back_as_the_job_declares_that_was_due_first(
        self, broker: Store, clock: FakeClock
    ) -> None:
        broker.put([in_lane("l", ONE_AT_A_TIME, delay=2 * DAY, priority=9), in_lane("l", ONE_A_SECOND, delay=DAY)])
        broker.prune(100)
        assert broker.lanes(["l"]) == []
        clock.advance(3 * DAY)
        assert len(lease(broker)) == 1
        assert the_lane(broker, "l").limits == ONE_A_SECOND

    @needs("lane")
    def test_a_lane_that_means_something_is_not_forgotten(self, broker: Store, clock: FakeClock) -> None:
        broker.change_lane("paused", LaneChange(paused=INFINITE))
        broker.change_lane("pinned", LaneChange(limits=ONE_AT_A_TIME, pinned=True))
        broker.change_lane("weighty", LaneChange(weight=2.0))
        broker.put([in_lane("running"), in_lane("spent", ONE_A_SECOND)])
        leases = {it.id: it for it in lease(broker, 2)}
        broker.put([in_lane("queued")])
        broker.prune(100)
        names = ["paused", "pinned", "queued", "running", "spent", "weighty"]
        assert [it.name for it in broker.lanes()] == names
        settle_all(broker, [*leases.values()])
        clock.advance(1)
        leased(broker)
        broker.prune(100)
        assert [it.name for it in broker.lanes()] == ["paused", "pinned", "queued", "weighty"]


class WaitingForLanes(Contract):
    """`wait` returns when a lane opens."""

    def waiting(self, broker: Store) -> Waiting:
        """Return a thread that waits for work."""
        return Waiting(lambda seconds: broker.wait(["default"], seconds))

    @needs("lane")
    def test_wait_returns_when_a_token_is_earned(self, broker: Store) -> None:
        broker.put(some_in_lane("a", 2, LaneLimits(rate=20.0)))
        lease_one(broker)
        assert leased(broker) == []
        assert self.waiting(broker).ends()

    @needs("lane")
    def test_wait_returns_when_a_place_comes_free(self, broker: Store, clock: FakeClock) -> None:
        settler = self.make_another(broker, clock)
        broker.put(some_in_lane("a", 2, ONE_AT_A_TIME))
        ours = lease_one(settler)
        assert leased(broker) == []
        waiting = self.waiting(broker)
        settle(settler, ours)
        assert waiting.ends()
        assert len(leased(broker)) == 1

    @needs("lane")
    @pytest.mark.parametrize(
        "change",
        [LaneChange(paused=0.0), LaneChange(paused=0.0, limits=LaneLimits())],
        ids=["resume", "limits"],
    )
    def test_wait_returns_when_a_lane_is_opened_by_hand(
        self, broker: Store, clock: FakeClock, change: LaneChange
    ) -> None:
        other = self.make_another(broker, clock)
        broker.change_lane("a", LaneChange(paused=INFINITE))
        broker.put([in_lane("a", ONE_AT_A_TIME)])
        assert leased(broker) == []
        waiting = self.waiting(broker)
        other.change_lane("a", change)
        assert waiting.ends()

    @needs("lane")
    def test_wait_returns_at_a_put_in_an_open_lane(self, broker: Store, clock: FakeClock) -> None:
        putter = self.make_another(broker, clock)
        waiting = self.waiting(broker)
        putter.put([in_lane("a")])
        assert waiting.ends()

    @needs("lane")
    def test_wait_does_not_return_again_and_again_for_a_lane_that_is_closed(self, broker: Store) -> None:
        broker.change_lane("paused", LaneChange(paused=INFINITE))
        broker.put([*some_in_lane("full", 2, ONE_AT_A_TIME), in_lane("paused")])
        lease_one(broker)
        assert leased(broker) == []
        assert not self.waiting_ends_early(broker)

    def waiting_ends_early(self, broker: Store) -> bool:
        """Return whether a wait for a fifth of a second ends early three times in a row."""
        waits = [Waiting(lambda _: broker.wait(["default"], 0.2)) for _ in range(3)]
        return all(it.ends(0.05) for it in waits)
