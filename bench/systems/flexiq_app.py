"""The app that FlexiQ's own worker imports."""

from flexiq import Queue

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate, called_back

gate = Gate()
delays = Delays()
options = settings()
tuning = {"scheduler_poll_interval_ms": 1, "scheduler_batch_size": 200} if options.tuned else {}
place = {"backend": "postgres", "db_url": options.url} if options.server else {"db_path": str(options.database)}
queue = Queue(workers=options.threads, **place, **tuning)


@queue.task()
def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@queue.task()
def stamped(stamp: float) -> None:
    delays.add(stamp)


@queue.task()
def member(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@queue.task()
def callback(results: list[int]) -> None:
    called_back(results)
