"""Dramatiq on Redis or RabbitMQ, run by its own worker with one process of threads; results are kept in Redis.

On RabbitMQ messages are persistent, and published with confirms unless it runs as installed.
"""

import sys

from redis import Redis

from bench.systems.base import Options, System
from bench.systems.script import main


class DramatiqSystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import dramatiq_app

        self._app = dramatiq_app
        self._results = Redis.from_url(options.results_url)

    def put(self, number: int) -> None:
        self._app.noop.send(number)

    def put_stamp(self, stamp: float) -> None:
        self._app.stamped.send(stamp)

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "dramatiq", "bench.systems.dramatiq_app", "--skip-logging"]
        return [*command, "--processes", str(self.options.processes), "--threads", str(self.options.threads)]

    def settled(self) -> int:
        """Results are the only keys of their database."""
        found: int = self._results.dbsize()
        return found


if __name__ == "__main__":
    main(DramatiqSystem)
