"""Huey on SQLite or Redis, run by its own consumer with threads or processes.

It deletes a job when it fetches it, so a job whose worker dies is lost: at most once. Quiet logging and no
periodic tasks are given to it throughout, since both cost time for each job or each second.
"""

import signal
import sys
from collections.abc import Sequence

from huey import group

from bench.systems.base import Options, Reader, System
from bench.systems.script import main


class HueySystem(System):
    stop_signal = signal.SIGINT

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import huey_app

        self._app = huey_app
        self._reader = Reader(options.database)

    def put(self, number: int) -> None:
        self._app.noop(number)

    def put_counted(self, numbers: Sequence[int], delay: float = 0) -> None:
        for number in numbers:
            self._app.counted(number)

    def put_chains(self, chains: int, steps: int) -> None:
        counted = self._app.counted
        for number in range(chains):
            chain = counted.s(number)
            for _ in range(steps - 1):
                chain = chain.then(counted)
            self._app.huey.enqueue(chain)

    def put_chord(self, members: int) -> None:
        member = self._app.member
        self._app.huey.enqueue(group([member.s(number) for number in range(members)]).then(self._app.callback))

    def put_stamp(self, stamp: float) -> None:
        self._app.stamped(stamp)

    def worker(self) -> list[str]:
        kind, count = ("process", self.options.processes)
        if self.options.processes == 1:
            kind, count = ("thread", self.options.threads)
        command = [sys.executable, "-m", "huey.bin.huey_consumer", "bench.systems.huey_app.huey"]
        command += ["--quiet", "--no-periodic", "--worker-type", kind, "--workers", str(count)]
        polls = not self.options.server  # on Redis it waits
        if self.options.tuned and polls:  # every millisecond, without backing off
            command += ["--delay", "0.001", "--max-delay", "0.001", "--backoff", "1"]
        return command

    def settled(self) -> int:
        """Results are rows that are only ever added. Without them: all jobs, once the last is fetched."""
        if self.options.server:
            found: int = self._app.huey.storage.result_store_size()
            return found
        if self.options.results == "all":
            return self._reader.number("SELECT max(rowid) FROM kv")
        return 0 if self._reader.number("SELECT 1 FROM task LIMIT 1") else self.options.jobs


if __name__ == "__main__":
    main(HueySystem)
