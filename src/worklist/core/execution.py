"""One leased job, from its bytes to its outcome: prepare, run, conclude. Named steps over one value.

It knows the registered tasks and the middleware, and neither the broker nor where it runs: an executor calls
`run` in a thread or a child process, or `arun` on an event loop.
"""

import asyncio
import contextvars
import datetime as dt
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .codec import Codec, encode_value
from .errors import (
    ArgumentError,
    JobAborted,
    NoCurrentJob,
    ResultEncodingError,
    TimeLimitExceeded,
    UndecodableJob,
    UnknownTask,
    did_you_mean,
)
from .job import Job, JobId, Progress
from .outcome import HAND_BACK, Cancel, Done, Fail, Outcome, Snooze, decide, describe, storable
from .ports import Lease, Settlement
from .task import Task, TaskOptions

UNKNOWN_TASK_GRACE = 600.0
"""Seconds for which a job of a task that nobody registered is handed back: a rolling deploy is no failure."""
UNKNOWN_TASK_PAUSE = 5.0

_DONE_NONE = Done()
_NO_OPTIONS = TaskOptions()
_current: contextvars.ContextVar["Execution"] = contextvars.ContextVar("worklist_current_job")


class Environment:
    """What executions share: the tasks by name, the codec, and the middleware as one context manager."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]], codec: Codec) -> None:
        self.tasks = tasks
        self.codec = codec
        self.around: Callable[[CurrentJob], AbstractContextManager[object]] | None = None


class Execution:
    """One attempt at one job. `outcome` is None until it has ended."""

    __slots__ = (
        "_environment",
        "_reporter",
        "abort_reason",
        "args",
        "job",
        "kwargs",
        "lease",
        "options",
        "outcome",
        "progress",
        "seconds",
        "started",
        "task",
    )

    def __init__(self, lease: Lease, environment: Environment) -> None:
        self.lease = lease
        self._environment = environment
        self._reporter: Callable[[Progress], None] | None = None
        self.outcome: Outcome | None = None
        self.abort_reason: Cancel | Snooze | None = None
        self.progress: Progress | None = None
        self.seconds = 0.0
        self.started = 0.0
        self.job: Job | None = None
        self.task: Task[..., Any] | None = None
        self.options = _NO_OPTIONS

    @property
    def task_name(self) -> str:
        """The name of the job's task, as far as its bytes tell."""
        return self.job.task if self.job else "(undecodable)"

    def prepare(self) -> bool:
        """Decode the job and its arguments; return whether it can run. Where it cannot, the outcome is set."""
        try:
            self.job = job = self._environment.codec.decode(self.lease.body)
            self.task = task = self._environment.tasks.get(job.task)
            if task is None:
                self.outcome = self._unknown_task(job)
                return False
            self.options = self._options_for_run(task, job)
            self.args, self.kwargs = task.signature.decode(job.args)
        except (UndecodableJob, ArgumentError) as error:
            self.outcome = Fail(describe(error, self.lease.attempt, time.time()))
            return False
        return True

    def _options_for_run(self, task: Task[..., Any], job: Job) -> TaskOptions:
        if not job.overrides:
            return task.options
        try:
            return task.options.for_run(job.overrides)
        except (TypeError, ValueError) as error:
            raise UndecodableJob(f"the job's own options mean nothing here: {error}") from None

    def run(self) -> None:
        """Call the function and set the outcome. Never raises what the function raised."""
        token = _current.set(self)
        self.started = time.perf_counter()
        value = None  # the result where a middleware swallows what the function raised
        try:
            if self._environment.around is None:
                value = self.task.function(*self.args, **self.kwargs)  # type: ignore[union-attr]
            else:
                with self._environment.around(CurrentJob(self)):
                    value = self.task.function(*self.args, **self.kwargs)  # type: ignore[union-attr]
            self.outcome = _DONE_NONE if value is None else self._done(value)
        except BaseException as error:
            self.fail(error)
        self.seconds = time.perf_counter() - self.started
        _current.reset(token)

    async def arun(self) -> None:
        """Await the function and set the outcome; the time limit is enforced here."""
        _current.set(self)
        self.started = time.perf_counter()
        around = self._environment.around
        limit: asyncio.Timeout | None = None
        value = None
        try:
            with around(CurrentJob(self)) if around else nullcontext():
                async with asyncio.timeout(self.options.timeout) as limit:
                    value = await self.task.function(*self.args, **self.kwargs)  # type: ignore[union-attr]
            self.outcome = _DONE_NONE if value is None else self._done(value)
        except TimeoutError as error:
            self.fail(TimeLimitExceeded() if limit is not None and limit.expired() else error)
        except BaseException as error:
            self.fail(error)
        self.seconds = time.perf_counter() - self.started

    def fail(self, error: BaseException) -> None:
        """Set the outcome for a function that raised, was stopped or hit its limit."""
        reason = self.abort_reason
        if reason is not None and isinstance(error, JobAborted | asyncio.CancelledError):
            self.outcome = reason
            return
        if isinstance(error, TimeLimitExceeded):
            error = TimeLimitExceeded(f"ran longer than its time limit of {self.options.timeout:g} s").with_traceback(
                error.__traceback__
            )
        if isinstance(error, ResultEncodingError):
            self.outcome = Fail(describe(error, self.lease.attempt, time.time()))
            return
        failures = self.lease.attempt - self.lease.lost
        self.outcome = decide(error, failures, self.lease.attempt, time.time(), self.options)

    def settlement(self) -> Settlement:
        """Return what is to be written down."""
        options = self.options
        outcome = self.outcome if self.outcome is not None else HAND_BACK
        return Settlement(self.lease, outcome, options.results, options.keep_results, self.progress)

    def report_with(self, reporter: Callable[[Progress], None]) -> None:
        """Hand progress to `reporter` as it is reported, where nobody can come and look (a child process)."""
        self._reporter = reporter

    def set_progress(self, progress: Progress) -> None:
        """Note how far the job has come."""
        self.progress = progress
        if self._reporter is not None:
            self._reporter(progress)

    def _done(self, value: Any) -> Done:
        try:
            return Done(encode_value(value))
        except Exception as error:
            where = _culprit(value, "result")
            raise ResultEncodingError(
                f"{self.task_name}() returned what cannot be stored: {where}: {error}; return plain data, "
                "or declare the task with results='none'"
            ) from None

    def _unknown_task(self, job: Job) -> Outcome:
        if time.time() - job.created < UNKNOWN_TASK_GRACE:
            return Snooze(UNKNOWN_TASK_PAUSE)
        near = did_you_mean(job.task, self._environment.tasks)
        error = UnknownTask(
            f"no task named {job.task!r} is registered in this worker{near}; "
            f"it was handed back for {UNKNOWN_TASK_GRACE / 60:g} minutes"
        )
        return Fail(describe(error, self.lease.attempt, time.time()))


def _culprit(value: Any, path: str) -> str:
    """Return the path of the innermost part of `value` that cannot be encoded."""
    parts: Any = ()
    if isinstance(value, Mapping):
        parts = ((f"{path}[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set):
        parts = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    for inner, item in parts:
        try:
            encode_value(item)
        except Exception:
            return _culprit(item, inner)
    return f"{path} is of type {type(value).__qualname__}"


class CurrentJob:
    """The job that runs here and now, as its own code and middleware see it."""

    __slots__ = ("_execution",)

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def id(self) -> JobId:
        """The job's id."""
        return self._execution.lease.id

    @property
    def task(self) -> str:
        """The name of its task."""
        return self._execution.task_name

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self._execution.job.queue if self._execution.job else ""

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._execution.lease.attempt

    @property
    def scheduled(self) -> dt.datetime | None:
        """The moment for which it was meant, in UTC: the fire time of its schedule, or its `eta`; else None."""
        eta = self._execution.job.eta if self._execution.job else None
        return None if eta is None else dt.datetime.fromtimestamp(eta, dt.UTC)

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of the call."""
        return self._execution.args, self._execution.kwargs

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to stop; long loops may look at it."""
        return self._execution.abort_reason is not None

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell how far the job has come. Cheap: it is written down about once a second."""
        self._execution.set_progress(Progress(float(done), None if total is None else float(total), storable(note)))

    def __repr__(self) -> str:
        return f"<CurrentJob {self.id} {self.task} attempt {self.attempt}>"


def current_job() -> CurrentJob:
    """Return the job that is running here. Raises NoCurrentJob outside of one."""
    execution = _current.get(None)
    if execution is None:
        raise NoCurrentJob
    return CurrentJob(execution)
