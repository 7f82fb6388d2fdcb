"""The whole contract through PgBouncer in transaction mode, where no two transactions need share a session."""

from collections.abc import Iterator

import pytest

from tests.servers.postgres import Database, bouncer_schema, bouncer_url, postgres_url  # noqa: F401 - fixtures
from worklist.brokers.postgres import PostgresBroker
from worklist.core.job import JobId
from worklist.core.ports import Store
from worklist.testing import BrokerContract, FakeClock


class TestBehindPgBouncer(BrokerContract):
    @pytest.fixture(autouse=True)
    def _place(self, bouncer_schema: Database) -> Iterator[None]:  # noqa: F811
        self.database = bouncer_schema
        self.others: list[Store] = []
        yield
        for other in self.others:
            other.close()

    def make_broker(self, clock: FakeClock) -> Store:
        broker = PostgresBroker(self.database.place, clock=clock)
        broker.now()
        assert broker._server.pooled is True
        return broker

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        self.others.append(PostgresBroker(self.database.place, clock=clock))
        return self.others[-1]

    def plant(self, broker: Store, id: JobId, body: bytes) -> None:
        self.database.execute("UPDATE @.jobs SET body = %s WHERE id = %s", body, id)
