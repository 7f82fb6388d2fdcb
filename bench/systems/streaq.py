"""streaq on Redis, run by its own worker with coroutines."""

import sys
from collections.abc import Sequence

from redis import Redis

from bench.systems.asynchronous import AsyncSystem
from bench.systems.base import Options
from bench.systems.script import main


class StreaqSystem(AsyncSystem):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import streaq_app

        self._app = streaq_app
        self.run(self._app.worker.__aenter__())  # and left open: only the task that opened it may close it
        self._redis = Redis.from_url(options.url)

    async def aput(self, number: int) -> None:
        await self._app.noop.enqueue(number)

    async def aput_many(self, numbers: Sequence[int]) -> None:
        await self._app.worker.enqueue_many([self._app.noop.enqueue(number) for number in numbers])

    async def aput_stamp(self, stamp: float) -> None:
        await self._app.stamped.enqueue(stamp)

    def worker(self) -> list[str]:
        return [sys.executable, "-m", "streaq", "run", "bench.systems.streaq_app:worker",
                "--workers", str(self.options.processes)]  # fmt: skip

    def settled(self) -> int:
        """A set names the jobs whose results are kept."""
        found: int = self._redis.zcard(self._app.results_set)
        return found


if __name__ == "__main__":
    main(StreaqSystem)
