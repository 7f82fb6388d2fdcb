"""The contract of messages on a real RabbitMQ server, with quorum queues and with classic ones."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pamqp import commands

from tests.servers.rabbitmq import VirtualHost, rabbitmq, rabbitmq_node  # noqa: F401 - fixtures
from worklist.brokers.memory import MemoryBroker
from worklist.brokers.rabbitmq.broker import RabbitBroker, _properties
from worklist.brokers.rabbitmq.connection import Connection
from worklist.brokers.rabbitmq.publisher import Parcel
from worklist.brokers.rabbitmq.topology import LEVELS, Names
from worklist.core.job import Job
from worklist.core.outcome import Done
from worklist.core.ports import Extended, ResultStore, Store
from worklist.testing.contract_messages import MessageContract, lease_one, leases, nothing_comes
from worklist.testing.contract_tools import a_job, a_worker, record, settle


class TestRabbitmq(MessageContract):
    queue_type: Any = "quorum"

    @pytest.fixture(autouse=True)
    def _place(self, rabbitmq: VirtualHost) -> Iterator[None]:  # noqa: F811
        self.host = rabbitmq
        self.prefix = f"t{secrets.token_hex(4)}"
        self.names = Names(self.prefix)
        yield
        connection = Connection(rabbitmq.address)
        for name in [*self.names.known(), *map(self.names.level, range(LEVELS))]:
            connection.ask(commands.Queue.Delete(0, name), commands.Queue.DeleteOk)
        connection.close()

    def make_broker(self, results: ResultStore) -> Store:
        broker = RabbitBroker(self.host.address, results=results, prefix=self.prefix, queue_type=self.queue_type)
        broker._names = broker._consumer._names = broker._publisher._names = self.names
        return broker

    make_another = make_broker

    def break_connection(self, broker: Store) -> None:
        broker._consumer._connection._socket.shutdown(2)  # type: ignore[attr-defined]

    def put_raw(self, broker: Store, job: Job, body: bytes) -> None:
        parcel = Parcel(job.id, broker._names.queue("default", 1), _properties(job.id, job.task, "", 1, False), body)  # type: ignore[attr-defined]
        broker._publish([parcel])  # type: ignore[attr-defined]

    def test_a_job_that_runs_for_long_is_held_without_its_delivery(
        self, broker: Store, another: Store, results: MemoryBroker
    ) -> None:
        for it in (broker, another):
            it._holding._hold = 0.2  # type: ignore[attr-defined]
        ids = broker.put([a_job(), a_job()])
        ended, lost = leases(another, 2)
        for _ in range(6):
            time.sleep(0.3)
            assert another.extend(a_worker(), [ended, lost], 0.5) == Extended()
            assert not another._consumer.held  # type: ignore[attr-defined]
        assert nothing_comes(broker)
        settle(another, ended, Done(b"\x01"))
        self.break_connection(another)
        again = lease_one(broker)
        assert (again.id, again.attempt, again.lost) == (lost.id, 2, 1)
        settle(another, lost, Done(b"\x02"))
        settle(broker, again, Done(b"\x03"))
        assert [record(results, id).result for id in ids] == [b"\x01", b"\x03"]
        assert nothing_comes(broker)


class TestClassicQueues(TestRabbitmq):
    queue_type = "classic"
