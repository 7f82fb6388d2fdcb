"""Chancy on PostgreSQL, run by its own worker with coroutines. It keeps jobs, and nothing that they return."""

import sys
from collections.abc import Sequence

from bench.systems.asynchronous import AsyncSystem
from bench.systems.base import Options
from bench.systems.postgres_reader import PostgresReader
from bench.systems.script import main

LEFT = "SELECT EXISTS (SELECT 1 FROM chancy_jobs WHERE state IN ('pending', 'running', 'retrying'))::int"


class ChancySystem(AsyncSystem):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import chancy_app

        self._app = chancy_app
        self.run(self._open())
        self._reader = PostgresReader(options.url)

    async def _open(self) -> None:
        await self._app.chancy.__aenter__()
        await self._app.chancy.migrate()
        await self._app.chancy.declare(self._app.queue)

    async def aput(self, number: int) -> None:
        await self._app.chancy.push(self._app.noop.job.with_kwargs(number=number))

    async def aput_many(self, numbers: Sequence[int]) -> None:
        jobs = [self._app.noop.job.with_kwargs(number=number) for number in numbers]
        async for _ in self._app.chancy.push_many(jobs):
            pass

    async def aput_stamp(self, stamp: float) -> None:
        await self._app.chancy.push(self._app.stamped.job.with_kwargs(stamp=stamp))

    def worker(self) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "chancy.cli.cli",
            "--app",
            "bench.systems.chancy_app.chancy",
            "worker",
            "start",
        ]
        if self.options.processes == 1:
            return command
        return [sys.executable, "-m", "bench.systems.several", str(self.options.processes), *command]

    def settled(self) -> int:
        return 0 if self._reader.number(LEFT) else self.options.jobs

    def close(self) -> None:
        self.run(self._app.chancy.__aexit__(None, None, None))


if __name__ == "__main__":
    main(ChancySystem)
