"""PostgreSQL beside the model in memory: the machines of the other brokers on a schema that is emptied in between."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers.postgres import Database, postgres_url  # noqa: F401 - a fixture
from worklist.brokers.postgres import PostgresBroker, copying
from worklist.core.ports import Store
from worklist.testing import FakeClock

from .test_broker_matches_memory import Brokers
from .test_schedules_match_memory import Schedules
from .test_ties_match_memory import TiedBrokers

_BUNDLED = copying.BUNDLED


class OnPostgres:
    """How a machine gets its two objects."""

    clock: FakeClock
    database: Database

    def open_two(self) -> tuple[Store, Store]:
        database = type(self).database
        database.empty()
        return tuple(PostgresBroker(database.place, clock=self.clock) for _ in range(2))  # type: ignore[return-value]

    def clean_up(self) -> None:
        pass


class BrokersOnPostgres(OnPostgres, Brokers):
    pass


class BundlesOnPostgres(OnPostgres, Brokers):
    """What is put by hundreds stands in bundles; here, all that may stand there does."""

    def open_two(self) -> tuple[Store, Store]:
        copying.BUNDLED = 1
        return super().open_two()

    def clean_up(self) -> None:
        copying.BUNDLED = _BUNDLED


class TiedBrokersOnPostgres(OnPostgres, TiedBrokers):
    pass


class SchedulesOnPostgres(OnPostgres, Schedules):
    pass


@pytest.fixture(scope="module", autouse=True)
def database(postgres_url: str) -> Iterator[None]:  # noqa: F811
    """Give all machines one schema."""
    OnPostgres.database = Database(postgres_url)
    yield
    OnPostgres.database.close()


fewer = settings(Brokers.TestCase.settings, max_examples=40, stateful_step_count=30)
"""Each step is some round trips."""
for machine in (BrokersOnPostgres, BundlesOnPostgres, TiedBrokersOnPostgres, SchedulesOnPostgres):
    machine.TestCase.settings = fewer

TestPostgresMatchesMemory = BrokersOnPostgres.TestCase
TestBundlesOnPostgresMatchMemory = BundlesOnPostgres.TestCase
TestTiesOnPostgresMatchMemory = TiedBrokersOnPostgres.TestCase
TestSchedulesOnPostgresMatchMemory = SchedulesOnPostgres.TestCase
