import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from worklist.brokers.postgres import PostgresBroker, copying
from worklist.core.job import JobId
from worklist.core.ports import Store
from worklist.testing import BrokerContract, FakeClock


class TestPostgres(BrokerContract):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_schema: Database) -> Iterator[None]:  # noqa: F811
        self.database = postgres_schema
        self.others: list[Store] = []
        yield
        for other in self.others:
            other.close()

    def make_broker(self, clock: FakeClock) -> Store:
        return PostgresBroker(self.database.place, clock=clock)

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        self.others.append(PostgresBroker(self.database.place, clock=clock))
        return self.others[-1]

    def plant(self, broker: Store, id: JobId, body: bytes) -> None:
        self.database.execute("UPDATE @.jobs SET body = %s WHERE id = %s", body, id)


class TestInBundles(TestPostgres):
    """What is put by hundreds stands in bundles; here, all that may stand there does."""

    @pytest.fixture(autouse=True)
    def _bundle_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(copying, "BUNDLED", 1)


class Alternating:
    """Two brokers on one database that take turns at random: what one object remembers, the other does not know."""

    def __init__(self, brokers: list[PostgresBroker]) -> None:
        self._brokers = brokers
        self._random = random.Random(4)

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._random.choice(self._brokers), verb)

    def wake(self) -> None:
        for broker in self._brokers:
            broker.wake()  # it ends the waits of its own object

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()


class TestTwoOnOneDatabase(TestPostgres):
    def make_broker(self, clock: FakeClock) -> Store:
        return Alternating([PostgresBroker(self.database.place, clock=clock) for _ in range(2)])  # type: ignore[return-value]
