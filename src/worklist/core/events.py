"""What happens to jobs, as typed events for logs, metrics and dashboards.

Emitted at the seam where outcomes are collected; an event type nobody listens to costs one dictionary look-up.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from .job import ErrorInfo, JobId

log = logging.getLogger("worklist")


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a job."""

    id: JobId
    task: str
    attempt: int
    seconds: float = 0.0
    """How long the attempt ran."""


class JobLeased(JobEvent, frozen=True, kw_only=True):
    """A worker took the job, and will call its function as soon as a slot is free."""


class JobSucceeded(JobEvent, frozen=True, kw_only=True):
    """The function returned."""


class JobRetried(JobEvent, frozen=True, kw_only=True):
    """The attempt failed and another one will follow."""

    error: ErrorInfo | None
    delay: float


class JobFailed(JobEvent, frozen=True, kw_only=True):
    """The job failed for good."""

    error: ErrorInfo


class JobSnoozed(JobEvent, frozen=True, kw_only=True):
    """The job will be run later; the attempt does not count."""

    delay: float


class JobCancelled(JobEvent, frozen=True, kw_only=True):
    """The job was cancelled while it ran."""

    reason: str


class LeaseLost(JobEvent, frozen=True, kw_only=True):
    """The worker no longer holds the job: its lease had lapsed. Another worker runs it, or has run it."""


class WorkerStarted(msgspec.Struct, frozen=True):
    """A worker begins to serve."""

    worker: str


class WorkerStopped(msgspec.Struct, frozen=True):
    """A worker has ended in good order."""

    worker: str
    processed: int


class BrokerTrouble(msgspec.Struct, frozen=True):
    """The broker could not be used just now; the worker tries again after `delay` seconds."""

    error: str
    delay: float


E = TypeVar("E")


class EventBus:
    """Listeners by event type. A listener that raises is logged and does not disturb the worker."""

    def __init__(self) -> None:
        self._listeners: defaultdict[type, list[Callable[[Any], object]]] = defaultdict(list)

    def on(self, kind: type[E], listener: Callable[[E], object]) -> None:
        """Call `listener` with every event of this very type."""
        self._listeners[kind].append(listener)

    def wanted(self, kind: type) -> bool:
        """Return whether anybody listens for this type."""
        return kind in self._listeners

    def emit(self, event: Any) -> None:
        """Hand an event to its listeners."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener for %s raised", type(event).__name__)
