"""The executor of a crawl: what counts as under way."""

import asyncio

import pytest

from worklist.core.outcome import Done
from worklist.core.ports import Lease, Settlement
from worklist.crawl.executor import LoopExecutor


class Stub:
    """An execution that ends at once."""

    job = None

    def __init__(self, number, begun):
        self.lease = Lease(f"job-{number}", number, b"", 1, 0)
        self.outcome = None
        self._begun = begun

    async def arun(self):
        self._begun.append(self.lease.token)
        self.outcome = Done()


@pytest.mark.parametrize("settles", [True, False])
def test_a_slot_is_free_when_what_ran_in_it_is_settled(settles):
    asyncio.run(settle_one_by_one(settles))


async def settle_one_by_one(settles):
    begun, ended = [], []
    executor = LoopExecutor(2, asyncio.get_running_loop(), lambda lane: 100, settles)
    executor.start(ended.append)
    executor.submit([Stub(number, begun) for number in range(5)])
    await asyncio.sleep(0.05)
    if not settles:
        assert begun == [0, 1, 2, 3, 4]
        return
    assert begun == [0, 1]
    assert [each.lease.token for each in ended] == [0, 1]
    assert executor.backlog() == 0, "nobody is to wait for executions to end"
    executor.settled([Settlement(ended[0].lease, Done())])
    await asyncio.sleep(0.05)
    assert begun == [0, 1, 2]
    executor.settled([Settlement(each.lease, Done()) for each in ended[1:]])
    await asyncio.sleep(0.05)
    assert begun == [0, 1, 2, 3, 4]
