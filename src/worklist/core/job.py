"""What a job is: the immutable call that is put in a queue, its states, and what is known of it afterwards.

Pure data. It knows no broker, no task function and no clock but the one that stamps new ids.
"""

import enum
import os
import secrets
import threading
import time
from typing import Any, Literal

import msgspec

from .lane import LaneLimits

JobId = str
GroupId = str
FOREVER = float("inf")
"""As a key's `hold`: the key is never given back."""


KEEP_UNRUN = 604800.0
"""Seconds for which a job is kept that ended without a worker to say for how long."""


class JobState(enum.StrEnum):
    """Where a job is in its life. `MOVES` is the table of legal moves."""

    QUEUED = "queued"
    """In its queue, due now or later."""
    WAITING = "waiting"
    """Waits for a job or a group to end."""
    RUNNING = "running"
    """Leased by a worker."""
    SUCCEEDED = "succeeded"
    """Its function returned."""
    FAILED = "failed"
    """Its function raised and no attempt is left."""
    CANCELLED = "cancelled"
    """Taken back before it ended."""
    EXPIRED = "expired"
    """Nobody started it in time."""

    @property
    def finished(self) -> bool:
        """Whether the job has ended for good (an operator's retry apart)."""
        return self in FINISHED


FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})

MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED, JobState.WAITING}),
    JobState.EXPIRED: frozenset({JobState.QUEUED}),
}
"""From each state, the states that may follow. The moves of a finished job back are an operator's retry: of itself, or,
to `waiting`, of the job whose failure had cancelled it."""


When = Literal["succeeded", "all"]
"""What has to end, and how, before a waiting job is due: everything well, or everything in whatever way."""


class Ties(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What ties a job to others. Most jobs have none, and pay nothing for those that do."""

    lane: str | None = None
    """The lane it stands in."""
    limits: LaneLimits | None = None
    """What its task declares of that lane."""
    group: str | None = None
    """The group that it is a member of."""
    after: str | None = None
    """The job or the group that it waits for."""
    when: When = "succeeded"
    takes: bool = False
    """The result of what it waited for, of a group the list of results, is its first argument."""
    followed: bool = False
    """Other jobs wait for it."""


class Job(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One call of a task. What a broker stores, whole, as the job's body."""

    id: JobId
    task: str
    args: bytes = b"\x80"
    """The arguments by name, as a msgpack map."""
    queue: str = "default"
    priority: int = 0
    """Higher runs first."""
    delay: float = 0.0
    """Seconds from the put, by the broker's clock, before the job is due."""
    eta: float | None = None
    """Unix time before which the job is not due."""
    key: str | None = None
    """Unique key: while it is held, no second job with it is added."""
    hold: float = 0.0
    """How long the key is held: 0 until the job has finished, else seconds from the put; `FOREVER` never ends."""
    replace: bool = False
    """A put whose key is held by a queued job gives that job its arguments and due time (debounce)."""
    expires: float | None = None
    """Seconds from the put after which the job is no longer worth starting."""
    redeliveries: int = 3
    """How many workers may die with the job before it fails."""
    created: float = 0.0
    """Unix time, by the clock of the process that enqueued it."""
    overrides: dict[str, Any] | None = None
    """Run-time options of `using()` that differ from the task's."""
    ties: Ties | None = None

    def due(self, now: float) -> float:
        """Return the unix time at which the job may be leased, if it is put at `now`."""
        return max(now + self.delay, self.eta or 0.0)


class ErrorInfo(msgspec.Struct, frozen=True, array_like=True):
    """One failed attempt, as text: what was raised, and when."""

    type: str
    message: str
    traceback: str
    attempt: int
    at: float


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far a running job has come, in units of the task's own choosing."""

    done: float
    total: float | None = None
    note: str = ""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one job. Times are unix seconds by the broker's clock."""

    id: JobId
    task: str
    queue: str
    state: JobState
    body: bytes
    priority: int = 0
    attempt: int = 0
    """How often it was started, attempts that were handed back not counted."""
    lost: int = 0
    """How many of these ended with the death of the worker."""
    enqueued: float = 0.0
    due: float | None = None
    started: float | None = None
    finished: float | None = None
    worker: str | None = None
    key: str | None = None
    expires: float | None = None
    """Unix time after which it will not be started."""
    cancelling: bool = False
    """It runs, and was asked to stop."""
    result: bytes | None = None
    errors: tuple[ErrorInfo, ...] = ()
    progress: Progress | None = None
    lane: str | None = None
    group: str | None = None
    """The group that it is a member of."""
    logs: tuple[str, ...] = ()
    """The last lines that it logged."""


class _IdSource:
    """Ids that sort by time: 16 hex digits of nanoseconds, strictly rising here, and 10 of this process."""

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._suffix = secrets.token_hex(5)

    def take(self) -> JobId:
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return f"{self._last:016x}{self._suffix}"


_ids = _IdSource()
new_job_id = _ids.take
"""Return a new id: 26 hexadecimal digits, unique in the fleet, sorted by time within a process."""


def new_group_id() -> GroupId:
    """Return a new id of a group: like that of a job, with a ``g`` before it."""
    return f"g{new_job_id()}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.reseed)
