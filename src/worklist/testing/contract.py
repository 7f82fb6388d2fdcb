"""What every broker promises, said in tests. A broker's own test file subclasses `BrokerContract`.

::

    class TestMyBroker(BrokerContract):
        def make_broker(self, clock):
            return MyBroker("...", clock=clock)

Time is a `FakeClock` that the tests move; none of them sleeps. What a broker declares that it cannot do
(`Capabilities`) is skipped.
"""

import time
from typing import Any

import pytest

from ..core.codec import Codec
from ..core.errors import ConfigError
from ..core.job import FOREVER, JobId, JobState, Progress
from ..core.outcome import Cancel, Done, Fail, Outcome, Snooze
from ..core.ports import Extended, Filter, Report, Settlement, Store
from .contract_groups import Callbacks, Followers, GroupsOfJobs, JobsThatWait
from .contract_lanes import ChangingLanes, Joining, Limits, Turns, WaitingForLanes
from .contract_schedules import ScheduleContract
from .contract_tools import (
    DAY,
    LEASE,
    PATIENCE,
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

__all__ = ["BrokerContract"]


class _Putting(Contract):
    def test_put_returns_the_ids_in_order(self, broker: Store) -> None:
        jobs = [a_job() for _ in range(5)]
        assert broker.put(jobs) == [job.id for job in jobs]

    def test_put_of_nothing_is_nothing(self, broker: Store) -> None:
        assert broker.put([]) == []
        assert broker.counts() == {}

    def test_what_was_put_is_there_for_every_other_user_of_the_store(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(args=b"\x81\xa1x\x01")
        broker.put([job])
        other = self.make_another(broker, clock)
        assert [Codec().decode(it.body) for it in lease(other)] == [job]

    def test_a_job_is_added_once_however_often_it_is_put(self, broker: Store) -> None:
        job = a_job()
        assert broker.put([job, job]) == [job.id, job.id]
        assert broker.put([job]) == [job.id]
        assert leased(broker) == [job.id]
        assert broker.put([job]) == [job.id]
        assert leased(broker) == []

    def test_a_finished_job_that_is_put_again_is_not_run_again(self, broker: Store) -> None:
        job = a_job()
        broker.put([job])
        settle(broker, lease_one(broker))
        assert broker.put([job]) == [job.id]
        assert leased(broker) == []

    def test_a_record_tells_what_was_put(self, broker: Store, clock: FakeClock) -> None:
        job = a_job("pack", queue="mail", priority=7, key="k", delay=5.0, expires=60.0)
        broker.put([job])
        found = record(broker, job.id)
        assert (found.task, found.queue, found.priority, found.key) == ("pack", "mail", 7, "k")
        assert (found.state, found.attempt, found.lost) == (JobState.QUEUED, 0, 0)
        assert (found.enqueued, found.due, found.expires) == (clock.now, clock.now + 5, clock.now + 60)
        assert (found.started, found.finished, found.worker, found.result) == (None, None, None, None)
        assert Codec().decode(found.body) == job

    def test_many_jobs_in_one_call_keep_their_order(self, broker: Store) -> None:
        jobs = [a_job() for _ in range(3000)]
        broker.put(jobs)
        assert leased(broker, 3000) == [job.id for job in jobs]


class _Leasing(Contract):
    def test_at_most_limit_jobs_are_leased(self, broker: Store) -> None:
        broker.put([a_job() for _ in range(5)])
        assert len(lease(broker, 2)) == 2
        assert len(lease(broker, 2)) == 2
        assert len(lease(broker, 2)) == 1
        assert lease(broker, 2) == []

    def test_a_limit_of_nought_leases_nothing(self, broker: Store) -> None:
        broker.put([a_job()])
        assert lease(broker, 0) == []
        assert len(lease(broker, 1)) == 1

    def test_only_the_queues_asked_for_are_leased_from(self, broker: Store) -> None:
        mail, other = a_job(queue="mail"), a_job(queue="other")
        broker.put([mail, other])
        assert leased(broker, queues=["mail"]) == [mail.id]
        assert leased(broker, queues=["mail", "nobody"]) == []

    def test_queues_are_served_in_the_order_given(self, broker: Store) -> None:
        a, b = a_job(queue="a", priority=-5), a_job(queue="b", priority=5)
        broker.put([b, a])
        assert leased(broker, queues=["a", "b"]) == [a.id, b.id]

    def test_a_queue_that_is_named_twice_gives_each_job_once(self, broker: Store) -> None:
        job = a_job()
        broker.put([job])
        assert leased(broker, queues=["default", "default"]) == [job.id]

    def test_first_in_is_first_out(self, broker: Store) -> None:
        ids = [broker.put([a_job()])[0] for _ in range(20)]
        assert [lease_one(broker).id for _ in ids] == ids

    @needs("priority")
    def test_a_higher_priority_goes_first_then_first_in_first_out(self, broker: Store) -> None:
        jobs = [a_job(priority=priority) for priority in (0, 5, -3, 5, 0)]
        broker.put(jobs)
        assert leased(broker) == [jobs[n].id for n in (1, 3, 0, 4, 2)]

    def test_a_lease_says_which_attempt_it_is(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        first = lease_one(broker)
        found = record(broker, first.id)
        assert (first.attempt, first.lost) == (1, 0)
        assert (found.state, found.attempt, found.started) == (JobState.RUNNING, 1, clock.now)
        assert (found.worker, found.due, found.finished) == ("w", None, None)
        settle(broker, first, a_retry())
        assert lease_one(broker).attempt == 2

    def test_no_job_is_leased_twice_by_workers_that_ask_at_once(self, broker: Store, clock: FakeClock) -> None:
        ids = broker.put([a_job() for _ in range(200)])
        brokers = [broker, *(self.make_another(broker, clock) for _ in range(3))]

        def take(n: int) -> list[JobId]:
            taken: list[JobId] = []
            while more := [it.id for it in lease(brokers[n], 7, worker=f"w{n}")]:
                taken += more
            return taken

        taken = in_threads(len(brokers), take)
        assert sorted(id for some in taken for id in some) == sorted(ids)

    def test_bytes_that_cannot_be_decoded_do_not_stop_the_others(self, broker: Store) -> None:
        bad, good = a_job(), a_job()
        broker.put([bad, good])
        self.plant(broker, bad.id, b"\xff not a job")
        leases = lease(broker, 10)
        assert [it.id for it in leases] == [bad.id, good.id]
        assert leases[0].body == b"\xff not a job"
        broker.settle([Settlement(leases[0], Fail(an_error())), Settlement(leases[1], Done())])
        assert state(broker, bad.id) is JobState.FAILED
        assert record(broker, bad.id).body == b"\xff not a job"

    def test_bytes_that_cannot_be_decoded_do_not_stop_a_lapse(self, broker: Store, clock: FakeClock) -> None:
        bad, good = a_job(), a_job()
        broker.put([bad, good])
        self.plant(broker, bad.id, b"\xff")
        lease(broker, 10)
        clock.advance(LEASE)
        assert leased(broker) == [bad.id, good.id]

    @needs("inspect")
    def test_bytes_that_cannot_be_decoded_do_not_stop_an_operator(self, broker: Store) -> None:
        bad, good = a_job(key="bad"), a_job(key="good")
        broker.put([bad, good])
        self.plant(broker, bad.id, b"\xff")
        broker.settle([Settlement(it, Fail(an_error())) for it in lease(broker, 2)])
        assert good.id in broker.change([bad.id, good.id], "retry")
        assert len(broker.find(Filter())) == 2
        assert broker.change([bad.id], "cancel") + broker.change([bad.id], "delete")


class _Time(Contract):
    @needs("delay")
    def test_a_delayed_job_is_not_leased_early(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(delay=10.0)
        broker.put([job])
        assert leased(broker) == []
        clock.advance(9.99)
        assert leased(broker) == []
        clock.advance(0.01)
        assert leased(broker) == [job.id]

    @needs("delay")
    def test_an_eta_is_a_time_before_which_a_job_is_not_leased(self, broker: Store, clock: FakeClock) -> None:
        past, future = a_job(eta=clock.now - 100), a_job(eta=clock.now + 10)
        broker.put([future, past])
        assert leased(broker) == [past.id]
        clock.advance(10)
        assert leased(broker) == [future.id]

    @needs("delay")
    def test_of_delay_and_eta_the_later_holds(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(eta=clock.now + 10, delay=20.0)
        broker.put([job])
        clock.advance(10)
        assert leased(broker) == []
        clock.advance(10)
        assert leased(broker) == [job.id]

    @needs("delay", "priority")
    def test_delayed_jobs_that_are_due_stand_in_their_place(self, broker: Store, clock: FakeClock) -> None:
        later, urgent, plain = a_job(delay=10.0), a_job(delay=10.0, priority=1), a_job()
        broker.put([later, urgent, plain])
        clock.advance(10)
        assert leased(broker) == [urgent.id, later.id, plain.id]

    @needs("expires")
    def test_a_job_past_its_expiry_is_not_started(self, broker: Store, clock: FakeClock) -> None:
        stale, fresh = a_job(expires=10.0), a_job(expires=10.5)
        broker.put([stale, fresh])
        clock.advance(10)
        assert leased(broker) == [fresh.id]
        found = record(broker, stale.id)
        assert (found.state, found.finished, found.attempt) == (JobState.EXPIRED, clock.now, 0)

    @needs("expires", "delay")
    def test_a_job_that_expires_before_it_is_due_never_runs(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(delay=20.0, expires=10.0)
        broker.put([job])
        clock.advance(30)
        assert leased(broker) == []
        assert state(broker, job.id) is JobState.EXPIRED

    @needs("expires")
    def test_a_running_job_does_not_expire(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(expires=10.0)
        broker.put([job])
        ours = lease_one(broker)
        clock.advance(20)
        broker.prune(100)
        settle(broker, ours)
        assert state(broker, job.id) is JobState.SUCCEEDED

    @needs("expires")
    def test_prune_expires_what_nobody_leases(self, broker: Store, clock: FakeClock) -> None:
        late, later = a_job(expires=10.0, queue="nobody"), a_job(expires=10.0, delay=5.0, queue="nobody")
        broker.put([late, later])
        clock.advance(10)
        assert broker.prune(100) == 2
        assert state(broker, late.id) is state(broker, later.id) is JobState.EXPIRED

    @needs("expires")
    def test_a_job_that_expires_keeps_the_errors_of_its_attempts(self, broker: Store, clock: FakeClock) -> None:
        leased_late, pruned = a_job(expires=10.0), a_job(expires=10.0, queue="nobody")
        broker.put([leased_late, pruned])
        for ours in lease(broker, 2, ["default", "nobody"]):
            settle(broker, ours, a_retry(0.0, an_error()))
        clock.advance(10)
        assert leased(broker) == []
        assert broker.prune(100) == 1
        for job in (leased_late, pruned):
            found = record(broker, job.id)
            assert (found.state, found.errors) == (JobState.EXPIRED, (an_error(),))

    @needs("inspect")
    def test_a_job_that_is_cancelled_keeps_the_errors_of_its_attempts(self, broker: Store) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        settle(broker, ours, a_retry(0.0, an_error()))
        broker.change([ours.id], "cancel")
        assert record(broker, ours.id).errors == (an_error(),)

    @needs("expires", "key")
    def test_an_expired_job_gives_its_key_back(self, broker: Store, clock: FakeClock) -> None:
        stale, fresh = a_job(key="k", expires=10.0), a_job(key="k")
        broker.put([stale])
        clock.advance(10)
        assert leased(broker) == []
        assert broker.put([fresh]) == [fresh.id]


class _AtLeastOnce(Contract):
    def test_a_job_is_leased_again_once_its_lease_has_lapsed(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        first = lease_one(broker)
        clock.advance(LEASE - 0.01)
        assert leased(broker) == []
        clock.advance(0.01)
        second = lease_one(broker, "other")
        assert (second.id, second.attempt, second.lost) == (first.id, 2, 1)
        assert second.number != first.number
        assert record(broker, first.id).worker == "other"

    def test_a_lost_worker_is_part_of_the_jobs_history(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        ours = lease_one(broker, "worker-1")
        clock.advance(LEASE)
        lease_one(broker)
        (error,) = record(broker, ours.id).errors
        assert (error.type, error.attempt, error.at) == ("WorkerLost", 1, clock.now)
        assert "worker-1" in error.message

    def test_a_worker_that_lost_its_lease_cannot_settle(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        frozen = lease_one(broker, "frozen")
        clock.advance(LEASE)
        fresh = lease_one(broker, "fresh")
        for outcome in (Done(b"\x01"), Fail(an_error()), a_retry(), Snooze(0), Cancel()):
            settle(broker, frozen, outcome, progress=Progress(9))
            found = record(broker, frozen.id)
            assert (found.state, found.worker, found.progress) == (JobState.RUNNING, "fresh", None)
        settle(broker, fresh, Done(b"\x02"))
        assert record(broker, frozen.id).result == b"\x02"

    def test_a_lapsed_lease_that_nobody_took_cannot_be_settled_late(self, broker: Store, clock: FakeClock) -> None:
        job, other = a_job(), a_job(queue="other")
        broker.put([job])
        frozen = lease_one(broker)
        clock.advance(LEASE)
        broker.put([other])
        assert leased(broker, queues=["other"]) == [other.id]  # any lease sees to what has lapsed
        settle(broker, frozen)
        assert state(broker, job.id) is JobState.QUEUED
        assert leased(broker) == [job.id]

    def test_a_lease_that_was_handed_back_cannot_be_settled_again(self, broker: Store) -> None:
        broker.put([a_job()])
        first = lease_one(broker)
        settle(broker, first, Snooze(0))
        settle(broker, first, Done(b"\x01"))
        assert state(broker, first.id) is JobState.QUEUED
        second = lease_one(broker)
        assert second.attempt == first.attempt  # so the attempt alone would be no fence
        settle(broker, first, Done(b"\x01"))
        assert state(broker, first.id) is JobState.RUNNING
        settle(broker, second, Done(b"\x02"))
        assert record(broker, first.id).result == b"\x02"

    def test_a_stale_settle_leaves_the_rest_of_its_batch_alone(self, broker: Store, clock: FakeClock) -> None:
        lapsing, kept = a_job(), a_job()
        broker.put([lapsing])
        stale = lease_one(broker)
        clock.advance(LEASE)
        fresh = lease_one(broker)
        broker.put([kept])
        ours = lease_one(broker)
        broker.settle([Settlement(stale, Done(b"\x01")), Settlement(ours, Done(b"\x01"))])
        assert state(broker, kept.id) is JobState.SUCCEEDED
        assert state(broker, fresh.id) is JobState.RUNNING

    def test_a_job_whose_workers_keep_dying_fails(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(redeliveries=2)
        broker.put([job])
        for n in range(3):
            assert lease_one(broker).lost == n
            clock.advance(LEASE)
        assert leased(broker) == []
        found = record(broker, job.id)
        assert (found.state, found.lost, found.attempt, found.finished) == (JobState.FAILED, 3, 3, clock.now)
        assert [error.type for error in found.errors] == ["WorkerLost"] * 3

    def test_a_job_that_is_not_to_be_redelivered_fails_with_its_worker(self, broker: Store, clock: FakeClock) -> None:
        job = a_job(redeliveries=0)
        broker.put([job])
        lease_one(broker)
        clock.advance(LEASE)
        assert leased(broker) == []
        assert state(broker, job.id) is JobState.FAILED

    @needs("key")
    def test_a_job_that_fails_with_its_worker_gives_its_key_back(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job(key="k", redeliveries=0)])
        lease_one(broker)
        clock.advance(LEASE)
        assert leased(broker) == []
        successor = a_job(key="k")
        assert broker.put([successor]) == [successor.id]

    def test_jobs_of_one_lease_lapse_but_for_those_that_were_settled(self, broker: Store, clock: FakeClock) -> None:
        jobs = [a_job() for _ in range(4)]
        broker.put(jobs)
        leases = lease(broker, 4)
        broker.settle([Settlement(leases[0], Done()), Settlement(leases[2], Fail(an_error()))])
        clock.advance(LEASE)
        assert leased(broker) == [jobs[1].id, jobs[3].id]


class _Extending(Contract):
    def test_an_extended_lease_does_not_lapse(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        for _ in range(5):
            clock.advance(LEASE - 1)
            assert broker.extend(a_worker(), [ours], LEASE) == Extended()
            assert leased(broker) == []
        clock.advance(LEASE)
        assert leased(broker) == [ours.id]

    def test_extend_tells_which_leases_are_lost(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        lost = lease_one(broker)
        clock.advance(LEASE)
        broker.put([a_job(), a_job()])
        assert lease_one(broker, "other").id == lost.id
        kept = lease_one(broker)
        assert broker.extend(a_worker(), [lost, kept], LEASE).lost == {lost.number}

    def test_extend_of_another_workers_lease_is_refused(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        theirs = lease_one(broker, "them")
        assert broker.extend(a_worker("us"), [theirs], 10 * LEASE).lost == {theirs.number}
        clock.advance(LEASE)
        assert leased(broker) == [theirs.id]

    @needs("inspect")
    def test_extend_tells_which_jobs_are_to_stop(self, broker: Store) -> None:
        broker.put([a_job() for _ in range(3)])
        leases = lease(broker, 3)
        broker.change([leases[1].id], "cancel")
        assert broker.extend(a_worker(), leases, LEASE).cancelled == {leases[1].id}

    @needs("inspect")
    def test_extend_does_not_tell_of_jobs_that_are_no_longer_ours(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        gone, kept = lease(broker, 2)
        settle(broker, gone, a_retry())
        lease_one(broker, "other")
        broker.change([gone.id], "cancel")
        assert broker.extend(a_worker(), [gone, kept], LEASE).cancelled == frozenset()

    @needs("inspect")
    def test_a_worker_is_listed_until_it_has_been_silent_for_a_lease(self, broker: Store, clock: FakeClock) -> None:
        broker.extend(a_worker("a", running=2, processed=40), [], LEASE)
        broker.extend(a_worker("b"), [], 2 * LEASE)
        assert sorted(broker.workers(), key=lambda it: it.id) == [
            a_worker("a", running=2, processed=40, seen=clock.now),
            a_worker("b", seen=clock.now),
        ]
        clock.advance(LEASE)
        assert [worker.id for worker in broker.workers()] == ["b"]
        broker.prune(100)
        assert [worker.id for worker in broker.workers()] == ["b"]

    @needs("inspect")
    def test_a_worker_that_says_goodbye_is_no_longer_listed(self, broker: Store) -> None:
        broker.extend(a_worker("a"), [], LEASE)
        broker.extend(a_worker("b"), [], LEASE)
        broker.goodbye("a")
        broker.goodbye("never heard of")
        assert [worker.id for worker in broker.workers()] == ["b"]


class _Settling(Contract):
    def test_a_result_is_kept(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        clock.advance(3)
        settle(broker, ours, Done(b"\xa2ok"))
        found = record(broker, ours.id)
        assert (found.state, found.result, found.finished) == (JobState.SUCCEEDED, b"\xa2ok", clock.now)
        assert (found.attempt, found.worker, found.started) == (1, None, clock.now - 3)

    def test_results_of_one_batch_are_not_mixed_up(self, broker: Store) -> None:
        broker.put([a_job() for _ in range(6)])
        results = [b"\x01", b"\x02", b"\x01", b"\x03", b"\x02", b"\x04"]
        leases = lease(broker, 6)
        broker.settle([Settlement(it, Done(result)) for it, result in zip(leases, results, strict=True)])
        assert [record(broker, it.id).result for it in leases] == results

    def test_a_failure_is_kept_with_its_error(self, broker: Store) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        settle(broker, ours, Fail(an_error()))
        found = record(broker, ours.id)
        assert (found.state, found.errors, found.result) == (JobState.FAILED, (an_error(),), None)

    def test_a_retry_is_due_again_after_its_delay_and_counted(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        settle(broker, lease_one(broker), a_retry(10.0, an_error()))
        assert leased(broker) == []
        clock.advance(10)
        again = lease_one(broker)
        assert (again.attempt, again.lost) == (2, 0)
        settle(broker, again, Fail(an_error(2)))
        assert record(broker, again.id).errors == (an_error(), an_error(2))

    def test_a_snooze_is_due_again_after_its_delay_and_not_counted(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        settle(broker, lease_one(broker), Snooze(10))
        found = broker.find(Filter())[0]
        assert (found.state, found.attempt, found.errors) == (JobState.QUEUED, 0, ())
        assert (found.due, found.started) == (clock.now + 10, None)
        assert leased(broker) == []
        clock.advance(10)
        assert lease_one(broker).attempt == 1

    def test_what_is_handed_back_is_due_at_once_in_its_old_place(self, broker: Store) -> None:
        jobs = [a_job() for _ in range(3)]
        broker.put(jobs)
        settle(broker, lease_one(broker), Snooze(0))
        assert leased(broker) == [job.id for job in jobs]

    def test_a_cancel_ends_the_job(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        settle(broker, ours, Cancel("not wanted"))
        assert (record(broker, ours.id).state, record(broker, ours.id).finished) == (JobState.CANCELLED, clock.now)
        assert leased(broker) == []

    def test_progress_comes_with_the_settle(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        done, again = lease(broker, 2)
        broker.settle(
            [
                Settlement(done, Done(), progress=Progress(3, 4, "nearly")),
                Settlement(again, a_retry(), progress=Progress(1, 2)),
            ]
        )
        assert record(broker, done.id).progress == Progress(3, 4, "nearly")
        assert record(broker, again.id).progress == Progress(1, 2)

    def test_progress_of_a_running_job_is_seen(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        one, other = lease(broker, 2)
        broker.report([Report(one, Progress(1, 10)), Report(other, Progress(2, None, "pages"))])
        assert record(broker, one.id).progress == Progress(1, 10)
        assert record(broker, other.id).progress == Progress(2, None, "pages")
        settle(broker, one, Snooze(0))
        broker.report([Report(one, Progress(9, 10))])
        assert record(broker, one.id).progress == Progress(1, 10)

    def test_what_a_job_logs_is_seen_while_it_runs_and_afterwards(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        one, other = lease(broker, 2)
        assert record(broker, one.id).logs == ()
        broker.report([Report(one, None, ("a", "ü\n")), Report(other, Progress(1))])
        broker.report([Report(one, Progress(1))])
        assert (record(broker, one.id).logs, record(broker, one.id).progress) == (("a", "ü\n"), Progress(1))
        broker.settle([Settlement(one, Done(), logs=("b", "c")), Settlement(other, Fail(an_error()), logs=("d",))])
        assert (record(broker, one.id).logs, record(broker, other.id).logs) == (("b", "c"), ("d",))
        broker.change([one.id], "retry")
        assert record(broker, one.id).logs == ()

    def test_what_a_job_logged_stays_until_it_logs_again(self, broker: Store) -> None:
        broker.put([a_job()])
        broker.settle([Settlement(lease_one(broker), a_retry(), logs=("first",))])
        again = lease_one(broker)
        assert record(broker, again.id).logs == ("first",)
        broker.report([Report(again, None, ("second",))])
        broker.settle([Settlement(again, Done())])
        assert record(broker, again.id).logs == ("second",)

    def test_a_settle_of_nothing_is_nothing(self, broker: Store) -> None:
        broker.settle([])
        assert broker.counts() == {}

    def test_exchange_settles_and_leases(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        first = lease_one(broker)
        (second,) = broker.exchange([Settlement(first, Done())], "w", ["default"], 10, LEASE)
        assert (state(broker, first.id), state(broker, second.id)) == (JobState.SUCCEEDED, JobState.RUNNING)
        assert broker.exchange([Settlement(second, Done())], "w", ["default"], 10, LEASE) == []
        assert state(broker, second.id) is JobState.SUCCEEDED

    def test_exchange_leases_what_its_own_settle_made_due(self, broker: Store) -> None:
        broker.put([a_job()])
        first = lease_one(broker)
        (again,) = broker.exchange([Settlement(first, a_retry())], "w", ["default"], 10, LEASE)
        assert (again.id, again.attempt) == (first.id, 2)

    @pytest.mark.parametrize(
        ("policy", "kept"), [("all", "sfc"), ("failures", "fc"), ("none", "")], ids=["all", "failures", "none"]
    )
    def test_what_is_kept_is_what_the_policy_says(self, broker: Store, policy: str, kept: str) -> None:
        broker.put([a_job() for _ in range(3)])
        leases = lease(broker, 3)
        outcomes: list[Outcome] = [Done(b"\x01"), Fail(an_error()), Cancel()]
        for ours, outcome in zip(leases, outcomes, strict=True):
            settle(broker, ours, outcome, results=policy)
        states = [state(broker, it.id) for it in leases]
        assert "".join(it.value[0] for it in states if it) == kept

    def test_a_policy_of_none_keeps_what_is_to_be_tried_again(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        one, other = lease(broker, 2)
        settle(broker, one, a_retry(), results="none")
        settle(broker, other, Snooze(0), results="none")
        assert leased(broker) == [one.id, other.id]

    @needs("key")
    @pytest.mark.parametrize("policy", ["all", "failures", "none"])
    def test_the_key_is_given_back_whatever_is_kept(self, broker: Store, policy: str) -> None:
        for outcome in (Done(), Fail(an_error()), Cancel()):
            job = a_job(key="k")
            assert broker.put([job]) == [job.id]
            settle(broker, lease_one(broker), outcome, results=policy)

    def test_a_finished_job_is_kept_for_its_time_and_then_pruned(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job() for _ in range(3)])
        short, long, failed = lease(broker, 3)
        broker.settle(
            [
                Settlement(short, Done(), keep=10.0),
                Settlement(long, Done(), keep=20.0),
                Settlement(failed, Fail(an_error()), keep=10.0),
            ]
        )
        assert broker.prune(100) == 0
        clock.advance(10)
        assert broker.prune(100) == 2
        assert [state(broker, it.id) for it in (short, long, failed)] == [None, JobState.SUCCEEDED, None]
        clock.advance(10)
        assert broker.prune(100) == 1
        assert broker.counts() == {}

    def test_prune_in_small_steps_removes_everything_in_the_end(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job() for _ in range(7)])
        for ours in lease(broker, 7):
            settle(broker, ours, keep=10.0)
        clock.advance(10)
        removed = [broker.prune(2) for _ in range(5)]
        assert removed == [2, 2, 2, 1, 0]

    def test_prune_spares_a_job_that_was_queued_again(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        settle(broker, ours, Fail(an_error()), keep=10.0)
        clock.advance(5)
        broker.change([ours.id], "retry")
        clock.advance(5)
        assert broker.prune(100) == 0
        settle(broker, lease_one(broker), keep=10.0)
        clock.advance(9)
        assert broker.prune(100) == 0
        clock.advance(1)
        assert broker.prune(100) == 1

    def test_what_a_cancel_or_an_expiry_ended_is_kept_for_a_week(self, broker: Store, clock: FakeClock) -> None:
        cancelled, expired = a_job(), a_job(expires=1.0)
        broker.put([cancelled, expired])
        broker.change([cancelled.id], "cancel")
        clock.advance(1)
        assert broker.prune(100) == 1  # expires it
        clock.advance(6.9 * DAY)
        assert broker.prune(100) == 0
        clock.advance(0.2 * DAY)
        assert broker.prune(100) == 2
        assert broker.counts() == {}


class _Keys(Contract):
    @needs("key")
    def test_a_key_admits_one(self, broker: Store) -> None:
        first, second, other = a_job(key="k"), a_job(key="k"), a_job(key="l")
        assert broker.put([first, second, other]) == [first.id, first.id, other.id]
        assert broker.put([a_job(key="k")]) == [first.id]
        assert leased(broker) == [first.id, other.id]
        assert state(broker, second.id) is None

    @needs("key")
    def test_a_key_is_held_until_its_job_has_finished(self, broker: Store) -> None:
        first, second = a_job(key="k"), a_job(key="k")
        broker.put([first])
        ours = lease_one(broker)
        assert broker.put([second]) == [first.id]
        settle(broker, ours, a_retry())
        assert broker.put([second]) == [first.id]
        settle(broker, lease_one(broker))
        assert broker.put([second]) == [second.id]

    @needs("key")
    def test_a_key_held_for_a_time_outlives_its_job(self, broker: Store, clock: FakeClock) -> None:
        first = a_job(key="k", hold=60.0)
        broker.put([first])
        settle(broker, lease_one(broker), keep=1.0)
        clock.advance(59)
        broker.prune(100)
        assert broker.put([a_job(key="k", hold=60.0)]) == [first.id]
        clock.advance(1)
        successor = a_job(key="k", hold=60.0)
        assert broker.put([successor]) == [successor.id]

    @needs("key")
    def test_a_key_held_for_a_time_is_free_after_it_though_its_job_runs(self, broker: Store, clock: FakeClock) -> None:
        first, second, third = (a_job(key="k", hold=5.0) for _ in range(3))
        broker.put([first])
        ours = lease_one(broker)
        clock.advance(5)
        assert broker.put([second]) == [second.id]
        settle(broker, ours)
        assert broker.put([third]) == [second.id]

    @needs("key")
    def test_a_key_held_for_ever_is_never_free(self, broker: Store, clock: FakeClock) -> None:
        first = a_job(key="k", hold=FOREVER)
        broker.put([first])
        settle(broker, lease_one(broker), results="none")
        clock.advance(10_000 * DAY)
        broker.prune(100)
        assert broker.put([a_job(key="k", hold=FOREVER)]) == [first.id]
        assert leased(broker) == []

    @needs("key")
    def test_a_key_held_by_the_same_job_is_no_obstacle(self, broker: Store) -> None:
        job = a_job(key="k")
        assert broker.put([job]) == [job.id]
        assert broker.put([job]) == [job.id]
        assert leased(broker) == [job.id]

    @needs("key")
    def test_a_finished_job_that_is_put_again_is_itself_though_another_has_its_key(self, broker: Store) -> None:
        first, second = a_job(key="k"), a_job(key="k")
        broker.put([first])
        settle(broker, lease_one(broker))
        broker.put([second])
        assert broker.put([first]) == [first.id]

    @needs("key")
    def test_replace_gives_a_queued_job_the_newer_arguments_and_time(self, broker: Store, clock: FakeClock) -> None:
        first = a_job("old", key="k", args=b"\x81\xa1x\x01", delay=10.0, priority=3)
        second = a_job("new", key="k", args=b"\x81\xa1x\x02", delay=10.0, replace=True, expires=60.0, queue="q")
        broker.put([first])
        clock.advance(8)
        assert broker.put([second]) == [first.id]
        assert state(broker, second.id) is None
        found = record(broker, first.id)
        assert (found.due, found.enqueued, found.expires) == (clock.now + 10, clock.now, clock.now + 60)
        assert (found.task, found.queue, found.priority) == ("new", "q", 0)
        clock.advance(9)
        assert leased(broker, queues=["default", "q"]) == []
        clock.advance(1)
        (ours,) = lease(broker, 10, ["default", "q"])
        job = Codec().decode(ours.body)
        assert (ours.id, job.id, job.args, job.task) == (first.id, first.id, b"\x81\xa1x\x02", "new")
        assert lease(broker, 10, ["default", "q"]) == []

    @needs("key")
    def test_a_job_that_is_replaced_again_and_again_runs_once(self, broker: Store, clock: FakeClock) -> None:
        first = a_job(key="k")
        broker.put([first])
        for priority in (0, 5, 0, 5):
            assert broker.put([a_job(key="k", replace=True, priority=priority)]) == [first.id]
        assert leased(broker, 10) == [first.id]
        assert leased(broker, 10) == []

    @needs("key")
    def test_replace_makes_a_running_job_let_go_of_its_key(self, broker: Store) -> None:
        first, second = a_job(key="k"), a_job(key="k", replace=True)
        broker.put([first])
        ours = lease_one(broker)
        assert broker.put([second]) == [second.id]
        settle(broker, ours)
        assert broker.put([a_job(key="k")]) == [second.id]
        assert leased(broker) == [second.id]

    @needs("key", "inspect")
    def test_a_deleted_job_gives_its_key_back(self, broker: Store) -> None:
        broker.put([a_job(key="k"), a_job(key="l")])
        broker.change([broker.find(Filter(newest_first=False))[0].id], "delete")
        broker.purge("default", JobState.QUEUED)
        fresh = [a_job(key="k"), a_job(key="l")]
        assert broker.put(fresh) == [job.id for job in fresh]

    @needs("key")
    def test_a_key_admits_one_of_any_number_of_putters_at_once(self, broker: Store, clock: FakeClock) -> None:
        brokers = [broker, *(self.make_another(broker, clock) for _ in range(3))]

        def put(n: int) -> list[JobId]:
            return [brokers[n].put([a_job(key=f"k{round}")])[0] for round in range(20)]

        answers = in_threads(len(brokers), put)
        assert all(answer == answers[0] for answer in answers)
        assert broker.counts() == {"default": {JobState.QUEUED: 20}}


class _Inspecting(Contract):
    @needs("inspect")
    def test_load_answers_in_order_and_none_for_the_unknown(self, broker: Store) -> None:
        ids = broker.put([a_job(), a_job()])
        found = broker.load([ids[1], "nobody", ids[0], ids[1]])
        assert [it and it.id for it in found] == [ids[1], None, ids[0], ids[1]]
        assert broker.load([]) == []

    @needs("inspect")
    def test_load_takes_any_number_of_ids(self, broker: Store) -> None:
        (id,) = broker.put([a_job()])
        found = broker.load([*(f"{n}" for n in range(40_000)), id])
        assert [it.id for it in found if it] == [id]

    @needs("inspect")
    def test_counts_are_by_queue_and_state(self, broker: Store) -> None:
        broker.put([*(a_job() for _ in range(4)), a_job(delay=10.0), a_job(queue="mail")])
        one, two, _ = lease(broker, 3)
        settle(broker, one)
        settle(broker, two, Fail(an_error()))
        assert broker.counts() == {
            "default": {JobState.SUCCEEDED: 1, JobState.FAILED: 1, JobState.RUNNING: 1, JobState.QUEUED: 2},
            "mail": {JobState.QUEUED: 1},
        }

    @needs("inspect")
    def test_find_filters_orders_and_limits(self, broker: Store) -> None:
        jobs = [a_job("a"), a_job("b"), a_job("a", queue="mail"), a_job("a")]
        ids = broker.put(jobs)
        settle(broker, lease_one(broker))

        def found(**wanted: Any) -> list[JobId]:
            return [it.id for it in broker.find(Filter(**wanted))]

        assert found() == ids[::-1]
        assert found(newest_first=False) == ids
        assert found(limit=2) == ids[:1:-1]
        assert found(task="a", newest_first=False) == [ids[0], ids[2], ids[3]]
        assert found(queue="mail") == [ids[2]]
        assert found(state=JobState.SUCCEEDED) == [ids[0]]
        assert found(state=JobState.QUEUED, task="a", queue="default") == [ids[3]]
        assert found(state=JobState.EXPIRED) == []
        assert found(state=JobState.WAITING) == []

    @needs("inspect")
    @pytest.mark.parametrize("wanted", list(JobState))
    def test_find_knows_every_state(self, broker: Store, clock: FakeClock, wanted: JobState) -> None:
        broker.put([a_job("succeeded"), a_job("failed"), a_job("cancelled"), a_job("running")])
        broker.put([a_job("expired", expires=1.0, queue="q"), a_job("queued"), a_job("queued", delay=60.0)])
        outcomes: list[Outcome] = [Done(), Fail(an_error()), Cancel()]
        leases = lease(broker, 4)
        broker.settle([Settlement(*pair) for pair in zip(leases[:3], outcomes, strict=True)])
        clock.advance(1)
        broker.prune(100)
        assert {it.task for it in broker.find(Filter(state=wanted))} <= {wanted.value}
        assert {it.state for it in broker.find(Filter(task=wanted.value))} <= {wanted}

    @needs("inspect")
    def test_cancel_ends_a_queued_job_at_once(self, broker: Store, clock: FakeClock) -> None:
        ids = broker.put([a_job(key="k"), a_job(delay=10.0)])
        assert broker.change(ids, "cancel") == ids
        assert [record(broker, id).state for id in ids] == [JobState.CANCELLED] * 2
        assert record(broker, ids[0]).finished == clock.now
        clock.advance(10)
        assert leased(broker) == []
        successor = a_job(key="k")
        assert broker.put([successor]) == [successor.id]
        assert broker.change(ids, "cancel") == []

    @needs("inspect")
    def test_cancel_asks_a_running_job_to_stop(self, broker: Store) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        assert broker.change([ours.id], "cancel") == [ours.id]
        found = record(broker, ours.id)
        assert (found.state, found.cancelling) == (JobState.RUNNING, True)
        settle(broker, ours, Cancel())
        found = record(broker, ours.id)
        assert (found.state, found.cancelling) == (JobState.CANCELLED, False)

    @needs("inspect")
    @pytest.mark.parametrize("outcome", [a_retry(), Snooze(0)], ids=["retry", "hand back"])
    def test_a_job_asked_to_stop_does_not_run_again(self, broker: Store, outcome: Outcome) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        broker.change([ours.id], "cancel")
        settle(broker, ours, outcome)
        assert state(broker, ours.id) is JobState.CANCELLED
        assert leased(broker) == []

    @needs("inspect")
    def test_a_job_asked_to_stop_that_ends_first_keeps_its_outcome(self, broker: Store) -> None:
        broker.put([a_job(), a_job()])
        one, other = lease(broker, 2)
        broker.change([one.id, other.id], "cancel")
        settle(broker, one, Done(b"\x01"))
        settle(broker, other, Fail(an_error()))
        assert [state(broker, it.id) for it in (one, other)] == [JobState.SUCCEEDED, JobState.FAILED]

    @needs("inspect")
    def test_a_job_asked_to_stop_whose_worker_dies_is_cancelled(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job(key="k")])
        ours = lease_one(broker)
        broker.change([ours.id], "cancel")
        clock.advance(LEASE)
        assert leased(broker) == []
        assert state(broker, ours.id) is JobState.CANCELLED
        successor = a_job(key="k")
        assert broker.put([successor]) == [successor.id]

    @needs("inspect")
    def test_retry_queues_a_finished_job_with_all_its_attempts(self, broker: Store, clock: FakeClock) -> None:
        ids = broker.put([a_job(expires=50.0) for _ in range(4)])
        leases = lease(broker, 3)
        outcomes: list[Outcome] = [Done(b"\x01"), Fail(an_error()), Cancel()]
        broker.settle([Settlement(*pair, progress=Progress(1)) for pair in zip(leases, outcomes, strict=True)])
        clock.advance(50)
        assert leased(broker) == []  # the fourth has expired
        assert broker.change(ids, "retry") == ids
        for id in ids:
            found = record(broker, id)
            assert (found.state, found.attempt, found.lost) == (JobState.QUEUED, 0, 0)
            assert (found.result, found.finished, found.started, found.progress) == (None, None, None, None)
            assert (found.due, found.expires) == (clock.now, None)
        assert record(broker, ids[1]).errors == (an_error(),)
        assert [it.attempt for it in lease(broker, 10)] == [1] * 4

    @needs("inspect")
    def test_retry_leaves_a_job_alone_that_has_not_finished(self, broker: Store) -> None:
        ids = broker.put([a_job(), a_job()])
        lease_one(broker)
        assert broker.change([*ids, "nobody"], "retry") == []
        assert [record(broker, id).state for id in ids] == [JobState.RUNNING, JobState.QUEUED]

    @needs("inspect", "key")
    def test_retry_takes_the_key_again(self, broker: Store) -> None:
        (id,) = broker.put([a_job(key="k")])
        settle(broker, lease_one(broker), Fail(an_error()))
        assert broker.change([id], "retry") == [id]
        assert broker.put([a_job(key="k")]) == [id]

    @needs("inspect", "key")
    def test_retry_is_refused_where_the_key_has_gone_to_another(self, broker: Store) -> None:
        (id,) = broker.put([a_job(key="k")])
        settle(broker, lease_one(broker), Fail(an_error()))
        successor = a_job(key="k")
        broker.put([successor])
        assert broker.change([id], "retry") == []
        assert state(broker, id) is JobState.FAILED
        settle(broker, lease_one(broker))
        assert broker.change([id], "retry") == [id]

    @needs("inspect")
    def test_delete_forgets_a_job_that_is_not_running(self, broker: Store) -> None:
        ids = broker.put([a_job() for _ in range(3)])
        one, _ = lease(broker, 2)
        settle(broker, one)
        assert broker.change(ids, "delete") == [ids[0], ids[2]]
        assert [it and it.state for it in broker.load(ids)] == [None, JobState.RUNNING, None]

    @needs("inspect")
    def test_a_deleted_job_does_not_come_back_with_the_next(self, broker: Store, clock: FakeClock) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        settle(broker, ours, Fail(an_error()), keep=10.0)
        broker.change([ours.id], "delete")
        fresh = a_job()
        broker.put([fresh])
        clock.advance(10)
        broker.prune(100)
        settle(broker, ours)
        again = lease_one(broker)
        assert (again.id, again.attempt) == (fresh.id, 1)
        settle(broker, again, keep=10.0)
        assert broker.prune(100) == 0
        assert state(broker, fresh.id) is JobState.SUCCEEDED

    @needs("inspect")
    def test_a_change_nobody_knows_is_refused(self, broker: Store) -> None:
        with pytest.raises(ConfigError, match="explode"):
            broker.change([], "explode")  # type: ignore[arg-type]

    @needs("inspect")
    def test_a_change_counts_each_job_once(self, broker: Store) -> None:
        (id,) = broker.put([a_job()])
        assert broker.change([id, id], "cancel") == [id]
        assert broker.change([id, id], "delete") == [id]

    @needs("inspect")
    def test_purge_removes_the_jobs_of_one_queue_in_one_state(self, broker: Store) -> None:
        broker.put([a_job() for _ in range(3)] + [a_job(delay=5.0), a_job(queue="mail")])
        settle(broker, lease_one(broker), Fail(an_error()))
        assert broker.purge("default", JobState.QUEUED) == 3
        assert broker.counts() == {"default": {JobState.FAILED: 1}, "mail": {JobState.QUEUED: 1}}
        assert broker.purge("default", JobState.FAILED) == 1
        assert broker.purge("default", JobState.FAILED) == 0
        assert leased(broker) == []

    @needs("inspect")
    def test_purge_leaves_running_jobs_alone(self, broker: Store) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        assert broker.purge("default", JobState.RUNNING) == 0
        assert broker.purge("default", JobState.WAITING) == 0
        settle(broker, ours)
        assert state(broker, ours.id) is JobState.SUCCEEDED

    @needs("inspect")
    def test_a_paused_queue_is_passed_over_by_everybody(self, broker: Store, clock: FakeClock) -> None:
        job, other = a_job(), a_job(queue="other")
        broker.put([job, other])
        broker.pause("default", True)
        broker.pause("default", True)
        elsewhere = self.make_another(broker, clock)
        assert elsewhere.paused() == ["default"]
        assert leased(elsewhere, queues=["default", "other"]) == [other.id]
        elsewhere.pause("default", False)
        elsewhere.pause("default", False)
        assert broker.paused() == []
        assert leased(broker) == [job.id]

    @needs("inspect", "delay")
    def test_a_delayed_job_of_a_paused_queue_waits_for_the_end_of_the_pause(
        self, broker: Store, clock: FakeClock
    ) -> None:
        job = a_job(delay=10.0)
        broker.put([job])
        broker.pause("default", True)
        clock.advance(10)
        assert leased(broker) == []
        broker.pause("default", False)
        assert leased(broker) == [job.id]


class _Waiting(Contract):
    def test_wait_returns_where_there_is_work(self, broker: Store) -> None:
        broker.put([a_job()])
        assert Waiting(lambda seconds: broker.wait(["other", "default"], seconds)).ends()

    def test_wait_returns_when_its_time_is_over(self, broker: Store) -> None:
        assert Waiting(lambda _: broker.wait(["default"], 0.001)).ends()

    def test_wait_returns_at_a_put(self, broker: Store, clock: FakeClock) -> None:
        putter = self.make_another(broker, clock)
        for _ in range(10):
            waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
            putter.put([a_job()])
            assert waiting.ends()
            settle(broker, lease_one(broker))

    def test_a_put_wakes_everyone_who_waits(self, broker: Store) -> None:
        waiting = [Waiting(lambda seconds: broker.wait(["default"], seconds)) for _ in range(3)]
        broker.put([a_job()])
        assert all(it.ends() for it in waiting)

    def test_wait_returns_at_a_job_that_is_handed_back(self, broker: Store) -> None:
        broker.put([a_job()])
        ours = lease_one(broker)
        waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
        settle(broker, ours, Snooze(0))
        assert waiting.ends()

    @needs("delay")
    def test_wait_returns_when_a_delayed_job_is_due(self, broker: Store) -> None:
        broker.put([a_job(delay=0.05)])
        assert Waiting(lambda seconds: broker.wait(["default"], seconds)).ends()

    def test_wait_returns_when_a_lease_lapses(self, broker: Store) -> None:
        broker.put([a_job()])
        broker.lease("w", ["default"], 1, 0.05)
        assert Waiting(lambda seconds: broker.wait(["default"], seconds)).ends()

    @needs("inspect")
    def test_wait_returns_at_the_end_of_a_pause(self, broker: Store) -> None:
        broker.pause("default", True)
        broker.put([a_job()])
        waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
        broker.pause("default", False)
        assert waiting.ends()

    def test_wake_ends_a_wait(self, broker: Store) -> None:
        waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
        end = time.monotonic() + PATIENCE
        while not waiting.ends(0.01) and time.monotonic() < end:
            broker.wake()  # again, since the first may have come before the wait
        assert waiting.ends(0)

    def test_a_wait_with_nothing_to_do_lasts(self, broker: Store) -> None:
        broker.put([a_job(delay=60.0), a_job(queue="other")])
        started = time.monotonic()
        while (waited := time.monotonic() - started) < 0.2:
            before = waited
            broker.wait(["default"], 0.2 - waited)
            if time.monotonic() - started - before >= 0.15:
                return  # one that was not cut short; a spurious wake-up or two is allowed
        pytest.fail("wait came back at once, again and again, though there was nothing to do")

    def test_wait_change_returns_at_a_settle(self, broker: Store, clock: FakeClock) -> None:
        settler = self.make_another(broker, clock)
        broker.put([a_job()])
        ours = lease_one(settler)
        waiting = Waiting(lambda seconds: self._until_finished(broker, ours.id, seconds))
        settle(settler, ours)
        assert waiting.ends()

    def _until_finished(self, broker: Store, id: JobId, seconds: float) -> None:
        while state(broker, id) is not JobState.SUCCEEDED:
            broker.wait_change(seconds)


class BrokerContract(
    _Putting,
    _Leasing,
    _Time,
    _AtLeastOnce,
    _Extending,
    _Settling,
    _Keys,
    _Inspecting,
    _Waiting,
    Turns,
    Joining,
    Limits,
    ChangingLanes,
    WaitingForLanes,
    GroupsOfJobs,
    JobsThatWait,
    Callbacks,
    Followers,
    ScheduleContract,
):
    """The promises of a broker that keeps records, as tests; `make_broker` and `plant` are the subclass's."""
