"""A system whose calls are coroutines: they run in one event loop of the measuring process, uvloop's where it is there.

One by one means one coroutine that awaits each call, as a program of that kind would.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from bench.systems.base import Options, System

T = TypeVar("T")


class AsyncSystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._loop = _new_loop()
        asyncio.set_event_loop(self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    async def aput(self, number: int) -> None:
        """Queue one no-op job."""
        raise NotImplementedError

    async def aput_many(self, numbers: Sequence[int]) -> None:
        """Queue no-op jobs in the system's own way for many; one by one where it has none."""
        for number in numbers:
            await self.aput(number)

    async def aput_stamp(self, stamp: float) -> None:
        raise NotImplementedError

    def put(self, number: int) -> None:
        self.run(self.aput(number))

    def put_each(self, numbers: Sequence[int]) -> None:
        self.run(self._each(numbers))

    def put_many(self, numbers: Sequence[int]) -> None:
        self.run(self.aput_many(numbers))

    def put_stamp(self, stamp: float) -> None:
        self.run(self.aput_stamp(stamp))

    async def _each(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.aput(number)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
