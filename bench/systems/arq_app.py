"""What arq's own worker imports."""

from typing import Any

from arq.connections import RedisSettings

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
QUIET: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}


async def noop(_context: dict[str, Any], number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


async def stamped(_context: dict[str, Any], stamp: float) -> None:
    delays.add(stamp)


class WorkerSettings:
    functions = (noop, stamped)
    redis_settings = RedisSettings.from_dsn(options.url or "redis://127.0.0.1")
    max_jobs = options.batch
    poll_delay = 0.001 if options.tuned else 0.5
    log_results = False
