"""What a broker promises of groups, of followers and of jobs that wait; `BrokerContract` inherits these tests."""

from collections.abc import Sequence
from typing import Any

import pytest

from ..core.errors import GroupEnded
from ..core.job import FOREVER, GroupId, Job, JobId, JobState, Ties, new_group_id
from ..core.lane import LaneLimits
from ..core.outcome import HAND_BACK, PREDECESSOR_FAILED, Cancel, Done, Fail, Outcome, Snooze
from ..core.ports import GroupRecord, Settlement, Store
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
    record,
    settle,
    state,
)
from .inline import FakeClock

UNLUCKY: list[Outcome] = [Fail(an_error()), Cancel()]


def tied(task: str = "task", fields: dict[str, Any] | None = None, **ties: Any) -> Job:
    """Return a job with ties; `fields` are those of the job itself."""
    return a_job(task, ties=Ties(**ties), **(fields or {}))


def members_of(group: GroupId, count: int) -> list[Job]:
    """Return jobs of one group."""
    return [tied(group=group) for _ in range(count)]


def group(store: Store, id: GroupId) -> GroupRecord:
    """Return the counters of a group that has to be known."""
    (found,) = store.load_groups([id])
    assert found is not None, f"group {id} is not known"
    return found


def counters(store: Store, id: GroupId) -> tuple[int, int, int, int]:
    """Return how many members there are, and how many succeeded, failed and were cancelled."""
    it = group(store, id)
    return it.total, it.succeeded, it.failed, it.cancelled


def has_ended(store: Store, id: GroupId) -> bool:
    """Return whether a group has ended."""
    return group(store, id).ended is not None


def states(store: Store, jobs: Sequence[Job]) -> list[str]:
    """Return the states of jobs."""
    return [str(state(store, job.id)) for job in jobs]


def run(store: Store, *outcomes: Outcome) -> None:
    """Lease and settle jobs, one after the other."""
    for outcome in outcomes:
        settle(store, lease_one(store), outcome)


class GroupsOfJobs(Contract):
    """Sets of jobs that are counted, waited for and called off."""

    @needs("group")
    def test_a_group_comes_to_be_with_its_first_member_and_counts(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        assert broker.load_groups([id]) == [None]
        broker.put(members_of(id, 5))
        began = clock.now
        one, two, three, _ = lease(broker, 4)
        clock.advance(1)
        broker.settle([Settlement(one, Done()), Settlement(two, Fail(an_error())), Settlement(three, Cancel())])
        assert group(broker, id) == GroupRecord(
            id=id, created=began, total=5, succeeded=1, failed=1, cancelled=1, running=1
        )
        assert (group(broker, id).finished, group(broker, id).waiting) == (3, 1)

    @needs("group")
    def test_groups_are_loaded_in_the_order_asked_for(self, broker: Store) -> None:
        ids = [new_group_id() for _ in range(3)]
        broker.put([*members_of(ids[0], 1), *members_of(ids[2], 2)])
        assert [it and it.total for it in broker.load_groups([ids[2], ids[1], ids[0]])] == [2, None, 1]

    @needs("group", "inspect")
    def test_a_record_tells_the_group(self, broker: Store) -> None:
        id = new_group_id()
        job, other = tied(group=id), a_job()
        broker.put([job, other])
        assert [it.group for it in broker.load([job.id, other.id]) if it] == [id, None]

    @needs("group")
    def test_a_group_has_ended_when_its_last_member_has(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        broker.put(members_of(id, 3))
        run(broker, Done(), Fail(an_error()))
        assert not has_ended(broker, id)
        clock.advance(5)
        run(broker, Done())
        assert group(broker, id).ended == clock.now
        clock.advance(5)
        broker.prune(100)
        assert group(broker, id).ended == clock.now - 5

    @needs("group")
    @pytest.mark.parametrize("outcome", [a_retry(), Snooze(0), HAND_BACK], ids=["retry", "snooze", "hand back"])
    def test_a_member_that_is_to_run_again_has_not_ended(self, broker: Store, outcome: Outcome) -> None:
        id = new_group_id()
        broker.put(members_of(id, 1))
        run(broker, outcome)
        assert counters(broker, id) == (1, 0, 0, 0)
        assert not has_ended(broker, id)
        run(broker, Done())
        assert has_ended(broker, id)

    @needs("group")
    def test_a_member_is_counted_once_however_often_it_is_put(self, broker: Store) -> None:
        id = new_group_id()
        (job,) = members_of(id, 1)
        broker.put([job, job])
        broker.put([job])
        assert counters(broker, id) == (1, 0, 0, 0)

    @needs("group")
    def test_a_member_is_counted_once_however_often_it_is_settled(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        broker.put(members_of(id, 2))
        stale = lease_one(broker, "frozen")
        clock.advance(LEASE)
        fresh, other = lease(broker, 2, worker="fresh")
        settle(broker, stale)
        assert counters(broker, id) == (2, 0, 0, 0)
        for ours in (fresh, stale, fresh):
            settle(broker, ours)
        assert counters(broker, id) == (2, 1, 0, 0)
        broker.settle([Settlement(stale, Done()), Settlement(other, Done())])
        assert counters(broker, id) == (2, 2, 0, 0)
        assert has_ended(broker, id)

    @needs("group")
    @pytest.mark.parametrize("policy", ["all", "failures", "none"])
    def test_members_are_counted_whatever_is_kept_of_them(self, broker: Store, policy: str) -> None:
        id = new_group_id()
        broker.put(members_of(id, 3))
        for outcome in (Done(), Fail(an_error()), Cancel()):
            settle(broker, lease_one(broker), outcome, results=policy)
        assert counters(broker, id) == (3, 1, 1, 1)
        assert has_ended(broker, id)

    @needs("group", "inspect", "expires")
    def test_members_that_end_without_a_worker_are_counted(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        jobs = members_of(id, 5)
        jobs += [tied(group=id, fields={"expires": 1.0}), tied(group=id, fields={"expires": 1.0, "queue": "nobody"})]
        jobs += [tied(group=id, fields={"queue": "purged"}), tied(group=id, fields={"redeliveries": 0})]
        broker.put(jobs)
        broker.change([jobs[0].id], "cancel")
        broker.change([jobs[1].id], "delete")
        assert broker.purge("purged", JobState.QUEUED) == 1
        assert counters(broker, id) == (9, 0, 0, 3)
        clock.advance(1)
        leases = lease(broker, 10)
        broker.prune(100)
        assert counters(broker, id) == (9, 0, 0, 5)
        broker.settle([Settlement(it, Done()) for it in leases[:3]])
        assert not has_ended(broker, id)
        clock.advance(LEASE)
        assert leased(broker) == []
        assert counters(broker, id) == (9, 3, 1, 5)
        assert has_ended(broker, id)

    @needs("group", "inspect")
    def test_a_member_that_has_ended_is_counted_still_when_it_is_deleted(self, broker: Store) -> None:
        id = new_group_id()
        jobs = members_of(id, 2)
        broker.put(jobs)
        run(broker, Done())
        broker.change([jobs[0].id], "delete")
        assert counters(broker, id) == (2, 1, 0, 0)
        run(broker, Done())
        assert has_ended(broker, id)

    @needs("group")
    def test_an_open_group_ends_when_it_is_sealed(self, broker: Store) -> None:
        id = new_group_id()
        broker.open_group(id)
        assert group(broker, id).open
        broker.put(members_of(id, 1))
        run(broker, Done())
        assert not has_ended(broker, id)
        broker.put(members_of(id, 1))
        run(broker, Done())
        broker.seal_group(id)
        assert has_ended(broker, id)
        assert not group(broker, id).open

    @needs("group")
    def test_a_sealed_group_ends_with_its_last_member(self, broker: Store) -> None:
        id = new_group_id()
        broker.open_group(id)
        broker.put(members_of(id, 2))
        run(broker, Done())
        broker.seal_group(id)
        assert not has_ended(broker, id)
        run(broker, Done())
        assert has_ended(broker, id)

    @needs("group")
    def test_to_open_or_seal_a_group_twice_is_the_same_as_once(self, broker: Store) -> None:
        id = new_group_id()
        broker.seal_group(id)
        assert broker.load_groups([id]) == [None]
        for _ in range(2):
            broker.open_group(id)
        for _ in range(2):
            broker.seal_group(id)
        assert has_ended(broker, id)
        broker.open_group(id)
        assert has_ended(broker, id)

    @needs("group")
    def test_an_empty_group_ends_when_it_is_sealed(self, broker: Store) -> None:
        id = new_group_id()
        broker.open_group(id)
        waiting = tied(after=id, takes=True)
        broker.put([waiting])
        broker.seal_group(id)
        assert (counters(broker, id), has_ended(broker, id)) == ((0, 0, 0, 0), True)
        assert leased(broker) == [waiting.id]
        assert broker.results(id) == []

    @needs("group", "key")
    def test_a_group_of_which_no_member_is_added_has_ended(self, broker: Store) -> None:
        broker.put([a_job(key="k")])
        id = new_group_id()
        callback = tied(after=id)
        broker.put([tied(group=id, fields={"key": "k"}), callback])
        assert (counters(broker, id), has_ended(broker, id)) == ((0, 0, 0, 0), True)
        assert state(broker, callback.id) is JobState.QUEUED

    @needs("group")
    def test_a_group_that_has_ended_takes_no_member_more(self, broker: Store) -> None:
        id = new_group_id()
        broker.put(members_of(id, 1))
        run(broker, Done())
        late, other = tied(group=id), a_job()
        with pytest.raises(GroupEnded, match=f"group {id} has ended"):
            broker.put([other, late])
        assert broker.load([late.id, other.id]) == [None, None]
        assert counters(broker, id) == (1, 1, 0, 0)

    @needs("group")
    def test_a_member_that_is_put_again_is_no_late_one(self, broker: Store) -> None:
        id = new_group_id()
        jobs = members_of(id, 2)
        broker.put(jobs)
        run(broker, Done(), Done())
        assert broker.put(jobs) == [job.id for job in jobs]
        assert leased(broker) == []

    @needs("group", "inspect")
    def test_a_member_that_is_retried_opens_its_group_again(self, broker: Store) -> None:
        id = new_group_id()
        broker.put(members_of(id, 2))
        run(broker, Fail(an_error()), Done())
        failed = broker.members(id, None, 10)[0].id
        assert broker.change([failed], "retry") == [failed]
        assert counters(broker, id) == (2, 1, 0, 0)
        assert not has_ended(broker, id)
        broker.put(members_of(id, 1))
        run(broker, Done(), Done())
        assert counters(broker, id) == (3, 3, 0, 0)
        assert has_ended(broker, id)

    @needs("group", "inspect")
    def test_a_group_that_is_called_off_ends_and_takes_no_member_more(self, broker: Store) -> None:
        id = new_group_id()
        jobs = [*members_of(id, 3), tied(group=id, fields={"delay": 60.0})]
        broker.put(jobs)
        done, running = lease(broker, 2)
        settle(broker, done)
        assert broker.call_off(id) == 3
        assert states(broker, jobs) == ["succeeded", "running", "cancelled", "cancelled"]
        assert broker.extend(a_worker(), [running], LEASE).cancelled == {running.id}
        assert group(broker, id).called_off
        with pytest.raises(GroupEnded, match="was called off"):
            broker.put(members_of(id, 1))
        assert broker.call_off(id) == 0
        assert not has_ended(broker, id)
        settle(broker, running, Cancel())
        assert counters(broker, id) == (4, 1, 0, 3)
        assert has_ended(broker, id)

    @needs("group", "key")
    def test_a_group_that_is_called_off_gives_its_keys_back(self, broker: Store) -> None:
        id = new_group_id()
        broker.put([tied(group=id, fields={"key": "k"})])
        broker.call_off(id)
        successor = a_job(key="k")
        assert broker.put([successor]) == [successor.id]

    @needs("group")
    def test_to_call_off_a_group_nobody_knows_is_nothing(self, broker: Store) -> None:
        assert broker.call_off(new_group_id()) == 0

    @needs("group")
    def test_to_call_off_a_group_that_has_ended_is_nothing(self, broker: Store) -> None:
        id = new_group_id()
        broker.put(members_of(id, 1))
        run(broker, Done())
        assert broker.call_off(id) == 0
        assert not group(broker, id).called_off
        late = tied(after=id)
        broker.put([late])
        assert state(broker, late.id) is JobState.QUEUED

    @needs("group")
    def test_members_come_in_the_order_of_their_end_page_by_page(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        broker.put(members_of(id, 9))
        leases = lease(broker, 8)
        order = [3, 0, 7, 1, 2, 6, 5, 4]
        for nth, index in enumerate(order):
            clock.advance((nth + 1) % 2)  # so that two end at one time
            settle(broker, leases[index], Fail(an_error()) if index == 7 else Done())
        expected = [leases[index].id for pair in zip(order[::2], order[1::2], strict=True) for index in sorted(pair)]
        assert leases[0].id == expected[0]
        read: list[JobId] = []
        after = None
        while page := broker.members(id, after, 3):
            read += [it.id for it in page]
            after = (page[-1].finished or 0.0, page[-1].id)
        assert sorted(read) == sorted(it.id for it in leases)
        assert read == expected
        assert {it.group for it in broker.members(id, None, 100)} == {id}
        assert broker.members(new_group_id(), None, 100) == []

    @needs("group")
    def test_results_come_in_the_order_in_which_members_were_made(self, broker: Store) -> None:
        id = new_group_id()
        broker.put(members_of(id, 4))
        leases = lease(broker, 3)
        settle(broker, leases[2], Done(b"\x02"))
        settle(broker, leases[0], Done(b"\x00"))
        settle(broker, leases[1], Fail(an_error()))
        assert broker.results(id) == [b"\x00", None, b"\x02", None]
        assert broker.results(new_group_id()) == []

    @needs("group")
    def test_a_group_that_ended_is_known_for_a_week(self, broker: Store, clock: FakeClock) -> None:
        id, running = new_group_id(), new_group_id()
        broker.put([*members_of(id, 1), tied(group=running, fields={"queue": "nobody"})])
        run(broker, Done())
        clock.advance(6.9 * DAY)
        broker.prune(100)
        assert has_ended(broker, id)
        clock.advance(0.2 * DAY)
        broker.prune(100)
        assert broker.load_groups([id]) == [None]
        assert not has_ended(broker, running)

    @needs("group", "inspect")
    def test_members_that_are_kept_longer_than_their_group_are_jobs_like_others(
        self, broker: Store, clock: FakeClock
    ) -> None:
        old, new = new_group_id(), new_group_id()
        jobs = members_of(old, 2)
        broker.put(jobs)
        for _ in jobs:
            settle(broker, lease_one(broker), Fail(an_error()), keep=100 * DAY)
        clock.advance(8 * DAY)
        broker.prune(100)
        assert broker.load_groups([old]) == [None]
        broker.put(members_of(new, 1))
        assert record(broker, jobs[0].id).group is None
        assert broker.members(new, None, 100) == []
        assert broker.change([jobs[0].id], "retry") == [jobs[0].id]
        assert counters(broker, new) == (1, 0, 0, 0)
        run(broker, Done(), Done())
        assert states(broker, jobs) == ["succeeded", "failed"]
        assert counters(broker, new) == (1, 1, 0, 0)

    @needs("group")
    def test_members_are_counted_right_by_workers_that_settle_at_once(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        callback = tied(after=id)
        broker.put([*members_of(id, 200), callback])
        brokers = [broker, *(self.make_another(broker, clock) for _ in range(3))]

        def work(n: int) -> list[JobId]:
            ran: list[JobId] = []
            leases = lease(brokers[n], 7, worker=f"w{n}")
            while leases:
                ran += [it.id for it in leases]
                settlements = [Settlement(it, Done()) for it in leases]
                leases = brokers[n].exchange(settlements, f"w{n}", ["default"], 7, LEASE)
            return ran

        ran = [id for some in in_threads(4, work) for id in some] + leased(broker)
        assert len(ran) == 201
        assert ran.count(callback.id) == 1
        assert counters(broker, id) == (200, 200, 0, 0)


class JobsThatWait(Contract):
    """Jobs that wait for another one, or for a group."""

    @needs("group")
    def test_a_job_waits_for_another_one_and_gets_its_result(self, broker: Store, clock: FakeClock) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, takes=True)
        broker.put([second, first])
        assert state(broker, second.id) is JobState.WAITING
        assert record(broker, second.id).due is None
        assert leased(broker, 0) == []
        ours = lease_one(broker)
        assert (ours.id, ours.given) == (first.id, None)
        assert leased(broker) == []
        clock.advance(5)
        settle(broker, ours, Done(b"\x07"))
        found = record(broker, second.id)
        assert (found.state, found.due, found.attempt) == (JobState.QUEUED, clock.now, 0)
        (theirs,) = lease(broker)
        assert (theirs.id, theirs.given) == (second.id, b"\x07")

    @needs("group")
    def test_exchange_leases_what_its_own_settle_released(self, broker: Store) -> None:
        first = tied(followed=True)
        second = tied(after=first.id)
        broker.put([first, second])
        (ours,) = broker.exchange([Settlement(lease_one(broker), Done())], "w", ["default"], 10, LEASE)
        assert ours.id == second.id

    @needs("group")
    def test_the_result_is_given_though_it_is_not_kept(self, broker: Store) -> None:
        first = tied(followed=True)
        broker.put([first, tied(after=first.id, takes=True)])
        settle(broker, lease_one(broker), Done(b"\x07"), results="none")
        assert state(broker, first.id) is None
        assert lease_one(broker).given == b"\x07"

    @needs("group")
    def test_the_result_is_given_with_every_attempt(self, broker: Store, clock: FakeClock) -> None:
        first = tied(followed=True)
        broker.put([first, tied(after=first.id, takes=True)])
        run(broker, Done(b"\x07"))
        ours = lease_one(broker)
        assert ours.given == b"\x07"
        settle(broker, ours, a_retry())
        assert lease_one(broker).given == b"\x07"
        clock.advance(LEASE)
        assert lease_one(broker).given == b"\x07"

    @needs("group")
    def test_many_may_wait_for_one(self, broker: Store) -> None:
        first = tied(followed=True)
        others = [tied(after=first.id, takes=True) for _ in range(3)]
        broker.put([first, *others])
        run(broker, Done(b"\x07"))
        leases = lease(broker, 10)
        assert [it.id for it in leases] == [job.id for job in others]
        assert [it.given for it in leases] == [b"\x07"] * 3

    @needs("group")
    @pytest.mark.parametrize("outcome", [a_retry(), Snooze(0), HAND_BACK], ids=["retry", "snooze", "hand back"])
    def test_an_attempt_that_is_to_be_made_again_releases_nobody(self, broker: Store, outcome: Outcome) -> None:
        first = tied(followed=True)
        second = tied(after=first.id)
        broker.put([first, second])
        run(broker, outcome)
        assert state(broker, second.id) is JobState.WAITING
        run(broker, Done())
        assert leased(broker) == [second.id]

    @needs("group")
    def test_of_a_lapsed_and_a_new_lease_settled_in_one_call_the_new_one_counts(
        self, broker: Store, clock: FakeClock
    ) -> None:
        id = new_group_id()
        member, last = tied(group=id), tied(after=id)
        broker.put([member, last])
        stale = lease_one(broker)
        clock.advance(LEASE)
        fresh = lease_one(broker)
        lost, follower = a_job(), a_job()
        broker.settle(
            [
                Settlement(stale, Done(b"\x01"), followers=[lost]),
                Settlement(fresh, Done(b"\x02"), followers=[follower]),
            ]
        )
        assert record(broker, member.id).result == b"\x02"
        assert counters(broker, id) == (1, 1, 0, 0)
        assert state(broker, lost.id) is None
        assert set(leased(broker)) == {last.id, follower.id}

    @needs("group")
    def test_a_stale_settle_releases_nobody(self, broker: Store, clock: FakeClock) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, takes=True)
        broker.put([first, second])
        stale = lease_one(broker, "frozen")
        clock.advance(LEASE)
        fresh = lease_one(broker, "fresh")
        for outcome in (Done(b"\x01"), Fail(an_error()), Cancel()):
            settle(broker, stale, outcome)
            assert state(broker, second.id) is JobState.WAITING
        settle(broker, fresh, Done(b"\x02"))
        assert lease_one(broker).given == b"\x02"
        settle(broker, fresh, Done(b"\x03"))
        assert leased(broker) == []

    @needs("group")
    @pytest.mark.parametrize("outcome", UNLUCKY, ids=["fail", "cancel"])
    def test_a_job_is_cancelled_with_the_one_it_waits_for(
        self, broker: Store, clock: FakeClock, outcome: Outcome
    ) -> None:
        first = tied("load", followed=True)
        second = tied(after=first.id)
        broker.put([first, second])
        clock.advance(3)
        run(broker, outcome)
        found = record(broker, second.id)
        assert (found.state, found.finished, found.attempt) == (JobState.CANCELLED, clock.now, 0)
        (error,) = found.errors
        assert (error.type, error.at) == (PREDECESSOR_FAILED, clock.now)
        assert error.message.startswith(f"load (job {first.id}) ")
        if isinstance(outcome, Fail):
            assert error.message == f"load (job {first.id}) failed: OSError: no such file"
        assert leased(broker) == []

    @needs("group")
    def test_all_that_wait_in_a_row_are_cancelled_with_the_first_cause(self, broker: Store) -> None:
        jobs = [tied("load", followed=True)]
        for _ in range(20):
            jobs.append(tied("other", after=jobs[-1].id, followed=True))
        broker.put(jobs)
        run(broker, Fail(an_error()))
        for job in jobs[1:]:
            found = record(broker, job.id)
            assert found.state is JobState.CANCELLED
            assert [it.message for it in found.errors] == [f"load (job {jobs[0].id}) failed: OSError: no such file"]

    @needs("group")
    @pytest.mark.parametrize("outcome", [Done(b"\x07"), *UNLUCKY], ids=["done", "fail", "cancel"])
    def test_one_that_waits_for_any_end_is_released_whatever_it_is(self, broker: Store, outcome: Outcome) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, when="all", takes=True)
        broker.put([first, second])
        run(broker, outcome)
        (ours,) = lease(broker, 10)
        assert (ours.id, ours.given) == (second.id, b"\x07" if isinstance(outcome, Done) else None)

    @needs("group")
    def test_one_that_waits_for_any_end_is_released_by_a_cancellation_that_follows(self, broker: Store) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, followed=True)
        third = tied(after=second.id, when="all")
        broker.put([first, second, third])
        run(broker, Fail(an_error()))
        assert states(broker, [first, second, third]) == ["failed", "cancelled", "queued"]

    @needs("group", "inspect", "expires")
    @pytest.mark.parametrize("way", ["cancel", "delete", "purge", "expire", "prune", "lost", "stop"])
    def test_every_end_of_a_job_without_success_cancels_what_waits_for_it(
        self, broker: Store, clock: FakeClock, way: str
    ) -> None:
        first = tied("load", {"expires": 10.0, "redeliveries": 0}, followed=True)
        second, third = tied(after=first.id), tied(after=first.id, when="all", fields={"queue": "other"})
        broker.put([first, second, third])
        match way:
            case "cancel" | "delete":
                broker.change([first.id], way)
            case "purge":
                broker.purge("default", JobState.QUEUED)
            case "expire":
                clock.advance(10)
                assert leased(broker) == []
            case "prune":
                clock.advance(10)
                broker.prune(100)
            case "lost" | "stop":
                lease_one(broker)
                broker.change([first.id] if way == "stop" else [], "cancel")
                clock.advance(LEASE)
                assert leased(broker) == []
        found = record(broker, second.id)
        assert (found.state, [it.type for it in found.errors]) == (JobState.CANCELLED, [PREDECESSOR_FAILED])
        assert f"load (job {first.id})" in found.errors[0].message
        assert leased(broker, queues=["default", "other"]) == [third.id]

    @needs("group", "inspect")
    def test_a_waiting_job_may_be_cancelled(self, broker: Store) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, followed=True)
        third = tied(after=second.id)
        broker.put([first, second, third])
        assert broker.change([second.id], "cancel") == [second.id]
        assert states(broker, [second, third]) == ["cancelled", "cancelled"]
        run(broker, Done())
        assert leased(broker) == []
        assert states(broker, [first, second, third]) == ["succeeded", "cancelled", "cancelled"]

    @needs("group", "inspect")
    def test_waiting_jobs_may_be_deleted_and_purged(self, broker: Store) -> None:
        first = tied(followed=True)
        second, third = tied(after=first.id), tied(after=first.id)
        broker.put([first, second, third])
        assert broker.counts() == {"default": {JobState.QUEUED: 1, JobState.WAITING: 2}}
        assert broker.change([second.id], "delete") == [second.id]
        assert broker.purge("default", JobState.WAITING) == 1
        run(broker, Done())
        assert leased(broker) == []

    @needs("group", "inspect")
    def test_a_purge_of_waiting_jobs_counts_each_in_its_group_once(self, broker: Store) -> None:
        id = new_group_id()
        jobs = [tied(followed=True, fields={"queue": "first"})]
        for _ in range(3):
            jobs.append(tied(after=jobs[-1].id, followed=True, group=id))
        broker.put([*jobs, tied(group=id, fields={"queue": "first"})])
        broker.purge("default", JobState.WAITING)
        assert counters(broker, id) == (4, 0, 0, 3)
        assert not has_ended(broker, id)

    @needs("group")
    def test_a_waiting_job_is_put_after_the_one_it_waits_for_has_ended(self, broker: Store) -> None:
        well, badly = tied(followed=True), tied("load", followed=True)
        broker.put([well, badly])
        run(broker, Done(b"\x07"), Fail(an_error()))
        late = [tied(after=well.id, takes=True), tied(after=badly.id), tied(after=badly.id, when="all")]
        broker.put(late)
        assert states(broker, late) == ["queued", "cancelled", "queued"]
        assert f"load (job {badly.id})" in record(broker, late[1].id).errors[0].message
        leases = lease(broker, 10)
        assert [(it.id, it.given) for it in leases] == [(late[0].id, b"\x07"), (late[2].id, None)]

    @needs("group")
    def test_to_wait_for_a_job_nobody_knows_ends_at_once(self, broker: Store) -> None:
        nobody, nor_this = a_job(), a_job()
        late = [tied(after=nobody.id), tied(after=nobody.id, when="all"), tied(after=nor_this.id)]
        last = tied(after=late[0].id)
        broker.put([tied(), *late, last])
        assert states(broker, late) == ["cancelled", "queued", "cancelled"]
        for job, unknown in ((late[0], nobody), (late[2], nor_this)):
            assert f"job {unknown.id} is not known any more" in record(broker, job.id).errors[0].message
        assert state(broker, last.id) is JobState.CANCELLED

    @needs("group", "delay")
    def test_a_delay_of_a_waiting_job_begins_when_it_is_released(self, broker: Store, clock: FakeClock) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, fields={"delay": 10.0})
        broker.put([first, second])
        clock.advance(20)
        run(broker, Done())
        assert record(broker, second.id).due == clock.now + 10
        assert leased(broker) == []
        clock.advance(10)
        assert leased(broker) == [second.id]

    @needs("group", "lane")
    def test_a_waiting_job_joins_its_lane_when_it_is_released(self, broker: Store) -> None:
        first = tied(followed=True)
        others = [tied(after=first.id, lane="a", limits=LaneLimits(concurrency=1)) for _ in range(2)]
        broker.put([first, *others])
        assert [it.queued for it in broker.lanes()] == [0]
        run(broker, Done())
        assert [it.queued for it in broker.lanes()] == [2]
        assert leased(broker) == [others[0].id]

    @needs("group", "key")
    def test_a_waiting_job_holds_its_key(self, broker: Store) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, fields={"key": "k"})
        broker.put([first, second])
        assert broker.put([a_job(key="k")]) == [second.id]
        run(broker, Fail(an_error()))
        successor = a_job(key="k")
        assert broker.put([successor]) == [successor.id]

    @needs("group", "inspect")
    def test_a_retry_makes_what_it_had_cancelled_wait_again(self, broker: Store) -> None:
        first = tied("load", followed=True)
        second = tied(after=first.id, followed=True, takes=True)
        third = tied(after=second.id)
        broker.put([first, second, third])
        run(broker, Fail(an_error()))
        assert states(broker, [first, second, third]) == ["failed", "cancelled", "cancelled"]
        assert broker.change([second.id, third.id], "retry") == []  # they lack what they waited for
        assert broker.change([first.id], "retry") == [first.id]
        assert states(broker, [first, second, third]) == ["queued", "waiting", "waiting"]
        assert (record(broker, third.id).errors, record(broker, third.id).finished) == ((), None)
        run(broker, Done(b"\x07"))
        ours = lease_one(broker)
        assert (ours.id, ours.given) == (second.id, b"\x07")
        settle(broker, ours)
        run(broker, Done())
        assert states(broker, [first, second, third]) == ["succeeded"] * 3

    @needs("group", "inspect")
    def test_a_retry_leaves_alone_what_somebody_had_cancelled(self, broker: Store) -> None:
        first = tied(followed=True)
        second = tied(after=first.id)
        broker.put([first, second])
        broker.change([second.id], "cancel")
        run(broker, Fail(an_error()))
        broker.change([first.id], "retry")
        assert states(broker, [first, second]) == ["queued", "cancelled"]

    @needs("group", "inspect")
    def test_a_retry_of_what_had_succeeded_runs_nothing_twice(self, broker: Store) -> None:
        first = tied(followed=True)
        second = tied(after=first.id)
        broker.put([first, second])
        run(broker, Done(), Done())
        broker.change([first.id], "retry")
        run(broker, Done())
        assert leased(broker) == []

    @needs("group", "key", "inspect")
    @pytest.mark.parametrize("hold", [0.0, 10.0, FOREVER], ids=["until finished", "for a time", "for ever"])
    def test_what_waits_again_holds_its_key_again(self, broker: Store, clock: FakeClock, hold: float) -> None:
        first = tied(followed=True)
        second = tied(after=first.id, fields={"key": "k", "hold": hold})
        broker.put([first, second])
        run(broker, Fail(an_error()))
        assert state(broker, second.id) is JobState.CANCELLED
        clock.advance(20)
        broker.change([first.id], "retry")
        assert state(broker, second.id) is JobState.WAITING
        assert broker.put([a_job(key="k")]) == [second.id]

    @needs("group", "key", "inspect")
    def test_what_waits_again_leaves_its_key_to_another_that_holds_it(self, broker: Store) -> None:
        first = tied(followed=True)
        second, other = tied(after=first.id, fields={"key": "k"}), a_job(key="k")
        broker.put([first, second])
        run(broker, Fail(an_error()))
        assert broker.put([other]) == [other.id]
        broker.change([first.id], "retry")
        assert state(broker, second.id) is JobState.WAITING
        assert broker.put([a_job(key="k")]) == [other.id]

    @needs("group", "inspect")
    def test_what_waits_again_outlives_the_week_for_which_it_was_kept_as_cancelled(
        self, broker: Store, clock: FakeClock
    ) -> None:
        first = tied(followed=True)
        second = tied(after=first.id)
        broker.put([first, second])
        run(broker, Fail(an_error()))
        broker.change([first.id], "retry")
        clock.advance(8 * DAY)
        broker.prune(100)
        run(broker, Done())
        assert leased(broker) == [second.id]

    @needs("group")
    def test_wait_returns_when_a_waiting_job_is_released(self, broker: Store, clock: FakeClock) -> None:
        settler = self.make_another(broker, clock)
        first = tied(followed=True, fields={"queue": "other"})
        broker.put([first, tied(after=first.id)])
        (ours,) = lease(settler, queues=["other"])
        waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
        settle(settler, ours)
        assert waiting.ends()


class Callbacks(Contract):
    """Jobs that wait for a group."""

    @needs("group")
    def test_a_job_waits_for_the_last_member_of_a_group(self, broker: Store) -> None:
        id = new_group_id()
        callback = tied(after=id, takes=True)
        broker.put([callback, *members_of(id, 3)])
        for n in range(3):
            assert state(broker, callback.id) is JobState.WAITING
            run(broker, Done(bytes([n])))
        (ours,) = lease(broker, 10)
        assert (ours.id, ours.given) == (callback.id, None)
        assert broker.results(id) == [b"\x00", b"\x01", b"\x02"]

    @needs("group")
    def test_members_settled_in_one_call_release_it_once(self, broker: Store) -> None:
        id = new_group_id()
        callback = tied(after=id)
        broker.put([*members_of(id, 50), callback])
        leases = lease(broker, 100)
        assert len(leases) == 50
        settlements = [Settlement(it, Done()) for it in leases]
        assert [it.id for it in broker.exchange(settlements, "w", ["default"], 10, LEASE)] == [callback.id]

    @needs("group")
    def test_a_group_may_be_waited_for_before_it_exists_and_after_it_has_ended(self, broker: Store) -> None:
        id = new_group_id()
        early, late = tied(after=id), tied(after=id)
        broker.put([early])
        assert not has_ended(broker, id)
        broker.put(members_of(id, 1))
        assert state(broker, early.id) is JobState.WAITING
        run(broker, Done())
        broker.put([late])
        assert leased(broker) == [early.id, late.id]

    @needs("group")
    @pytest.mark.parametrize("outcome", UNLUCKY, ids=["fail", "cancel"])
    def test_a_member_without_success_cancels_it_when_the_group_has_ended(
        self, broker: Store, outcome: Outcome
    ) -> None:
        id = new_group_id()
        callback, in_any_case = tied(after=id), tied(after=id, when="all")
        broker.put([*members_of(id, 2), callback, in_any_case])
        run(broker, outcome)
        assert states(broker, [callback, in_any_case]) == ["waiting", "waiting"]
        run(broker, Done())
        assert states(broker, [callback, in_any_case]) == ["cancelled", "queued"]
        (error,) = record(broker, callback.id).errors
        assert error.type == PREDECESSOR_FAILED
        assert f"of 2 members of group {id}" in error.message
        late = tied(after=id)
        broker.put([late])
        assert state(broker, late.id) is JobState.CANCELLED

    @needs("group", "inspect")
    def test_a_retry_of_the_failed_member_makes_it_wait_again(self, broker: Store) -> None:
        id = new_group_id()
        callback = tied(after=id, takes=True, followed=True)
        last = tied(after=callback.id)
        jobs = members_of(id, 2)
        broker.put([*jobs, callback, last])
        run(broker, Fail(an_error()), Done(b"\x01"))
        assert states(broker, [callback, last]) == ["cancelled", "cancelled"]
        broker.change([jobs[0].id], "retry")
        assert states(broker, [callback, last]) == ["waiting", "waiting"]
        run(broker, Done(b"\x00"))
        assert broker.results(id) == [b"\x00", b"\x01"]
        run(broker, Done(), Done())
        assert states(broker, [callback, last]) == ["succeeded", "succeeded"]

    @needs("group", "inspect")
    def test_a_group_that_is_called_off_does_not_end_well(self, broker: Store) -> None:
        id = new_group_id()
        callback, in_any_case = tied(after=id), tied(after=id, when="all")
        broker.open_group(id)
        broker.put([callback, in_any_case, *members_of(id, 1)])
        run(broker, Done())
        broker.call_off(id)
        broker.seal_group(id)
        assert states(broker, [callback, in_any_case]) == ["cancelled", "queued"]
        assert "called off" in record(broker, callback.id).errors[0].message
        late = tied(after=id)
        broker.put([late])
        assert state(broker, late.id) is JobState.CANCELLED

    @needs("group")
    def test_a_group_without_members_that_is_called_off_does_not_end_well(self, broker: Store) -> None:
        id = new_group_id()
        callback = tied(after=id)
        broker.open_group(id)
        broker.put([callback])
        broker.call_off(id)
        broker.seal_group(id)
        assert state(broker, callback.id) is JobState.CANCELLED

    @needs("group")
    def test_a_waiting_member_counts_from_the_put_on(self, broker: Store) -> None:
        id = new_group_id()
        first = tied(followed=True)
        second = tied(after=first.id, group=id)
        callback = tied(after=id)
        broker.put([first, second, callback])
        assert counters(broker, id) == (1, 0, 0, 0)
        run(broker, Fail(an_error()))
        assert counters(broker, id) == (1, 0, 0, 1)
        assert state(broker, callback.id) is JobState.CANCELLED

    @needs("group")
    def test_a_group_does_not_end_before_all_that_are_put_with_it_are_counted(self, broker: Store) -> None:
        id, failed = new_group_id(), tied(followed=True)
        broker.put([failed])
        run(broker, Fail(an_error()))
        running = tied(followed=True)
        jobs = [tied(after=failed.id, group=id), tied(after=running.id, group=id)]
        callback = tied(after=id, when="all")
        broker.put([callback, running, *jobs])
        assert states(broker, [*jobs, callback]) == ["cancelled", "waiting", "waiting"]
        assert counters(broker, id) == (2, 0, 0, 1)
        run(broker, Done(), Done())
        assert leased(broker) == [callback.id]

    @needs("group")
    @pytest.mark.parametrize("policy", ["all", "failures", "none"])
    def test_results_that_a_callback_takes_are_kept_until_it_has_ended(
        self, broker: Store, clock: FakeClock, policy: str
    ) -> None:
        id = new_group_id()
        callback = tied(after=id, takes=True, fields={"delay": 30 * DAY})
        broker.put([callback, *members_of(id, 3)])
        for n in range(3):
            settle(broker, lease_one(broker), Done(bytes([n])), results=policy, keep=1.0)
        for _ in range(4):
            clock.advance(7 * DAY)
            broker.prune(100)
        assert broker.results(id) == [b"\x00", b"\x01", b"\x02"]
        clock.advance(2 * DAY)
        ours = lease_one(broker)
        broker.prune(100)
        assert broker.results(id) == [b"\x00", b"\x01", b"\x02"]
        settle(broker, ours, keep=1.0)
        clock.advance(1)
        while broker.prune(2):
            pass
        assert broker.counts() == {}
        assert broker.load_groups([id]) == [None]

    @needs("group")
    def test_results_that_nobody_takes_are_kept_for_their_own_time(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        broker.put([*members_of(id, 2), tied(after=id)])
        for _ in range(2):
            settle(broker, lease_one(broker), keep=1.0)
        clock.advance(1)
        assert broker.prune(100) == 2
        assert broker.results(id) == []


class Followers(Contract):
    """Jobs that come to exist with the settle of another one."""

    @needs("group")
    def test_followers_exist_with_the_settle_of_their_parent(self, broker: Store) -> None:
        broker.put([a_job()])
        followers = [a_job(), a_job(priority=1), a_job(delay=60.0)]
        settle(broker, lease_one(broker), Done(b"\x01"), followers=followers)
        assert states(broker, followers) == ["queued"] * 3
        assert leased(broker) == [followers[1].id, followers[0].id]

    @needs("group")
    def test_exchange_leases_the_followers_of_its_own_settle(self, broker: Store) -> None:
        broker.put([a_job()])
        follower = a_job()
        settlement = Settlement(lease_one(broker), Done(), followers=[follower])
        assert [it.id for it in broker.exchange([settlement], "w", ["default"], 10, LEASE)] == [follower.id]

    @needs("group")
    @pytest.mark.parametrize(
        "outcome",
        [Fail(an_error()), Cancel(), a_retry(), Snooze(0), HAND_BACK],
        ids=["fail", "cancel", "retry", "snooze", "hand back"],
    )
    def test_they_do_not_exist_where_the_attempt_did_not_succeed(self, broker: Store, outcome: Outcome) -> None:
        parent, follower = a_job(), a_job()
        broker.put([parent])
        settle(broker, lease_one(broker), outcome, followers=[follower])
        assert state(broker, follower.id) is None
        assert set(leased(broker)) <= {parent.id}

    @needs("group")
    def test_they_do_not_exist_where_the_lease_was_lost(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        stale = lease_one(broker, "frozen")
        clock.advance(LEASE)
        fresh = lease_one(broker, "fresh")
        first, second = a_job(), a_job()
        settle(broker, stale, followers=[first])
        assert state(broker, first.id) is None
        settle(broker, fresh, followers=[second])
        settle(broker, fresh, followers=[first])
        assert leased(broker) == [second.id]

    @needs("group")
    @pytest.mark.parametrize("policy", ["all", "failures", "none"])
    def test_they_exist_whatever_is_kept_of_their_parent(self, broker: Store, policy: str) -> None:
        broker.put([a_job()])
        follower = a_job()
        settle(broker, lease_one(broker), results=policy, followers=[follower])
        assert leased(broker) == [follower.id]

    @needs("group", "key")
    def test_a_follower_may_have_the_key_of_its_parent(self, broker: Store) -> None:
        parent, follower, third = a_job(key="k"), a_job(key="k"), a_job(key="k")
        broker.put([parent])
        settle(broker, lease_one(broker), followers=[follower])
        assert leased(broker) == [follower.id]
        assert broker.put([third]) == [follower.id]

    @needs("group", "key")
    def test_a_follower_whose_key_is_held_is_not_added(self, broker: Store) -> None:
        broker.put([a_job(), a_job(key="k", queue="other")])
        follower, plain = a_job(key="k"), a_job()
        settle(broker, lease_one(broker), followers=[follower, plain])
        assert state(broker, follower.id) is None
        assert leased(broker) == [plain.id]

    @needs("group")
    def test_members_added_by_a_member_keep_its_group_from_ending(self, broker: Store) -> None:
        id = new_group_id()
        callback = tied(after=id)
        broker.put([*members_of(id, 1), callback])
        for _ in range(3):
            settle(broker, lease_one(broker), followers=members_of(id, 1))
            assert not has_ended(broker, id)
        run(broker, Done())
        assert counters(broker, id) == (4, 4, 0, 0)
        assert leased(broker) == [callback.id]

    @needs("group")
    def test_so_do_those_of_members_that_are_settled_together(self, broker: Store) -> None:
        id = new_group_id()
        broker.put(members_of(id, 3))
        settlements = [Settlement(it, Done(), followers=members_of(id, 2)) for it in lease(broker, 3)]
        leases = broker.exchange(settlements, "w", ["default"], 100, LEASE)
        assert len(leases) == 6
        assert counters(broker, id) == (9, 3, 0, 0)
        broker.settle([Settlement(it, Done()) for it in leases])
        assert has_ended(broker, id)

    @needs("group")
    def test_members_that_a_stale_settle_brings_are_not_counted(self, broker: Store, clock: FakeClock) -> None:
        id = new_group_id()
        broker.put(members_of(id, 1))
        stale = lease_one(broker, "frozen")
        clock.advance(LEASE)
        fresh = lease_one(broker, "fresh")
        settle(broker, stale, followers=members_of(id, 2))
        assert counters(broker, id) == (1, 0, 0, 0)
        settle(broker, fresh)
        assert has_ended(broker, id)

    @needs("group")
    def test_followers_of_a_group_that_was_called_off_are_dropped(self, broker: Store) -> None:
        id = new_group_id()
        broker.put(members_of(id, 1))
        ours = lease_one(broker)
        broker.call_off(id)
        member, other = tied(group=id), a_job()
        settle(broker, ours, followers=[member, other])
        assert [state(broker, job.id) for job in (member, other)] == [None, JobState.QUEUED]
        assert counters(broker, id) == (1, 1, 0, 0)
        assert has_ended(broker, id)

    @needs("group", "lane")
    def test_followers_stand_in_their_lanes(self, broker: Store) -> None:
        broker.put([a_job()])
        limits = LaneLimits(concurrency=1)
        followers = [tied(lane="a", limits=limits), tied(lane="a", limits=limits)]
        settle(broker, lease_one(broker), followers=followers)
        assert leased(broker) == [followers[0].id]

    @needs("group")
    def test_followers_may_wait_for_each_other(self, broker: Store) -> None:
        broker.put([a_job()])
        first = tied(followed=True)
        second = tied(after=first.id, takes=True)
        settle(broker, lease_one(broker), followers=[second, first])
        run(broker, Done(b"\x07"))
        ours = lease_one(broker)
        assert (ours.id, ours.given) == (second.id, b"\x07")
