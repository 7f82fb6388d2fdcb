"""The batcher: calls that come while one is under way go together in the next, and none spoils another."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from worklist.core.batching import Batcher

from .conftest import PATIENCE


class Flush:
    """Doubles its items and notes the batches; the first call waits until `go_on`."""

    def __init__(self, hold: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        if not hold:
            self.go_on.set()
        self._alone = threading.Lock()

    def __call__(self, items: list[int]) -> list[int]:
        assert self._alone.acquire(blocking=False), "two flushes at once"
        try:
            self.begun.set()
            assert self.go_on.wait(PATIENCE)
            self.batches.append(items)
            if -1 in items:
                raise ValueError("-1")
            return [2 * item for item in items]
        finally:
            self._alone.release()


class Caller(threading.Thread):
    def __init__(self, batcher: Batcher[int, int], items: list[int]) -> None:
        super().__init__(daemon=True)
        self.batcher, self.items = batcher, items
        self.answer: object = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.batcher.call(self.items)
        except ValueError as error:
            self.answer = error

    def answered(self) -> object:
        self.join(PATIENCE)
        assert not self.is_alive()
        return self.answer


def gathered(batcher: Batcher[int, int], count: int) -> Callable[[], bool]:
    return lambda: len(batcher._pending) == count


def until(true: Callable[[], bool]) -> None:
    tries = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if true():
            return
        tries.wait(0.001)
    raise AssertionError("it did not come to pass")


@pytest.fixture
def flush() -> Flush:
    return Flush()


@pytest.fixture
def batcher(flush):
    batcher = Batcher(flush, limit=5)
    yield batcher
    batcher.close()


def test_a_lone_call_is_flushed_at_once_in_its_own_thread(flush, batcher):
    flush.go_on.set()
    before = threading.active_count()
    assert batcher.call([1, 2]) == [2, 4]
    assert batcher.call([3]) == [6]
    assert (flush.batches, threading.active_count()) == ([[1, 2], [3]], before)


def test_calls_that_come_meanwhile_go_together(flush, batcher):
    first = Caller(batcher, [1])
    assert flush.begun.wait(PATIENCE)
    others = []
    for n in (2, 3, 4):
        others.append(Caller(batcher, [n]))
        until(gathered(batcher, n - 1))
    flush.go_on.set()
    assert [caller.answered() for caller in (first, *others)] == [[2], [4], [6], [8]]
    assert flush.batches == [[1], [2, 3, 4]]


def test_a_batch_has_its_limit(flush, batcher):
    first = Caller(batcher, [1])
    assert flush.begun.wait(PATIENCE)
    others = []
    for n in range(4):
        others.append(Caller(batcher, [n, n, n]))
        until(gathered(batcher, n + 1))
    flush.go_on.set()
    assert [caller.answered() for caller in others] == [[2 * n] * 3 for n in range(4)]
    first.answered()
    assert flush.batches == [[1], [0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3]]


def test_a_bad_call_fails_alone(flush, batcher):
    first = Caller(batcher, [1])
    assert flush.begun.wait(PATIENCE)
    others = []
    for n, items in enumerate(([2], [-1], [3])):
        others.append(Caller(batcher, items))
        until(gathered(batcher, n + 1))
    flush.go_on.set()
    answers = [caller.answered() for caller in others]
    assert (answers[0], answers[2]) == ([4], [6])
    assert isinstance(answers[1], ValueError)
    first.answered()
    assert batcher.call([9]) == [18]


def test_a_call_after_one_that_failed_is_served(flush, batcher):
    flush.go_on.set()
    with pytest.raises(ValueError, match="-1"):
        batcher.call([-1])
    assert batcher.call([1]) == [2]


def test_coroutines_gather_without_blocking_their_loop(flush, batcher):
    async def main() -> list[list[int]]:
        first = asyncio.create_task(batcher.acall([1]))
        await asyncio.to_thread(flush.begun.wait, PATIENCE)
        others = [asyncio.create_task(batcher.acall([n])) for n in (2, 3)]
        while len(batcher._pending) < 2:
            await asyncio.sleep(0)
        flush.go_on.set()
        return [await first, *[await other for other in others]]

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == [[2], [4], [6]]
    assert flush.batches == [[1], [2, 3]]


def test_threads_and_coroutines_share_a_batch_and_its_errors_do_not_spread(flush, batcher):
    caller = Caller(batcher, [1])
    assert flush.begun.wait(PATIENCE)
    threaded = Caller(batcher, [2])
    until(gathered(batcher, 1))

    async def main() -> list[object]:
        calls = [asyncio.create_task(batcher.acall([n])) for n in (-1, 4)]
        while len(batcher._pending) < 3:
            await asyncio.sleep(0)
        flush.go_on.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    failed, done = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert isinstance(failed, ValueError)
    assert done == [8]
    assert (caller.answered(), threaded.answered()) == ([2], [4])


def test_a_coroutine_that_is_cancelled_leaves_the_others_their_results(flush, batcher):
    async def main() -> list[int]:
        first = asyncio.create_task(batcher.acall([1]))
        await asyncio.to_thread(flush.begun.wait, PATIENCE)
        other = asyncio.create_task(batcher.acall([2]))
        first.cancel()
        flush.go_on.set()
        return await other

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == [4]


def test_an_event_loop_that_ended_meanwhile_is_no_obstacle(flush, batcher):
    async def leave() -> None:
        task = asyncio.create_task(batcher.acall([1]))
        await asyncio.to_thread(flush.begun.wait, PATIENCE)
        task.cancel()

    asyncio.run(leave())
    flush.go_on.set()
    assert batcher.call([2]) == [4]


def test_everybody_gets_the_answer_to_what_they_asked():
    batcher = Batcher(Flush(hold=False), limit=7)
    wrong: list[object] = []

    def ask(n: int) -> None:
        for k in range(100):
            items = [n * 1000 + k] * (k % 3 + 1)
            if batcher.call(items) != [2 * item for item in items]:
                wrong.append(items)

    async def ask_too() -> None:
        answers = await asyncio.gather(*(batcher.acall([n]) for n in range(300)))
        if answers != [[2 * n] for n in range(300)]:
            wrong.append(answers)

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(6)]
    threads.append(threading.Thread(target=lambda: asyncio.run(ask_too()), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert wrong == []
    batcher.close()
    assert batcher.call([1]) == [2]
