"""Middleware: a generator function around the call of a job; what `contextmanager` makes of it serves sync and async.

@app.middleware
def timed(job):
    started = time.monotonic()
    yield                       # the job runs here; what it raises is raised here
    print(job.task, time.monotonic() - started)
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .execution import CurrentJob

Middleware = Callable[["CurrentJob"], Iterator[None]]


def compose(
    middlewares: Sequence[Middleware],
) -> Callable[["CurrentJob"], AbstractContextManager[object]] | None:
    """Fold middlewares into one context manager factory, the first outermost; None where there are none."""
    if not middlewares:
        return None
    managers = [contextlib.contextmanager(middleware) for middleware in middlewares]

    @contextlib.contextmanager
    def around(job: "CurrentJob") -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for manager in managers:
                stack.enter_context(manager(job))
            yield

    return around
