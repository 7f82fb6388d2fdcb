import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from pamqp import commands

from tests.servers.rabbitmq import VirtualHost, rabbitmq, rabbitmq_node  # noqa: F401 - fixtures
from worklist.brokers.rabbitmq.broker import RabbitBroker, _properties
from worklist.brokers.rabbitmq.connection import Connection
from worklist.brokers.rabbitmq.publisher import Parcel
from worklist.brokers.rabbitmq.topology import LEVELS, Names
from worklist.core.job import Job
from worklist.core.ports import ResultStore, Store
from worklist.testing.contract_messages import MessageContract


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
