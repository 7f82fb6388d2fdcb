"""Worklist on a server, run by its own worker. A job is leased, run and settled: at least once."""

import importlib
import os
import sys
from collections.abc import Sequence

from bench.systems.base import Options, System
from bench.systems.script import main
from worklist import JobHandle, JobState

UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)


class WorklistServer(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        os.environ["WORKLIST_URL"] = options.url
        self._app = importlib.import_module("bench.systems.worklist_server_app")
        self._store = self._app.app.store  # opened here, as the others are, not in the first measured call
        self._last: JobHandle[int] | None = None

    def put(self, number: int) -> None:
        self._app.noop.enqueue(number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self._last = self._app.noop.enqueue_many((number,) for number in numbers)[-1]

    def put_counted(self, numbers: Sequence[int], delay: float = 0) -> None:
        task = self._app.counted.using(delay=delay) if delay else self._app.counted
        task.enqueue_many((number,) for number in numbers)

    def put_stamp(self, stamp: float) -> None:
        self._app.stamped.enqueue(stamp)

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "worklist", "worker", "bench.systems.worklist_server_app:app"]
        return [*command, "--threads", str(self.options.threads), "--processes", str(self.options.processes)]

    def settled(self) -> int:
        """All jobs, once the last one is done and, since another worker may hold earlier ones, all others are."""
        if self._last is None or not self._last.done():
            return 0
        if not self._app.app.capabilities.complete:
            return self.options.jobs
        return self.options.jobs - sum(self._counts().get(state, 0) for state in UNFINISHED)

    def check_settled(self) -> None:
        if self._app.app.capabilities.complete:
            succeeded = self._counts().get(JobState.SUCCEEDED, 0)
            if succeeded != self.options.jobs:
                raise SystemExit(f"{succeeded} of {self.options.jobs} jobs succeeded")

    def _counts(self) -> dict[JobState, int]:
        found: dict[JobState, int] = {}
        for states in self._store.counts().values():
            for state, count in states.items():
                found[state] = found.get(state, 0) + count
        return found

    def close(self) -> None:
        self._app.app.close()


if __name__ == "__main__":
    main(WorklistServer)
