"""The contract on a real Redis server, started for these tests."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from worklist.brokers.redis import RedisBroker
from worklist.core.job import JobId
from worklist.core.ports import Store
from worklist.testing import BrokerContract, FakeClock

from ..servers.redis import needs_redis, shared

pytestmark = needs_redis


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
