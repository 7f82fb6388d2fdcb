"""What PgQueuer's own worker imports."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
logging.disable(logging.INFO)  # its command sets levels of its own


@asynccontextmanager
async def start() -> AsyncIterator[PgQueuer]:
    connection = await asyncpg.connect(options.url)
    queue = PgQueuer.from_asyncpg_connection(connection)

    @queue.entrypoint("noop")
    async def noop(job: Job) -> None:
        if not gate.open:
            gate.wait()

    @queue.entrypoint("stamped")
    async def stamped(job: Job) -> None:
        assert job.payload is not None
        delays.add(float(job.payload))

    yield queue
    await connection.close()
