"""PgQueuer on PostgreSQL over asyncpg, run by its own worker with coroutines.

It deletes a job that is done and keeps a line in a log; it keeps nothing that a job returns.
"""

import sys
from collections.abc import Sequence

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from bench.systems.asynchronous import AsyncSystem
from bench.systems.base import Options
from bench.systems.postgres_reader import PostgresReader
from bench.systems.script import main

LEFT = "SELECT EXISTS (SELECT 1 FROM pgqueuer)::int"


class PgqueuerSystem(AsyncSystem):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._connection = self.run(asyncpg.connect(options.url))
        self._queries = Queries(AsyncpgDriver(self._connection))
        self.run(self._queries.install())
        self._reader = PostgresReader(options.url)

    async def aput(self, number: int) -> None:
        await self._queries.enqueue("noop", b"%d" % number)

    async def aput_many(self, numbers: Sequence[int]) -> None:
        count = len(numbers)
        await self._queries.enqueue(["noop"] * count, [b"%d" % number for number in numbers], [0] * count)

    async def aput_stamp(self, stamp: float) -> None:
        await self._queries.enqueue("stamped", repr(stamp).encode())

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "pgqueuer", "run", "bench.systems.pgqueuer_app:start"]
        one = [*command, "--batch-size", str(self.options.batch)]
        if self.options.processes == 1:
            return one
        return [sys.executable, "-m", "bench.systems.several", str(self.options.processes), *one]

    def settled(self) -> int:
        return 0 if self._reader.number(LEFT) else self.options.jobs

    def close(self) -> None:
        self.run(self._connection.close())


if __name__ == "__main__":
    main(PgqueuerSystem)
