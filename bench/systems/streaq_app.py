"""The app that streaq's own worker imports."""

import logging

from streaq import Worker

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
logging.disable(logging.INFO)  # its command sets levels of its own, with two lines a job
worker = Worker(redis_url=options.url, concurrency=options.batch, prefetch=options.batch)
results_set = f"streaq:{worker.queue_name}:index:results"


@worker.task
async def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@worker.task
async def stamped(stamp: float) -> None:
    delays.add(stamp)
