"""How an attempt ended, and what that means for the job (pure).

An outcome is a value that is returned by `decide` or made from a return value; nothing sets flags. Three of
them double as exceptions, for user code to raise: Retry, Snooze and Cancel.
"""

import random
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from .errors import ConfigError, did_you_mean
from .job import ErrorInfo
from .units import Duration, seconds

if TYPE_CHECKING:
    from .task import TaskOptions

EXPLICIT_RETRIES = 10
"""How often `raise Retry` is heeded by a task that sets no `retries` of its own."""
MAX_TRACEBACK = 16_000
"""Characters of a traceback that are kept, from its end."""

NONE = b"\xc0"
"""`None` as msgpack: the commonest result."""


class Done(msgspec.Struct, frozen=True, gc=False):
    """The function returned; `result` is its value, encoded."""

    result: bytes = NONE


class Fail(msgspec.Struct, frozen=True):
    """The job has failed for good."""

    error: ErrorInfo


class Retry(Exception):
    """Raise it in a task to be run again after `delay` (default: the task's back-off). Counts as an attempt."""

    def __init__(self, delay: Duration | None = None, *, reason: str = "") -> None:
        super().__init__(reason or "the task asked to be run again")
        self.delay = None if delay is None else seconds(delay, "Retry(delay=...)")
        self.error: ErrorInfo | None = None

    def __reduce__(self) -> tuple[Callable[..., "Retry"], tuple[float | None, str, ErrorInfo | None]]:
        return _retry, (self.delay, str(self), self.error)


class Snooze(Exception):
    """Raise it in a task to be run again after `delay`, without counting the attempt."""

    def __init__(self, delay: Duration) -> None:
        super().__init__("the task asked to be run later")
        self.delay = seconds(delay, "Snooze(delay)")

    def __reduce__(self) -> tuple[type["Snooze"], tuple[float]]:
        return Snooze, (self.delay,)


class Cancel(Exception):
    """Raise it in a task to end the job as cancelled, without a retry."""

    def __init__(self, reason: str = "the task cancelled itself") -> None:
        super().__init__(reason)
        self.reason = reason

    def __reduce__(self) -> tuple[type["Cancel"], tuple[str]]:
        return Cancel, (self.reason,)


def _retry(delay: float | None, reason: str, error: ErrorInfo | None) -> Retry:
    """Make a Retry again that came from a child process."""
    retry = Retry(delay, reason=reason)
    retry.error = error
    return retry


Outcome = Done | Fail | Retry | Snooze | Cancel
HAND_BACK = Snooze(0)
"""The outcome of a lease that was never started: due again at once, the attempt not counted."""


class Backoff(msgspec.Struct, frozen=True):
    """Seconds to wait before the n-th retry: ``base * factor ** (n - 1)``, at most `maximum`.

    With `jitter` the wait is drawn between half of that and the whole, so that jobs which failed together do
    not come back together ("equal jitter", M. Brooker, Exponential Backoff and Jitter, 2015).
    """

    base: float = 1.0
    factor: float = 2.0
    maximum: float = 3600.0
    jitter: bool = True
    steps: tuple[float, ...] = ()
    """Explicit waits for the first retries; the last one repeats."""

    def wait(self, retry: int) -> float:
        """Return the seconds before retry number `retry` (the first is 1)."""
        if self.steps:
            plain = self.steps[min(retry, len(self.steps)) - 1]
        else:
            plain = min(self.maximum, self.base * self.factor ** min(retry - 1, 64))
        return plain * random.uniform(0.5, 1.0) if self.jitter else plain  # noqa: S311


BackoffRule = Duration | Sequence[Duration] | Backoff | Callable[[int, BaseException], float]
"""``"exponential"``, ``"constant"``, a duration, a list of them, a Backoff, or a function of (retry, exception)."""

_NAMED = {"exponential": Backoff(), "constant": Backoff(factor=1.0, base=10.0)}


def as_backoff(rule: BackoffRule) -> Backoff | Callable[[int, BaseException], float]:
    """Turn what a user wrote for `backoff` into one thing. Raises ConfigError where it means nothing."""
    if isinstance(rule, Backoff) or callable(rule):
        return rule
    if isinstance(rule, str) and rule in _NAMED:
        return _NAMED[rule]
    if isinstance(rule, str) and rule[:1].isalpha():
        raise ConfigError(
            f"backoff is {rule!r}; expected a duration, {' or '.join(map(repr, _NAMED))}{did_you_mean(rule, _NAMED)}"
        )
    if isinstance(rule, Sequence) and not isinstance(rule, str):
        if not rule:
            raise ConfigError("backoff is an empty list; expected the seconds before each retry, such as [1, 10, 60]")
        return Backoff(steps=tuple(seconds(step, "backoff") for step in rule), jitter=False)
    return Backoff(steps=(seconds(rule, "backoff"),), jitter=False)


def describe(error: BaseException, attempt: int, at: float) -> ErrorInfo:
    """Return an exception as text; `at` is the unix time."""
    try:
        message = str(error)
    except Exception as broken:
        message = f"(its message could not be made: {type(broken).__name__})"
    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
    return ErrorInfo(type(error).__qualname__, storable(message), storable(text), attempt, at)


def storable(text: str) -> str:
    """Return `text` with what UTF-8 has no bytes for, half a surrogate pair of an odd file name, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def lost_worker(worker: str | None, attempt: int, at: float) -> ErrorInfo:
    """Return the record of an attempt that ended with the death or the silence of its worker."""
    return ErrorInfo("WorkerLost", f"worker {worker} gave no sign of life until its lease lapsed", "", attempt, at)


PREDECESSOR_FAILED = "PredecessorFailed"
"""The type of the error of a job that was cancelled because what it waited for did not succeed."""


def predecessor_failed(reason: str, at: float) -> ErrorInfo:
    """Return the record of a job that never ran, since what it waited for did not succeed."""
    return ErrorInfo(PREDECESSOR_FAILED, reason, "", 0, at)


def why_job(task: str, id: str, state: str, error: ErrorInfo | None) -> str:
    """Return how a job ended, as a reason for those that waited for it: the first cause of a row of them."""
    if error is not None and error.type == PREDECESSOR_FAILED:
        return error.message
    return f"{task} (job {id}) {'was ' * (state == 'cancelled')}{state}" + (
        f": {error.type}: {error.message}" if error is not None else ""
    )


def why_group(id: str, total: int, failed: int, cancelled: int, called_off: bool) -> str:
    """Return how a group ended, as a reason for those that waited for it."""
    how = f"of {total} members of group {id} {failed} failed and {cancelled} were cancelled"
    return f"{how}: it was called off" if called_off else how


def decide(error: BaseException, failures: int, attempt: int, at: float, options: "TaskOptions") -> Outcome:
    """Return what becomes of a job whose function raised.

    `failures` counts this failure and those before it (lost workers are not failures of the function);
    `attempt` and `at` go into the record of the error.
    """
    if isinstance(error, Snooze | Cancel):
        return error
    explicit = isinstance(error, Retry)
    limit = options.retries if options.retries is not None else EXPLICIT_RETRIES * explicit
    if failures > limit or not (explicit or _retryable(error, options)):
        return Fail(describe(error, attempt, at))
    retry = Retry(error.delay if isinstance(error, Retry) else None)
    if retry.delay is None:
        retry.delay = _wait(options.backoff, failures, error)
    retry.error = describe(error, attempt, at)
    return retry


def _retryable(error: BaseException, options: "TaskOptions") -> bool:
    if isinstance(error, options.fail_on):
        return False
    return isinstance(error, options.retry_on)


def _wait(backoff: Backoff | Callable[[int, BaseException], float], retry: int, error: BaseException) -> float:
    if isinstance(backoff, Backoff):
        return backoff.wait(retry)
    try:
        return seconds(backoff(retry, error), "what the backoff function returned")
    except Exception as broken:
        error.add_note(f"Its back-off function failed, so the default one was used: {type(broken).__name__}: {broken}")
        return Backoff().wait(retry)
