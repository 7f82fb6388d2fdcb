"""Celery on Redis or RabbitMQ, run by its own worker and beat; results are kept in Redis.

As installed it acknowledges a job when it begins; with `--late` when it ends, and what was not acknowledged is due
again after two seconds instead of an hour. Where the measurement has no server of its own, $BENCH_REDIS names the
server and database; all keys have a prefix and are deleted at the end.
"""

import signal
import sys
import threading
import time
from collections.abc import Sequence

from redis import Redis
from redis.exceptions import ConnectionError as NoServer

from bench.systems.base import Options, System
from bench.systems.script import main


class CelerySystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        from bench.systems import celery_app

        self._app = celery_app
        if options.server and options.pool == "threads":
            self.stop_signal = signal.SIGKILL  # one process of a server that ends, too; else it takes ten seconds
        self._redis = Redis.from_url(celery_app.redis)
        try:
            self._redis.ping()
        except NoServer:
            raise SystemExit(f"no Redis server answers at {celery_app.redis}; start one, or set BENCH_REDIS") from None
        self._arrived: list[tuple[float, float | None]] = []
        self._listener: threading.Thread | None = None
        self._closing = False

    def put(self, number: int) -> None:
        self._app.noop.delay(number)

    def put_stamp(self, stamp: float) -> None:
        self._app.stamped.delay(stamp)

    def put_counted(self, numbers: Sequence[int], delay: float = 0) -> None:
        for number in numbers:
            self._app.counted.delay(number)

    def put_chains(self, chains: int, steps: int) -> None:
        from celery import chain

        counted = self._app.counted
        for number in range(chains):
            chain(counted.s(number), *(counted.s() for _ in range(steps - 1))).apply_async()

    def put_chord(self, members: int) -> None:
        from celery import chord

        chord(self._app.member.s(number) for number in range(members))(self._app.callback.s())

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "celery", "-A", "bench.systems.celery_app", "worker", "--loglevel", "ERROR"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{time.monotonic_ns()}@bench"]
        pool = self.options.pool or "prefork"
        slots = self.options.processes if pool == "prefork" else self.options.threads
        return [*command, "--pool", pool, "--concurrency", str(slots)]

    def settled(self) -> int:
        """Results are the only keys of their database."""
        found: int = self._redis.dbsize()
        return found

    def beat(self, number: int) -> list[str]:
        """Each beat of several has its own file of state, as one on each machine would have."""
        state = self.options.dir / f"beat-{number % self.options.processes}"
        state.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "celery", "-A", "bench.systems.celery_app", "beat", "--loglevel", "ERROR"]
        return [*command, "--schedule", str(state / "schedule"), "--pidfile", ""]

    def ticks(self) -> list[tuple[float, float | None]]:
        """When jobs arrived in Redis; they do not know their fire time."""
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        return list(self._arrived)

    def _listen(self) -> None:
        queue = f"{self._app.prefix}celery"
        while not self._closing:
            if self._redis.brpop([queue], timeout=1):
                self._arrived.append((time.time(), None))

    def close(self) -> None:
        self._closing = True
        if self._listener is not None:
            self._listener.join()
        if self.options.server:
            self._redis.close()
            return
        for keys in _some(list(self._redis.scan_iter(f"{self._app.prefix}*", count=10_000)), 1000):
            self._redis.delete(*keys)
        self._redis.close()


def _some(keys: list[bytes], size: int) -> list[list[bytes]]:
    return [keys[first : first + size] for first in range(0, len(keys), size)]


if __name__ == "__main__":
    main(CelerySystem)
