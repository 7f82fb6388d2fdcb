"""arq on Redis, run by its own worker with coroutines. It polls: every millisecond, and every 0.5 s as installed."""

import sys

from arq.connections import RedisSettings, create_pool
from redis import Redis

from bench.systems.asynchronous import AsyncSystem
from bench.systems.base import Options
from bench.systems.script import main


class ArqSystem(AsyncSystem):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._pool = self.run(create_pool(RedisSettings.from_dsn(options.url)))
        self._redis = Redis.from_url(options.url)

    async def aput(self, number: int) -> None:
        await self._pool.enqueue_job("noop", number)

    async def aput_stamp(self, stamp: float) -> None:
        await self._pool.enqueue_job("stamped", stamp)

    def worker(self) -> list[str]:
        return [sys.executable, "-m", "arq", "bench.systems.arq_app.WorkerSettings", "--custom-log-dict",
                "bench.systems.arq_app.QUIET"]  # fmt: skip

    def settled(self) -> int:
        """A job stays in the queue until its result is stored."""
        left: int = self._redis.zcard("arq:queue")
        return self.options.jobs - left

    def close(self) -> None:
        self.run(self._pool.aclose())


if __name__ == "__main__":
    main(ArqSystem)
