"""The executor of a crawl: what counts as under way."""

import asyncio

import pytest

from worklist.core.job import Job, Ties
from worklist.core.outcome import Done
from worklist.core.ports import Lease, Settlement
from worklist.crawl.executor import LoopExecutor


class Stub:
    """An execution that ends at once."""

    def __init__(self, number, begun, lane=None):
        self.job = Job(f"job-{number}", "task", ties=Ties(lane=lane))
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
    executor = LoopExecutor(2, asyncio.get_running_loop(), lambda lane: 100, settles=settles)
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


def test_a_job_of_a_host_that_is_not_due_takes_no_slot():
    asyncio.run(park())


async def park():
    begun, ended, looked = [], [], []
    due = {"late": 0.1}
    executor = LoopExecutor(1, asyncio.get_running_loop(), lambda lane: 100, lambda lane: due.get(lane, 0.0))
    executor.start(ended.append)
    executor.on_room = lambda: looked.append(executor.slots)
    executor.submit([Stub(0, begun, "late"), Stub(1, begun, "late"), Stub(2, begun, "now")])
    await asyncio.sleep(0.02)
    assert begun == [2]
    assert looked == [3], "there is room for two others"
    assert executor.backlog() == 0
    assert not executor.is_idle
    due.clear()
    await asyncio.sleep(0.15)
    assert begun == [2, 0, 1]
    assert executor.slots == 1
    assert executor.is_idle


def test_what_is_parked_is_given_back():
    async def run():
        executor = LoopExecutor(1, asyncio.get_running_loop(), lambda lane: 100, lambda lane: 0.05)
        executor.submit([Stub(0, [], "late"), Stub(1, [], "late")])
        await asyncio.sleep(0.02)
        assert [each.lease.token for each in executor.withdraw()] == [0, 1]
        await asyncio.sleep(0.05)
        assert executor.is_idle

    asyncio.run(run())
