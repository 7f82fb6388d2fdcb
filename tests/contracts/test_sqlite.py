import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worklist.brokers.sqlite import SqliteBroker
from worklist.core.job import JobId
from worklist.core.ports import Store
from worklist.testing import BrokerContract, FakeClock


class TestSqlite(BrokerContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "jobs.db"
        self.others: list[Store] = []
        yield
        for other in self.others:
            other.close()

    def make_broker(self, clock: FakeClock) -> Store:
        return SqliteBroker(self.path, clock=clock)

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        self.others.append(SqliteBroker(self.path, clock=clock))
        return self.others[-1]

    def plant(self, broker: Store, id: JobId, body: bytes) -> None:
        with sqlite3.connect(self.path) as db:
            db.execute("UPDATE jobs SET body = ? WHERE id = ?", (body, id))
        db.close()


class Alternating:
    """Two brokers on one file that take turns at random: what one object remembers, the other does not know."""

    def __init__(self, brokers: list[SqliteBroker]) -> None:
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


class TestTwoOnOneFile(TestSqlite):
    def make_broker(self, clock: FakeClock) -> Store:
        return Alternating([SqliteBroker(self.path, clock=clock) for _ in range(2)])  # type: ignore[return-value]
