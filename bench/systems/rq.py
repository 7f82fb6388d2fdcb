"""RQ on Redis. Its SimpleWorker runs jobs in its own process; as installed it forks for each, which is far slower."""

import sys
from collections.abc import Sequence

from redis import Redis
from rq import Queue

from bench.systems.base import Options, System
from bench.systems.script import main

NOOP = "bench.systems.rq_app.noop"
STAMPED = "bench.systems.rq_app.stamped"


class RqSystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._redis = Redis.from_url(options.url)
        self._queue = Queue(connection=self._redis)

    def put(self, number: int) -> None:
        self._queue.enqueue(NOOP, number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self._queue.enqueue_many([Queue.prepare_data(NOOP, (number,)) for number in numbers])

    def put_stamp(self, stamp: float) -> None:
        self._queue.enqueue(STAMPED, stamp)

    def worker(self) -> list[str]:
        command = [sys.executable, "-m", "rq.cli", "worker", "--url", self.options.url, "--quiet"]
        return [*command, "--disable-job-desc-logging", "--worker-class", "rq.SimpleWorker"]

    def settled(self) -> int:
        found: int = self._redis.zcard("rq:finished:default")
        return found


if __name__ == "__main__":
    main(RqSystem)
