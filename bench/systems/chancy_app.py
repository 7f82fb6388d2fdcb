"""The app that Chancy's own worker imports."""

import logging

from chancy import Chancy, Queue, job

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
logging.getLogger("chancy").setLevel(logging.ERROR)
chancy = Chancy(options.url, log=logging.getLogger("chancy"))
queue = Queue(
    "default",
    concurrency=options.batch,
    executor=Chancy.Executor.Async,
    polling_interval=1,
    eager_polling=True,
)


@job(queue="default")
async def noop(*, number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@job(queue="default")
async def stamped(*, stamp: float) -> None:
    delays.add(stamp)
