"""The contract on a real Redis server, started for these tests."""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import redis

from worklist.brokers.redis import RedisBroker, bell, listener
from worklist.core.errors import BrokerUnavailable
from worklist.core.job import JobId, JobState
from worklist.core.outcome import HAND_BACK, Done
from worklist.core.ports import Lease, Settlement, Store, WorkerInfo
from worklist.testing import BrokerContract, FakeClock
from worklist.testing.contract_tools import a_job

from ..servers.redis import needs_redis, shared

pytestmark = needs_redis

A_WORKER = WorkerInfo(id="w", host="here", pid=1, queues=("default",), slots=1, started=0.0)


class OnRedis(BrokerContract):
    """The contract, with keys of their own for each test."""

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        self.prefix = f"test-{secrets.token_hex(6)}"
        self.others: list[Store] = []
        yield
        for other in self.others:
            other.close()
        client = shared().client
        keys = list(client.scan_iter(f"{{{self.prefix}}}:*", count=1000))
        if keys:
            client.delete(*keys)
        client.close()

    def make_broker(self, clock: FakeClock) -> Store:
        return RedisBroker(lambda: shared().client, prefix=self.prefix, clock=clock)

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        self.others.append(self.make_broker(clock))
        return self.others[-1]

    def plant(self, broker: Store, id: JobId, body: bytes) -> None:
        client: Any = shared().client
        stored = client.hget(f"{{{self.prefix}}}:j", id)
        length = int.from_bytes(stored[17:19], "little")
        client.hset(f"{{{self.prefix}}}:j", id, stored[: 19 + length] + body)
        client.close()


class TestRedis(OnRedis):
    def test_leases_whose_answer_was_lost_are_given_again(
        self, broker: RedisBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second, other = a_job(), a_job(), a_job()
        broker.put([first, second])
        with losing_answers(broker, monkeypatch, 2), pytest.raises(BrokerUnavailable):
            broker.exchange((), "w", ["default"], 1, 30.0)
        broker.put([other])
        (lease,) = broker.exchange((), "w", ["default"], 5, 30.0)
        assert (lease.id, lease.attempt, lease.lost) == (first.id, 1, 0)
        done = Settlement(lease, Done(b""))
        with losing_answers(broker, monkeypatch, 1):
            again = broker.exchange([done], "w", ["default"], 5, 30.0)
        assert [it.id for it in again] == [second.id, other.id]
        assert broker.counts() == {"default": {JobState.SUCCEEDED: 1, JobState.RUNNING: 2}}
        assert broker.exchange((), "w", ["default"], 5, 30.0) == []

    def test_leases_whose_answer_was_lost_lapse_where_nobody_asks_again(
        self, broker: RedisBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = a_job()
        broker.put([job])
        with losing_answers(broker, monkeypatch, 2), pytest.raises(BrokerUnavailable):
            broker.lease("w", ["default"], 1, 30.0)
        clock.advance(31.0)
        (lease,) = broker.lease("other", ["default"], 5, 30.0)
        assert (lease.id, lease.lost) == (job.id, 1)
        assert broker.lease("w", ["default"], 5, 30.0) == []

    def test_a_single_job_is_put_whether_or_not_the_script_is_known(self, broker: RedisBroker) -> None:
        jobs = [a_job() for _ in range(3)]
        client = shared().client
        for job in jobs:
            assert broker.put([job]) == [job.id]
            client.script_flush()
        client.close()
        assert broker.put([jobs[0]]) == [jobs[0].id], "again, as where its answer was lost"
        assert [lease.id for lease in broker.lease("w", ["default"], 5, 30.0)] == [job.id for job in jobs]

    def test_one_subscription_serves_waits_that_follow_one_another(self, broker: RedisBroker) -> None:
        broker.wait(["default"], 0.01)
        assert self.listening() == 1
        broker.put([a_job()])
        begun = time.monotonic()
        broker.wait(["default"], 60.0)
        assert time.monotonic() - begun < 30, "what was put between two waits is not waited for"
        (lease,) = broker.lease("w", ["default"], 1, 30.0)
        broker.wait(["default"], 0.01)
        assert self.listening() == 1
        assert lease.attempt == 1

    def test_a_busy_worker_has_no_ear_for_what_is_published(
        self, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.wait(["default"], 0.01)
        broker.extend(A_WORKER, [], 30.0)
        assert self.listening() == 1, "it may wait again in a moment"
        monkeypatch.setattr(listener, "BUSY_SECONDS", 0.0)
        broker.extend(A_WORKER, [], 30.0)
        assert self.listening() == 0
        broker.wait(["default"], 0.01)
        assert self.listening() == 1

    def test_who_waits_is_not_made_deaf(self, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listener, "BUSY_SECONDS", 0.0)
        waits = threading.Thread(target=broker.wait, args=(["default"], 60.0))
        waits.start()
        while not self.listening():
            broker.extend(A_WORKER, [], 30.0)
        for _ in range(10):
            broker.extend(A_WORKER, [], 30.0)
        broker.put([a_job()])
        waits.join(30)
        assert not waits.is_alive()

    # -- waiting and leasing at one go ------------------------------------------------------------------------------

    def test_who_waits_to_lease_is_given_what_is_put(self, broker: RedisBroker) -> None:
        (waits,) = self.waiting_to_lease(broker, 1)
        job = a_job()
        broker.put([job])
        assert [lease.id for lease in waits.result(30)] == [job.id]

    def test_what_is_there_is_leased_without_a_wait(self, broker: RedisBroker) -> None:
        job = a_job()
        broker.put([job])
        assert [it.id for it in broker.lease_when_due("w", ["default"], 5, 30.0, 60.0)] == [job.id]
        assert broker.lease_when_due("w", ["default"], 5, 30.0, 0.01) == []

    def test_jobs_that_are_put_together_go_to_all_who_wait(self, broker: RedisBroker) -> None:
        """The bell wakes one, which leases one, and rings on."""
        waits = self.waiting_to_lease(broker, 3)
        jobs = [a_job() for _ in range(3)]
        broker.put(jobs)
        leased = [lease.id for wait in waits for lease in wait.result(30)]
        assert sorted(leased) == sorted(job.id for job in jobs)

    def test_a_delayed_job_is_given_to_who_waits_when_it_is_due(self) -> None:
        broker = RedisBroker(lambda: shared().client, prefix=self.prefix)
        self.others.append(broker)
        job = a_job(delay=0.3)
        broker.put([job])
        begun = time.monotonic()
        assert [lease.id for lease in broker.lease_when_due("w", ["default"], 5, 30.0, 60.0)] == [job.id]
        assert 0.2 < time.monotonic() - begun < 30

    def test_a_job_that_is_ended_in_a_wait_is_handed_on(self, broker: RedisBroker) -> None:
        """Also one that is handed back, not put, rings."""
        broker.put([a_job()])
        (lease,) = broker.lease("w", ["default"], 1, 30.0)
        broker.lease_when_due("w", ["default"], 1, 30.0, 0.01)
        (waits,) = self.waiting_to_lease(broker, 1)
        broker.settle([Settlement(lease, HAND_BACK)])
        assert [it.id for it in waits.result(30)] == [lease.id]

    def test_wake_ends_every_wait_to_lease(self, broker: RedisBroker) -> None:
        waits = self.waiting_to_lease(broker, 2)
        begun = time.monotonic()
        broker.wake()
        assert [wait.result(30) for wait in waits] == [[], []]
        assert time.monotonic() - begun < 0.9 * bell.SLICE_SECONDS

    def test_what_wakes_nobody_goes_by_itself(self, broker: RedisBroker) -> None:
        broker.lease_when_due("w", ["default"], 1, 30.0, 0.01)
        broker.wake()
        client: Any = shared().client
        (left,) = client.keys(f"{{{self.prefix}}}:own:*")
        assert 0 < client.ttl(left) <= 60
        client.close()

    def test_who_waits_to_lease_does_so_where_scripts_are_forgotten(self, broker: RedisBroker) -> None:
        (waits,) = self.waiting_to_lease(broker, 1)
        client = shared().client
        client.script_flush()
        client.close()
        job = a_job()
        broker.put([job])
        assert [lease.id for lease in waits.result(30)] == [job.id]

    def test_a_wait_to_lease_that_is_cut_says_so_and_can_begin_anew(self, broker: RedisBroker) -> None:
        (waits,) = self.waiting_to_lease(broker, 1)
        client = shared().client
        for it in client.client_list():
            if it["cmd"] == "blpop":
                client.client_kill_filter(_id=it["id"])
        client.close()
        with pytest.raises(BrokerUnavailable):
            waits.result(30)
        (waits,) = self.waiting_to_lease(broker, 1)
        broker.put([a_job()])
        assert len(waits.result(30)) == 1

    def test_leases_of_a_wait_whose_answer_was_lost_are_given_again(
        self, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.lease("other", ["default"], 1, 30.0)  # so that the script is known
        ask = bell.Bell.ask

        def ask_and_lose(*arguments: Any) -> Any:
            ask(*arguments)
            raise redis.ConnectionError("cut")

        with monkeypatch.context() as patch:
            patch.setattr(bell.Bell, "ask", ask_and_lose)
            (waits,) = self.waiting_to_lease(broker, 1)
            job = a_job()
            broker.put([job])
            with pytest.raises(BrokerUnavailable):
                waits.result(30)
        (lease,) = broker.lease("w0", ["default"], 1, 30.0)
        assert (lease.id, lease.attempt, lease.lost) == (job.id, 1, 0)

    def waiting_to_lease(self, broker: RedisBroker, count: int) -> list["Future[list[Lease]]"]:
        """Return so many waits that are under way, each to lease one job."""
        broker.lease("before", ["default"], 1, 30.0)  # the first lease loads the script, and does not wait
        pool = ThreadPoolExecutor(count)
        waits = [pool.submit(broker.lease_when_due, f"w{n}", ["default"], 1, 30.0, 60.0) for n in range(count)]
        pool.shutdown(wait=False)
        client = shared().client
        end = time.monotonic() + 30
        while client.info("clients")["blocked_clients"] < count and not any(wait.done() for wait in waits):
            assert time.monotonic() < end, "they do not wait"
            time.sleep(0.001)
        client.close()
        return waits

    # -- what the server knows ----------------------------------------------------------------------------------------

    def listening(self) -> int:
        """Return how many listen for work in the queue ``default``, by what the server says."""
        client: Any = shared().client
        ((_, count),) = client.pubsub_numsub(f"{{{self.prefix}}}:wake:default")
        client.close()
        return int(count)


@contextlib.contextmanager
def losing_answers(broker: RedisBroker, monkeypatch: pytest.MonkeyPatch, times: int) -> Iterator[None]:
    """Let the server do what it is asked, and so many times let nobody hear of it."""
    left = [times]
    run = broker._server._run

    def run_and_lose(*arguments: Any) -> Any:
        answer = run(*arguments)
        left[0] -= 1
        if left[0] >= 0:
            raise redis.ConnectionError("cut")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(broker._server, "_run", run_and_lose)
        yield
