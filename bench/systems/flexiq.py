"""FlexiQ on SQLite or PostgreSQL, run by its own worker with threads. Its core is compiled; results are always kept.

As installed it polls every 50 ms and claims one job at a time; tuned, every millisecond and 200 at a time.
WAL and synchronous=NORMAL are its own settings. It is told to log quietly; else it writes two lines a job.
"""

import os
import sys
import threading
from collections.abc import Sequence

from flexiq import chord, group

from bench.systems.base import Options, Reader, System
from bench.systems.postgres_reader import PostgresReader
from bench.systems.script import main


class FlexiqSystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        os.environ["FLEXIQ_LOG_LEVEL"] = "WARNING"
        from bench.systems import flexiq_app

        self._app = flexiq_app
        self._reader = PostgresReader(options.url) if options.server else Reader(options.database)

    def put(self, number: int) -> None:
        self._app.noop.delay(number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self._app.noop.map([(number,) for number in numbers])

    def put_chord(self, members: int) -> None:
        """The thread that calls keeps the chord's state, and puts the callback: here one beside the measuring one."""
        threading.Thread(target=self._hold_chord, args=(members,), daemon=True).start()

    def _hold_chord(self, members: int) -> None:
        app = self._app
        chord(group(*(app.member.s(number) for number in range(members))), app.callback.s()).apply(app.queue)

    def put_stamp(self, stamp: float) -> None:
        self._app.stamped.delay(stamp)

    def worker(self) -> list[str]:
        return [sys.executable, "-m", "flexiq.cli", "worker", "--app", "bench.systems.flexiq_app:queue"]

    def settled(self) -> int:
        """A finished job is moved to a table that nothing is deleted from in the time of a run."""
        if self.options.server:
            return self._reader.number("SELECT count(*) FROM flexiq.archived_jobs")
        return self._reader.number("SELECT max(rowid) FROM archived_jobs")

    def close(self) -> None:
        self._app.queue.close()


if __name__ == "__main__":
    main(FlexiqSystem)
