"""The contract on a real Redis server, started for these tests."""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from worklist.brokers.redis import RedisBroker, listener
from worklist.core.errors import BrokerUnavailable
from worklist.core.job import JobId, JobState
from worklist.core.outcome import Done
from worklist.core.ports import Settlement, Store, WorkerInfo
from worklist.testing import BrokerContract, FakeClock
from worklist.testing.contract_tools import a_job

from ..servers.redis import needs_redis, shared

pytestmark = needs_redis

A_WORKER = WorkerInfo(id="w", host="here", pid=1, queues=("default",), slots=1, started=0.0)


class TestRedis(BrokerContract):
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
