"""The app that Procrastinate's own worker imports."""

import logging

from procrastinate import App, PsycopgConnector

from bench.systems.base import settings
from bench.systems.gate import Delays, Gate

gate = Gate()
delays = Delays()
options = settings()
logging.getLogger("procrastinate").setLevel(logging.WARNING)
app = App(connector=PsycopgConnector(conninfo=options.url))


@app.task(name="noop")
async def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@app.task(name="stamped")
async def stamped(stamp: float) -> None:
    delays.add(stamp)
