"""Procrastinate on PostgreSQL, run by its own worker with coroutines. It keeps jobs, and nothing that they return."""

import sys
from collections.abc import Sequence

from bench.systems.base import Options, System
from bench.systems.postgres_reader import PostgresReader
from bench.systems.script import main

LEFT = "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))::int"


class ProcrastinateSystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import procrastinate_app

        self._app = procrastinate_app.app
        self._app.open()
        self._app.schema_manager.apply_schema()
        self._reader = PostgresReader(options.url)
        self._noop = procrastinate_app.noop
        self._stamped = procrastinate_app.stamped

    def put(self, number: int) -> None:
        self._noop.defer(number=number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self._noop.batch_defer(*({"number": number} for number in numbers))

    def put_stamp(self, stamp: float) -> None:
        self._stamped.defer(stamp=stamp)

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "procrastinate", "--app", "bench.systems.procrastinate_app.app", "worker"]
        one = [*command, "--concurrency", str(self.options.threads)]
        if self.options.processes == 1:
            return one
        return [sys.executable, "-m", "bench.systems.several", str(self.options.processes), *one]

    def settled(self) -> int:
        return 0 if self._reader.number(LEFT) else self.options.jobs

    def close(self) -> None:
        self._app.close()


if __name__ == "__main__":
    main(ProcrastinateSystem)
