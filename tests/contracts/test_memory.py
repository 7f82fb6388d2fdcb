from worklist.brokers.memory import MemoryBroker
from worklist.core.job import JobId
from worklist.core.ports import Store
from worklist.testing import BrokerContract, FakeClock


class TestMemory(BrokerContract):
    def make_broker(self, clock: FakeClock) -> Store:
        return MemoryBroker(clock=clock)

    def plant(self, broker: Store, id: JobId, body: bytes) -> None:
        broker._by_id[id].body = body  # type: ignore[attr-defined]
