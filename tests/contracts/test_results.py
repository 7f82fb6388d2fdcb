"""The contract of stores of results, on real servers."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.mongodb import Mongod, mongod, single_mongod  # noqa: F401 - fixtures
from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from tests.servers.redis import needs_redis, shared
from worklist.brokers.memory import MemoryBroker
from worklist.brokers.postgres import PostgresBroker
from worklist.brokers.redis import RedisBroker
from worklist.brokers.sqlite import SqliteBroker
from worklist.core.ports import ResultStore
from worklist.results.mongodb import MongoResults
from worklist.testing import FakeClock
from worklist.testing.contract_results import ResultsContract


class _WithOthers(ResultsContract):
    @pytest.fixture(autouse=True)
    def _close_others(self) -> Iterator[None]:
        self.others: list[ResultStore] = []
        yield
        for other in self.others:
            other.close()

    def make_another(self, store: ResultStore, clock: FakeClock) -> ResultStore:
        self.others.append(self.make_results(clock))
        return self.others[-1]


class TestMemory(ResultsContract):
    def make_results(self, clock: FakeClock) -> ResultStore:
        return MemoryBroker(clock=clock)


class TestSqlite(_WithOthers):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "results.db"

    def make_results(self, clock: FakeClock) -> ResultStore:
        return SqliteBroker(self.path, clock=clock)


class TestPostgres(_WithOthers):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_schema: Database) -> None:  # noqa: F811
        self.database = postgres_schema

    def make_results(self, clock: FakeClock) -> ResultStore:
        return PostgresBroker(self.database.place, clock=clock)


@needs_redis
class TestRedis(_WithOthers):
    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        self.prefix = f"test-{secrets.token_hex(6)}"
        yield
        client = shared().client
        keys = list(client.scan_iter(f"{{{self.prefix}}}:*", count=1000))
        if keys:
            client.delete(*keys)
        client.close()

    def make_results(self, clock: FakeClock) -> ResultStore:
        return RedisBroker(lambda: shared().client, prefix=self.prefix, clock=clock)


class TestMongodb(_WithOthers):
    """In a replica set, which has change streams."""

    @pytest.fixture(autouse=True)
    def _place(self, mongod: Mongod) -> Iterator[None]:  # noqa: F811
        self.server, self.database = mongod, f"test_{secrets.token_hex(6)}"
        yield
        mongod.drop(self.database)

    def make_results(self, clock: FakeClock) -> ResultStore:
        return MongoResults(self.server.url, self.server.url, self.database, clock=clock)


class TestSingleMongodb(TestMongodb):
    """By itself, so that results are looked for again and again."""

    @pytest.fixture(autouse=True)
    def _place(self, single_mongod: Mongod) -> Iterator[None]:  # noqa: F811
        self.server, self.database = single_mongod, f"test_{secrets.token_hex(6)}"
        yield
        single_mongod.drop(self.database)
