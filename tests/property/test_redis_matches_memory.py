"""Redis beside the model in memory, through the same machines as SQLite."""

import secrets

import pytest
from hypothesis import settings

from worklist.brokers.redis import RedisBroker
from worklist.core.ports import Store
from worklist.testing import FakeClock

from ..servers.redis import needs_redis, shared
from .test_broker_matches_memory import Brokers
from .test_schedules_match_memory import Schedules
from .test_ties_match_memory import TiedBrokers

pytestmark = [needs_redis, pytest.mark.timeout(400)]


class OnRedis:
    """Where the store of a machine is."""

    clock: FakeClock

    def open_two(self) -> tuple[Store, Store]:
        self.prefix = f"test-{secrets.token_hex(6)}"
        return self.open_one(), self.open_one()

    def open_one(self) -> Store:
        return RedisBroker(lambda: shared().client, prefix=self.prefix, clock=self.clock)

    def clean_up(self) -> None:
        client = shared().client
        keys = list(client.scan_iter(f"{{{self.prefix}}}:*", count=1000))
        if keys:
            client.delete(*keys)
        client.close()


class RedisBrokers(OnRedis, Brokers):
    pass


class TiedRedisBrokers(OnRedis, TiedBrokers):
    pass


class RedisSchedules(OnRedis, Schedules):
    pass


fewer = settings(Brokers.TestCase.settings, max_examples=40, stateful_step_count=30)
for machine in (RedisBrokers, TiedRedisBrokers, RedisSchedules):
    machine.TestCase.settings = fewer
TestRedisMatchesMemory = RedisBrokers.TestCase
TestTiesOnRedisMatchMemory = TiedRedisBrokers.TestCase
TestSchedulesOnRedisMatchMemory = RedisSchedules.TestCase
