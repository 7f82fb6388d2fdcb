"""The app that Worklist's own worker imports, as a user would write it. WORKLIST_URL names the queue."""

from typing import Any, cast

from bench.systems.base import settings
from bench.systems.gate import Counter, Delays, Gate
from worklist import Worklist

gate = Gate()
counter = Counter()
delays = Delays()
options = settings()
kept = options.results_url if options.server == "rabbitmq" and options.results == "all" else options.results
app = Worklist(results=cast("Any", kept))


@app.task
def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@app.task
def counted(number: int) -> int:
    if not gate.open:
        gate.wait()
    counter.count()
    return number


@app.task(results="none")
def stamped(stamp: float) -> None:
    delays.add(stamp)
