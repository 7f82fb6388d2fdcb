"""SAQ on Redis, run by its own worker with coroutines, 100 at once."""

import sys

from redis import Redis
from saq import Queue

from bench.systems.asynchronous import AsyncSystem
from bench.systems.base import Options
from bench.systems.script import main


class SaqSystem(AsyncSystem):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._queue = Queue.from_url(options.url)
        self.run(self._queue.connect())
        self._redis = Redis.from_url(options.url)

    async def aput(self, number: int) -> None:
        await self._queue.enqueue("noop", number=number)

    async def aput_stamp(self, stamp: float) -> None:
        await self._queue.enqueue("stamped", stamp=stamp)

    def worker(self) -> list[str]:
        return [sys.executable, "-m", "saq", "bench.systems.saq_app.settings", "--workers", str(self.options.processes)]

    def settled(self) -> int:
        """A job stays among the incomplete ones until its result is stored."""
        left: int = self._redis.zcard("saq:default:incomplete")
        return self.options.jobs - left

    def close(self) -> None:
        self.run(self._queue.disconnect())


if __name__ == "__main__":
    main(SaqSystem)
