"""What SAQ's own worker imports."""

from typing import Any

from saq import Queue

from bench.systems import base
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = base.settings()


async def noop(_context: dict[str, Any], *, number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


async def stamped(_context: dict[str, Any], *, stamp: float) -> None:
    delays.add(stamp)


queue = Queue.from_url(options.url)
settings: dict[str, Any] = {"queue": queue, "functions": [noop, stamped], "concurrency": 100}
