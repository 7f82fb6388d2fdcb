"""One leased job, from its bytes to its outcome: prepare, run, conclude. Named steps over one value.

It knows the registered tasks and the middleware, and neither the broker nor where it runs: an executor calls
`run` in a thread or a child process, or `arun` on an event loop.
"""

import asyncio
import contextvars
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from .codec import Codec, encode_value
from .errors import (
    ArgumentError,
    JobAborted,
    NoCurrentJob,
    NotInGroup,
    ResultEncodingError,
    TimeLimitExceeded,
    UndecodableJob,
    UnknownTask,
    did_you_mean,
)
from .job import GroupId, Job, JobId, Progress
from .joblog import Capture, JobLog, entry_of, said
from .outcome import HAND_BACK, NONE, Cancel, Done, Fail, Outcome, Snooze, decide, describe, storable
from .ports import Lease, Settlement
from .task import Call, Task, TaskOptions
from .traversal import Spread, spread_from
from .workflow import Node, Place

UNKNOWN_TASK_GRACE = 600.0
"""Seconds for which a job of a task that nobody registered is handed back: a rolling deploy is no failure."""
UNKNOWN_TASK_PAUSE = 5.0

_DONE_NONE = Done()
_NO_OPTIONS = TaskOptions()
_current: contextvars.ContextVar["Execution"] = contextvars.ContextVar("worklist_current_job")
_capture = Capture(lambda: _current.get(None))
_first_entry = threading.Lock()


class Environment:
    """What executions share: the tasks by name, the codec, and the middleware as one context manager."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]], codec: Codec) -> None:
        self.tasks = tasks
        self.codec = codec
        self.around: Callable[[CurrentJob], AbstractContextManager[object]] | None = None
        self.results_of: Callable[[GroupId], Sequence[bytes | None]] = lambda _: ()
        """Returns the results of a group's members, encoded, for the job that waited for them."""
        self.log_level: int | None = logging.INFO
        """From which level on the log records of a job are kept with it; None: none are."""

    def capturing(self) -> AbstractContextManager[None]:
        """Return what keeps the log records of jobs while it is entered."""
        return nullcontext() if self.log_level is None else _capture


class Execution:
    """One attempt at one job. `outcome` is None until it has ended."""

    __slots__ = (
        "_environment",
        "_reporter",
        "abort_reason",
        "args",
        "followers",
        "job",
        "kwargs",
        "lacks_results",
        "lease",
        "log",
        "options",
        "outcome",
        "progress",
        "seconds",
        "spread",
        "started",
        "task",
    )

    def __init__(self, lease: Lease, environment: Environment) -> None:
        self.lease = lease
        self._environment = environment
        self._reporter: Callable[[], object] | None = None
        self.outcome: Outcome | None = None
        self.abort_reason: Cancel | Snooze | None = None
        self.progress: Progress | None = None
        self.log: JobLog | None = None
        self.seconds = 0.0
        self.started = 0.0
        self.followers: list[Job] | None = None
        self.lacks_results = False
        self.spread: Spread | None = None
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
            if job.ties is None or not job.ties.takes:
                self.args, self.kwargs = task.signature.decode(job.args)
            elif self.lease.given is not None:
                self._take(self.lease.given)
            else:
                self.lacks_results = True
        except (UndecodableJob, ArgumentError) as error:
            self.outcome = Fail(describe(error, self.lease.attempt, time.time()))
            return False
        return True

    def _options_for_run(self, task: Task[..., Any], job: Job) -> TaskOptions:
        if not job.overrides:
            return task.options
        try:
            if "spread" in job.overrides:
                self.spread = msgspec.convert(job.overrides["spread"], Spread)
            return task.options.for_run(job.overrides)
        except (TypeError, ValueError) as error:
            raise UndecodableJob(f"the job's own options mean nothing here: {error}") from None

    def _take(self, given: bytes) -> None:
        """Decode the arguments, with the result of what the job waited for as the first."""
        self.args, self.kwargs = self.task.signature.decode_given(self.job.args, given)  # type: ignore[union-attr]

    def fetch_for_child(self) -> None:
        """Put the results that it waited for into its lease, for a child process that cannot ask for them."""
        if self.lacks_results:
            self.lease.given = self._results()

    def _results(self) -> bytes:
        """Return the results of the group that it waited for; None where what it waited for was a job that failed."""
        after = self.job.ties.after or ""  # type: ignore[union-attr]
        if not after.startswith("g"):
            return NONE
        results = self._environment.results_of(after)
        return encode_value([msgspec.Raw(NONE if it is None else it) for it in results])

    def _fetch_results(self) -> None:
        self._take(self._results())

    def run(self) -> None:
        """Call the function and set the outcome. Never raises what the function raised."""
        token = _current.set(self)
        self.started = time.perf_counter()
        value = None  # the result where a middleware swallows what the function raised
        try:
            if self.lacks_results:
                self._fetch_results()
            if self._environment.around is None:
                value = self.task.function(*self.args, **self.kwargs)  # type: ignore[union-attr]
            else:
                with self._environment.around(CurrentJob(self)):
                    value = self.task.function(*self.args, **self.kwargs)  # type: ignore[union-attr]
            if self.spread is not None:
                value = self._spread_to(value, self.spread)
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
            if self.lacks_results:
                await asyncio.to_thread(self._fetch_results)
            with around(CurrentJob(self)) if around else nullcontext():
                async with asyncio.timeout(self.options.timeout) as limit:
                    value = await self.task.function(*self.args, **self.kwargs)  # type: ignore[union-attr]
            if self.spread is not None:
                value = self._spread_to(value, self.spread)
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
        if isinstance(error, ResultEncodingError) or (isinstance(error, ArgumentError) and self.lacks_results):
            self.outcome = Fail(describe(error, self.lease.attempt, time.time()))
            return
        failures = self.lease.attempt - self.lease.lost
        self.outcome = decide(error, failures, self.lease.attempt, time.time(), self.options)

    def settlement(self) -> Settlement:
        """Return what is to be written down."""
        options = self.options
        outcome = self.outcome if self.outcome is not None else HAND_BACK
        settlement = Settlement(self.lease, outcome, options.results, options.keep_results, self.progress)
        if self.followers is not None:
            settlement.followers = self.followers
        if self.log is not None:
            settlement.logs = self.log.lines()
        return settlement

    def hand_back(self) -> Settlement:
        """Return that it did not end, whether or not it has begun; what it has said is kept."""
        logs = self.log.lines() if self.log is not None else ()
        return Settlement(self.lease, HAND_BACK, progress=self.progress, logs=logs)

    # -- what the running code says ---------------------------------------------------------------------------

    def report_with(self, reporter: Callable[[], object]) -> None:
        """Call `reporter` whenever the job says something, where nobody can come and look (a child process)."""
        self._reporter = reporter

    def said(self) -> tuple[Progress | None, int]:
        """Return what changes whenever the job says something: its progress and a count of its log's entries."""
        return self.progress, self.log.count if self.log is not None else 0

    def hear(self, progress: Progress | None, log: JobLog | None) -> None:
        """Take over what the job has said elsewhere."""
        self.progress = progress or self.progress
        self.log = log or self.log

    def set_progress(self, progress: Progress) -> None:
        """Note how far the job has come."""
        self.progress = progress
        if self._reporter is not None:
            self._reporter()

    def write_log(self, entry: str) -> None:
        """Keep an entry of what the job logs."""
        if self.log is None:
            with _first_entry:  # a job may have threads of its own
                self.log = self.log or JobLog()
        self.log.write(entry)
        if self._reporter is not None:
            self._reporter()

    def take(self, record: logging.LogRecord) -> None:
        """Keep what a log record says, if its level is high enough."""
        level = self._environment.log_level
        if level is not None and record.levelno >= level:
            self.write_log(entry_of(record))

    # -- how it ends ------------------------------------------------------------------------------------------

    def _spread_to(self, value: Any, step: Spread) -> list[Any]:
        """Have the neighbours that the job of a search has found visited."""
        node = self.args[0] if self.args else next(iter(self.kwargs.values()))
        found, jobs = spread_from(self.task, self.job, step, value, node)  # type: ignore[arg-type]
        self.followers = [*(self.followers or ()), *jobs]
        return found

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


class CurrentGroup:
    """The group that the current job is a member of, as its own code sees it."""

    def __init__(self, id: GroupId, execution: Execution) -> None:
        self.id = id
        self._execution = execution

    def add(self, what: Task[..., Any] | Call[..., Any] | Node, *args: Any, **kwargs: Any) -> Any:
        """Add a member with the settle of this job, as `CurrentJob.put` does; the group cannot have ended before."""
        return _follow(self._execution, what, args, kwargs, self.id)

    def __repr__(self) -> str:
        return f"<CurrentGroup {self.id}>"


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
    def failures(self) -> int:
        """How many of the attempts before this one ended with a failure, the death of a worker not counted."""
        return self._execution.lease.attempt - 1 - self._execution.lease.lost

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

    @property
    def group(self) -> CurrentGroup:
        """The group that it is a member of, to add others to. Raises NotInGroup where it is in none."""
        ties = self._execution.job.ties if self._execution.job else None
        if ties is None or ties.group is None:
            raise NotInGroup
        return CurrentGroup(ties.group, self._execution)

    def put(self, what: Task[..., Any] | Call[..., Any] | Node, *args: Any, **kwargs: Any) -> Any:
        """Put a job, or a workflow, that comes to exist with the settle of this one, in the same transaction.

        Where this attempt does not succeed, none of what it has put exists. Takes a task with its arguments, or a
        step, chain or group; returns the handle. The job of a key that is held then is not added.
        """
        return _follow(self._execution, what, args, kwargs, None)

    def put_jobs(self, jobs: Sequence[Job]) -> None:
        """Do what `put` does, for jobs that were made already."""
        self._execution.followers = [*(self._execution.followers or ()), *jobs]

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell how far the job has come. Cheap: it is written down about once a second."""
        self._execution.set_progress(Progress(float(done), None if total is None else float(total), storable(note)))

    def log(self, text: str) -> None:
        """Keep a line of text with the job, with the time before it, beside what its code logs through `logging`."""
        self._execution.write_log(said(str(text)))

    def __repr__(self) -> str:
        return f"<CurrentJob {self.id} {self.task} attempt {self.attempt}>"


def _follow(
    execution: Execution,
    what: Task[..., Any] | Call[..., Any] | Node,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    group: GroupId | None,
) -> Any:
    if isinstance(what, Call):
        what = what.s(*args, **kwargs)
    elif not isinstance(what, Node) or args or kwargs:
        raise ArgumentError(
            f"put() got {what!r}; expected a task with its arguments, such as put(task, 1), or a workflow"
        )
    if execution.followers is None:
        execution.followers = []
    return what.plan(Place(group=group), execution.followers).handle


def current_job() -> CurrentJob:
    """Return the job that is running here. Raises NoCurrentJob outside of one."""
    execution = _current.get(None)
    if execution is None:
        raise NoCurrentJob
    return CurrentJob(execution)
