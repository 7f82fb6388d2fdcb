"""TaskIQ on Redis (streams or a list) or RabbitMQ, run by its own worker with coroutines; results are kept in Redis."""

import sys

from redis import Redis

from bench.systems.asynchronous import AsyncSystem
from bench.systems.base import Options
from bench.systems.script import main


class TaskiqSystem(AsyncSystem):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import taskiq_app

        self._app = taskiq_app
        self._results = Redis.from_url(options.results_url)
        self.run(self._app.broker.startup())

    async def aput(self, number: int) -> None:
        await self._app.noop.kiq(number)

    async def aput_stamp(self, stamp: float) -> None:
        await self._app.stamped.kiq(stamp)

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "taskiq", "worker", "bench.systems.taskiq_app:broker", "--log-level", "ERROR"]
        command += ["--workers", str(self.options.processes), "--max-async-tasks", "200", "--no-parse"]
        return [*command, "--max-prefetch", str(self.options.batch)]

    def settled(self) -> int:
        """Results are the only keys of their database."""
        found: int = self._results.dbsize()
        return found

    def close(self) -> None:
        self.run(self._app.broker.shutdown())


if __name__ == "__main__":
    main(TaskiqSystem)
