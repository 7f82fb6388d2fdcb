"""What a broker promises that carries messages and keeps no records, said in tests, in real time.

::

    class TestMyBroker(MessageContract):
        def make_broker(self, results):
            return MyBroker("...", results=results)

`results` is where its results go. What such a broker is given comes a moment later, so the tests ask until it is there.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ..brokers.memory import MemoryBroker
from ..core.codec import Codec
from ..core.errors import ConfigError
from ..core.job import Job, JobId, JobState, Progress, Ties
from ..core.outcome import HAND_BACK, Cancel, Done, Fail, Outcome, Snooze
from ..core.ports import Extended, Lease, ResultStore, Settlement, Store
from .contract_tools import (
    LEASE,
    PATIENCE,
    Waiting,
    a_job,
    a_retry,
    a_worker,
    an_error,
    in_threads,
    record,
    settle,
    state,
)

QUIET = 0.3
"""Real seconds after which what has not come is not there."""


def leases(store: Store, count: int, queues: Sequence[str] = ("default",), worker: str = "w") -> list[Lease]:
    """Return leases, asking until there are `count`."""
    taken: list[Lease] = []
    end = time.monotonic() + PATIENCE
    while len(taken) < count:
        taken += store.lease(worker, queues, count - len(taken), LEASE)
        assert time.monotonic() < end, f"of {count} jobs {len(taken)} came"
    return taken


def lease_one(store: Store, queue: str = "default") -> Lease:
    """Return the lease of the one job that has to come."""
    (only,) = leases(store, 1, (queue,))
    return only


def nothing_comes(store: Store, queues: Sequence[str] = ("default",)) -> bool:
    """Return whether nothing can be leased for a while."""
    end = time.monotonic() + QUIET
    taken: list[Lease] = []
    while time.monotonic() < end and not taken:
        taken = store.lease("w", queues, 10, LEASE)
    return not taken


class MessageContract:
    """The promises of a broker that carries messages, as tests; `make_broker` is the subclass's."""

    def make_broker(self, results: ResultStore) -> Store:
        """Return a new object on a store without jobs; of one test, all are on the same."""
        raise NotImplementedError("a subclass of MessageContract says how its broker is made")

    def make_another(self, results: ResultStore) -> Store:
        """Return a second object on the same store, as another process would open it."""
        raise NotImplementedError("a subclass of MessageContract says how its broker is made")

    def break_connection(self, broker: Store) -> None:
        """End what connects the object to its server, as the death of its process would."""
        raise NotImplementedError("a subclass of MessageContract says how a worker dies")

    @pytest.fixture
    def results(self) -> MemoryBroker:
        """Return where results go."""
        return MemoryBroker()

    @pytest.fixture
    def broker(self, results: MemoryBroker) -> Iterator[Store]:
        """Give the broker under test, closed afterwards."""
        broker = self.make_broker(results)
        yield broker
        broker.close()

    @pytest.fixture
    def another(self, broker: Store, results: MemoryBroker) -> Iterator[Store]:
        """Give a second object on the same store."""
        another = self.make_another(results)
        yield another
        another.close()

    # -- putting and leasing --------------------------------------------------------------------------------------

    def test_put_returns_the_ids_in_order(self, broker: Store) -> None:
        jobs = [a_job() for _ in range(5)]
        assert broker.put(jobs) == [job.id for job in jobs]
        assert broker.put([]) == []

    def test_what_was_put_comes_as_it_was_and_in_order(self, broker: Store, another: Store) -> None:
        jobs = [a_job(args=b"\x81\xa1x" + bytes((n % 100,))) for n in range(2500)]
        broker.put(jobs)
        assert [Codec().decode(it.body) for it in leases(another, 2500)] == jobs

    def test_a_large_job_comes_whole(self, broker: Store) -> None:
        job = a_job(args=b"\x81\xa1x\xc6\x00\x09\x27\xc0" + bytes(600_000))
        broker.put([job, a_job()])
        assert Codec().decode(lease_one(broker).body) == job

    def test_at_most_limit_jobs_are_leased(self, broker: Store) -> None:
        ids = broker.put([a_job() for _ in range(5)])
        assert broker.lease("w", ["default"], 0, LEASE) == []
        taken = leases(broker, 2)
        assert len(taken) == 2
        assert [it.id for it in taken + leases(broker, 3)] == ids
        assert nothing_comes(broker)

    def test_only_the_queues_asked_for_are_leased_from(self, broker: Store) -> None:
        mail, other = a_job(queue="mail"), a_job(queue="otter ünd *.#")
        broker.put([mail, other])
        assert lease_one(broker, "mail").id == mail.id
        assert nothing_comes(broker, ("mail", "nobody"))
        assert lease_one(broker, other.queue).id == other.id

    def test_a_queue_with_the_longest_name_is_a_queue(self, broker: Store) -> None:
        one, other = a_job(queue="ü" * 199 + "a"), a_job(queue="ü" * 199 + "b", delay=0.01)
        broker.put([one, other])
        assert lease_one(broker, other.queue).id == other.id
        assert lease_one(broker, one.queue).id == one.id

    def test_higher_priorities_come_first(self, broker: Store) -> None:
        assert nothing_comes(broker)
        jobs = [a_job(priority=priority) for priority in (0, -3, 5, 0)]
        broker.put(jobs)
        time.sleep(QUIET)  # all have arrived, so nothing but their priority says which is the first
        assert [it.id for it in leases(broker, 4)] == [jobs[n].id for n in (2, 0, 3, 1)]

    def test_no_job_is_leased_twice_by_workers_that_ask_at_once(self, broker: Store, another: Store) -> None:
        ids = broker.put([a_job() for _ in range(400)])
        brokers = [broker, another]

        def take(n: int) -> list[JobId]:
            taken: list[JobId] = []
            end = time.monotonic() + 2
            while time.monotonic() < end and len(taken) < 400:
                more = brokers[n].lease(f"w{n}", ["default"], 7, LEASE)
                brokers[n].settle([Settlement(it, Done()) for it in more])
                taken += [it.id for it in more]
            return taken

        taken = in_threads(2, take)
        assert sorted(taken[0] + taken[1]) == sorted(ids)

    def test_nothing_counts_as_lost_while_a_worker_asks_for_more_and_for_less(self, broker: Store) -> None:
        broker.put([a_job() for _ in range(3000)])
        seen = 0
        for limit in itertools.cycle((1, 8, 20, 60, 300, 8)):
            if seen == 3000:
                break
            taken = broker.lease("w", ["default"], limit, LEASE) or leases(broker, 1)
            assert {(it.attempt, it.lost) for it in taken} == {(1, 0)}
            broker.settle([Settlement(it, Done()) for it in taken])
            seen += len(taken)

    def test_bytes_that_are_no_job_do_not_stop_the_others(self, broker: Store, results: MemoryBroker) -> None:
        broken, good = a_job(), a_job()
        self.put_raw(broker, broken, b"\xff no job")
        broker.put([good])
        bad, fine = leases(broker, 2)
        assert (bad.id, bad.body, fine.id) == (broken.id, b"\xff no job", good.id)
        broker.settle([Settlement(bad, Fail(an_error())), Settlement(fine, Done())])
        assert record(results, broken.id).body == b"\xff no job"

    def put_raw(self, broker: Store, job: Job, body: bytes) -> None:
        """Put a job with other bytes in the place of its body."""
        raise NotImplementedError("a subclass of MessageContract says how a body is damaged")

    # -- time -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("delay", [0.05, 0.3, 1.0])
    def test_a_delayed_job_comes_when_it_is_due(self, broker: Store, delay: float) -> None:
        begun = time.monotonic()
        broker.put([a_job(delay=delay)])
        lease_one(broker)
        assert delay <= time.monotonic() - begun < delay + 1.0

    def test_a_long_delay_holds_nobody_up(self, broker: Store) -> None:
        jobs = [a_job(delay=86400.0 * 400), a_job(delay=0.2), a_job(delay=5e7), a_job(eta=time.time() + 0.1)]
        broker.put(jobs)
        assert {it.id for it in leases(broker, 2)} == {jobs[1].id, jobs[3].id}
        assert nothing_comes(broker)

    def test_a_job_past_its_expiry_is_not_started(self, broker: Store, results: MemoryBroker) -> None:
        stale, fresh = a_job(expires=0.01), a_job(expires=60.0)
        broker.put([stale, fresh])
        time.sleep(0.02)
        assert lease_one(broker).id == fresh.id
        assert nothing_comes(broker)
        assert record(results, stale.id).state is JobState.EXPIRED

    # -- at least once --------------------------------------------------------------------------------------------

    def test_jobs_of_a_worker_that_dies_come_again(self, broker: Store, another: Store) -> None:
        ids = broker.put([a_job() for _ in range(3)])
        first = leases(another, 3)
        settle(another, first[1])
        self.break_connection(another)
        again = leases(broker, 2)
        assert sorted(it.id for it in again) == sorted((ids[0], ids[2]))
        assert [(it.attempt, it.lost) for it in again] == [(2, 1)] * 2

    def test_a_worker_that_lost_its_connection_cannot_settle(
        self, broker: Store, another: Store, results: MemoryBroker
    ) -> None:
        (id,) = broker.put([a_job()])
        frozen = lease_one(another)
        self.break_connection(another)
        fresh = lease_one(broker)
        for outcome in (Done(b"\x01"), Fail(an_error()), a_retry(), Snooze(0), Cancel()):
            settle(another, frozen, outcome)
        assert state(results, id) is None
        assert another.extend(a_worker(), [frozen], LEASE).lost == {frozen.number}
        assert broker.extend(a_worker(), [fresh], LEASE) == Extended()
        settle(broker, fresh, Done(b"\x02"))
        assert record(results, id).result == b"\x02"
        assert nothing_comes(broker)

    def test_a_job_whose_workers_keep_dying_fails(self, broker: Store, results: MemoryBroker) -> None:
        (id,) = broker.put([a_job(redeliveries=1)])
        for n in range(2):
            dying = self.make_another(results)
            ours = lease_one(dying)
            assert (ours.lost, ours.attempt) == (n, n + 1)
            self.break_connection(dying)
            dying.close()
        assert nothing_comes(broker)
        found = record(results, id)
        assert (found.state, found.lost, found.attempt) == (JobState.FAILED, 2, 2)
        assert [error.type for error in found.errors] == ["WorkerLost"] * 2

    def test_a_job_whose_result_was_kept_does_not_run_again(
        self, broker: Store, another: Store, results: MemoryBroker
    ) -> None:
        (id,) = broker.put([a_job()])
        ours = lease_one(another)
        results.keep([_ended(id, ours.attempt)], 60.0)  # and then its worker died
        self.break_connection(another)
        assert nothing_comes(broker)
        assert record(results, id).result == b"\x07"

    # -- settling -------------------------------------------------------------------------------------------------

    def test_results_are_kept(self, broker: Store, results: MemoryBroker) -> None:
        broker.put([a_job("pack") for _ in range(4)])
        taken = leases(broker, 4)
        outcomes: list[Outcome] = [Done(b"\x01"), Fail(an_error()), Cancel(), Done(b"\x02")]
        broker.settle([Settlement(*pair) for pair in zip(taken, outcomes, strict=True)])
        found = [record(results, it.id) for it in taken]
        assert [it.state.value[0] for it in found] == ["s", "f", "c", "s"]
        assert [it.result for it in found] == [b"\x01", None, None, b"\x02"]
        assert (found[1].errors, found[1].task) == ((an_error(),), "pack")
        assert all(it.finished is not None and it.started is not None and it.enqueued for it in found)

    @pytest.mark.parametrize(("policy", "kept"), [("all", "sfc"), ("failures", "fc"), ("none", "")])
    def test_what_is_kept_is_what_the_policy_says(
        self, broker: Store, results: MemoryBroker, policy: Any, kept: str
    ) -> None:
        broker.put([a_job() for _ in range(3)])
        taken = leases(broker, 3)
        outcomes: list[Outcome] = [Done(b"\x01"), Fail(an_error()), Cancel()]
        for ours, outcome in zip(taken, outcomes, strict=True):
            settle(broker, ours, outcome, results=policy)
        assert "".join(it.value[0] for it in (state(results, it.id) for it in taken) if it) == kept

    def test_a_retry_comes_again_after_its_delay_and_is_counted(self, broker: Store, results: MemoryBroker) -> None:
        broker.put([a_job()])
        begun = time.monotonic()
        settle(broker, lease_one(broker), a_retry(0.2, an_error()))
        again = lease_one(broker)
        assert time.monotonic() - begun >= 0.2
        assert (again.attempt, again.lost) == (2, 0)
        settle(broker, again, Fail(an_error(2)), progress=Progress(1, 2), logs=("a",))
        found = record(results, again.id)
        assert (found.attempt, found.errors) == (2, (an_error(), an_error(2)))
        assert (found.progress, found.logs) == (Progress(1, 2), ("a",))

    def test_a_snooze_comes_again_and_is_not_counted(self, broker: Store) -> None:
        broker.put([a_job()])
        for outcome in (Snooze(0.1), HAND_BACK, Snooze(0.0)):
            settle(broker, lease_one(broker), outcome)
        again = lease_one(broker)
        assert (again.attempt, again.lost) == (1, 0)

    def test_many_retries_of_one_job_do_not_wear_it_out(self, broker: Store) -> None:
        broker.put([a_job()])
        for n in range(40):
            ours = lease_one(broker)
            assert ours.attempt == n + 1
            settle(broker, ours, a_retry(0.05 if n % 4 == 0 else 0.0, an_error(n, "x" * 5000)))

    def test_followers_come_with_the_settle(self, broker: Store) -> None:
        first, follower, unwanted = a_job(), a_job(ties=Ties()), a_job()
        broker.put([first])
        ours = lease_one(broker)
        assert nothing_comes(broker)
        broker.settle([Settlement(ours, a_retry(1.0), followers=(unwanted,))])
        assert nothing_comes(broker)
        broker.settle([Settlement(lease_one(broker), Done(), followers=(follower,))])
        assert lease_one(broker).id == follower.id
        assert nothing_comes(broker)

    def test_exchange_settles_and_leases(self, broker: Store, results: MemoryBroker) -> None:
        broker.put([a_job(), a_job()])
        first = lease_one(broker)
        more = broker.exchange([Settlement(first, Done())], "w", ["default"], 10, LEASE) or leases(broker, 1)
        assert state(results, first.id) is JobState.SUCCEEDED
        assert broker.exchange([Settlement(more[0], Done())], "w", ["default"], 10, LEASE) == []
        broker.settle([])

    def test_jobs_settled_out_of_order_are_all_settled(self, broker: Store, another: Store) -> None:
        broker.put([a_job() for _ in range(9)])
        taken = leases(another, 9)
        for n in (3, 4, 8, 0, 1, 5):
            settle(another, taken[n])
        self.break_connection(another)
        assert {it.id for it in leases(broker, 3)} == {taken[n].id for n in (2, 6, 7)}

    def test_what_nobody_leases_here_goes_to_others(self, broker: Store, another: Store) -> None:
        broker.put([a_job() for _ in range(20)])
        ours = leases(another, 8)
        another.settle([Settlement(it, Done()) for it in ours])
        time.sleep(QUIET)  # now more of them are on their way to it
        theirs = leases(broker, 4)
        end = time.monotonic() + PATIENCE
        while len(theirs) < 12 and time.monotonic() < end:
            another.extend(a_worker(), [], LEASE)
            theirs += broker.lease("w", ["default"], 12 - len(theirs), LEASE)
        assert [(it.attempt, it.lost) for it in theirs] == [(1, 0)] * 12

    # -- waiting --------------------------------------------------------------------------------------------------

    def test_wait_returns_where_there_is_work(self, broker: Store, another: Store) -> None:
        another.put([a_job()])
        assert Waiting(lambda seconds: broker.wait(["other", "default"], seconds)).ends()

    def test_wait_returns_when_its_time_is_over(self, broker: Store) -> None:
        assert Waiting(lambda _: broker.wait(["default"], 0.001)).ends()

    def test_wait_returns_at_a_put(self, broker: Store, another: Store) -> None:
        for _ in range(10):
            waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
            another.put([a_job()])
            assert waiting.ends()
            settle(broker, lease_one(broker))

    def test_a_put_wakes_everyone_who_waits(self, broker: Store, another: Store) -> None:
        waiting = [Waiting(lambda seconds: broker.wait(["default"], seconds)) for _ in range(3)]
        another.put([a_job()])
        assert all(it.ends() for it in waiting)

    def test_wake_ends_a_wait(self, broker: Store) -> None:
        waiting = Waiting(lambda seconds: broker.wait(["default"], seconds))
        end = time.monotonic() + PATIENCE
        while not waiting.ends(0.01) and time.monotonic() < end:
            broker.wake()
        assert waiting.ends(0)

    def test_it_is_known_whether_anything_is_left(self, broker: Store, another: Store) -> None:
        assert not broker.held_back(["default"])
        another.put([a_job(), a_job(priority=-1)])
        assert broker.held_back(["default"])
        for ours in leases(broker, 2):
            settle(broker, ours)
        assert not broker.held_back(["default"])


class MessagesAlone(MessageContract):
    """What holds where nothing but messages carries jobs."""

    @pytest.mark.parametrize("fields", [{"key": "k"}, {"ties": Ties(lane="l")}, {"ties": Ties(group="g")}])
    def test_a_job_that_asks_for_more_is_refused(self, broker: Store, fields: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="use a postgresql://"):
            broker.put([a_job(**fields)])
        assert nothing_comes(broker)


def _ended(id: JobId, attempt: int) -> Any:
    from .contract_results import an_end  # noqa: PLC0415

    return an_end(id=id, attempt=attempt, result=b"\x07")
