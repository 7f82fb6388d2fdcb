from pathlib import Path

import pytest

from worklist.brokers.memory import MemoryBroker
from worklist.brokers.sqlite import SqliteBroker
from worklist.core.ports import ResultStore
from worklist.testing import FakeClock
from worklist.testing.contract_results import ResultsContract


class TestMemory(ResultsContract):
    def make_results(self, clock: FakeClock) -> ResultStore:
        return MemoryBroker(clock=clock)


class TestSqlite(ResultsContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "results.db"

    def make_results(self, clock: FakeClock) -> ResultStore:
        return SqliteBroker(self.path, clock=clock)
