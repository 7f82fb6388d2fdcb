"""Worklist on SQLite, run by its own worker. A job is leased, run and settled: at least once."""

import importlib
import os
import sys
from collections.abc import Sequence

from bench.systems.base import Options, Reader, System
from bench.systems.script import main

UNSETTLED = "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 0) OR EXISTS (SELECT 1 FROM leases)"
UNLUCKY = "SELECT count(*) FROM jobs WHERE state > 3"


class WorklistSystem(System):
    app_module = "worklist_app"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        full = "?durability=full" if options.durability == "full" else ""
        os.environ["WORKLIST_URL"] = f"sqlite:///{options.database}{full}"
        self._app = importlib.import_module(f"bench.systems.{self.app_module}")
        self._store = self._app.app.store  # opened here, as the others are, not in the first measured call
        self._reader = Reader(options.database)

    def put(self, number: int) -> None:
        self._app.noop.enqueue(number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self._app.noop.enqueue_many((number,) for number in numbers)

    def put_counted(self, numbers: Sequence[int], delay: float = 0) -> None:
        task = self._app.counted.using(delay=delay) if delay else self._app.counted
        task.enqueue_many((number,) for number in numbers)

    def put_stamp(self, stamp: float) -> None:
        self._app.stamped.enqueue(stamp)

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "worklist", "worker", f"bench.systems.{self.app_module}:app"]
        return [*command, "--threads", str(self.options.threads), "--processes", str(self.options.processes)]

    def settled(self) -> int:
        """All jobs, once nothing is ready and no lease is held: a look at two indexes."""
        if self._reader.number(UNSETTLED):
            return 0
        if unlucky := self._reader.number(UNLUCKY):
            raise SystemExit(f"{unlucky} jobs did not succeed")
        return self.options.jobs

    def close(self) -> None:
        self._app.app.close()


if __name__ == "__main__":
    main(WorklistSystem)
