"""Streams of what happens to jobs: the updates of one, the ends of many. For threads and for coroutines alike.

A stream is filled by the watcher's one thread (awaiting.py) and costs its reader nothing while nothing happens. It
knows jobs by their ids and records, and no broker.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, get_args

import msgspec

from .awaiting import Watch
from .errors import ConfigError, JobUnknown, ResultTimeout, did_you_mean
from .job import JobId, JobRecord, JobState, Progress

if TYPE_CHECKING:
    from .client import Records
    from .handle import JobHandle

R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S")
ReturnWhen = Literal["all", "first", "failure"]


class JobUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands at one moment."""

    id: JobId
    state: JobState
    attempt: int
    """How often it was started, attempts that were handed back not counted."""
    progress: Progress | None = None
    lines: tuple[str, ...] = ()
    """What it has logged since the last update."""


class DoneAndPending(NamedTuple, Generic[R]):
    """What `wait` returns."""

    done: set["JobHandle[R]"]
    """The jobs that have ended, well or not, or are no longer known."""
    pending: set["JobHandle[R]"]
    """The others."""


class _Mailbox(Generic[T]):
    """Takes things from the watcher's thread and gives them, in order, to one reader. With `limit`, the last ones."""

    def __init__(self, limit: int | None = None) -> None:
        self._lock = threading.Lock()
        self._things: deque[T] = deque(maxlen=limit)
        self._over = False
        self._error: Exception | None = None
        self._reader: Future[T | None] | None = None

    def put(self, things: Iterable[T]) -> None:
        with self._lock:
            self._things.extend(things)
            self._serve_reader()

    def end(self, error: Exception | None = None) -> None:
        """Let the reader come to the end, or to this error, after all that was put before."""
        with self._lock:
            self._over, self._error = True, error
            self._serve_reader()

    def take(self) -> "Future[T | None]":
        """Return a future of the next thing; None: there is none any more."""
        with self._lock:
            reader: Future[T | None] = Future()
            self._reader = reader
            self._serve_reader()
        return reader

    def rest(self) -> list[T]:
        """Return all that is there already."""
        with self._lock:
            things = list(self._things)
            self._things.clear()
        return things

    def _serve_reader(self) -> None:
        if self._reader is None or not (self._things or self._over):
            return
        reader, self._reader = self._reader, None
        if not reader.set_running_or_notify_cancel():
            return  # it stopped waiting, and the thing is there for the next one
        if self._things:
            reader.set_result(self._things.popleft())
        elif self._error is not None:
            reader.set_exception(self._error)
            self._error = None
        else:
            reader.set_result(None)


class _MailWatch(Watch, Generic[T]):
    """A watch whose reader may go away."""

    def __init__(self, timeout: float | None, limit: int | None = None) -> None:
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.timeout = timeout
        self.mail: _Mailbox[T] = _Mailbox(limit)
        self.abandoned = False

    def fail(self, error: Exception) -> None:
        self.mail.end(error)

    def given_up(self) -> bool:
        return self.abandoned


class Stream(Generic[T]):
    """An iterator for one reader: with ``for`` in a thread, with ``async for`` in a coroutine, or ``next`` by ``next``.

    It ends by itself; one that is dropped before its end is no longer watched for.
    """

    def __init__(self, watch: _MailWatch[S], show: Callable[[S], T]) -> None:
        self._watch: _MailWatch[Any] = watch
        self._show: Callable[[Any], T] = show

    def __iter__(self) -> "Stream[T]":
        return self

    def __next__(self) -> T:
        thing = self._watch.mail.take().result()
        if thing is None:
            raise StopIteration
        return self._show(thing)

    def __aiter__(self) -> "Stream[T]":
        return self

    async def __anext__(self) -> T:
        thing = await asyncio.wrap_future(self._watch.mail.take())
        if thing is None:
            raise StopAsyncIteration
        return self._show(thing)

    def __del__(self) -> None:
        self._watch.abandoned = True


# -- the updates of one job -----------------------------------------------------------------------------------------


def updates(records: "Records", id: JobId, timeout: float | None) -> Stream[JobUpdate]:
    """Return a stream of how a job stands, now and after each change, that ends with its end (see JobHandle)."""
    watch = _Changes(timeout)
    records.follow((id,), watch)
    return Stream(watch, _Differences())


class _Changes(_MailWatch[JobRecord]):
    """Passes on each record that differs from the one before. A slow reader gets the last one alone."""

    def __init__(self, timeout: float | None) -> None:
        super().__init__(timeout, limit=1)
        self._seen: JobRecord | None = None

    def see(self, id: JobId, record: JobRecord | None) -> bool:
        if record is None:
            self.mail.end(_unknown(id) if self._seen is None else None)
            return True
        if self._seen is None or _facts(record) != _facts(self._seen):
            self._seen = record
            self.mail.put([record])
        if record.state.finished:
            self.mail.end()
        return record.state.finished

    def late(self) -> None:
        job = self._seen
        assert job is not None, "there was a look"  # noqa: S101
        self.mail.end(ResultTimeout(f"job {job.id} ({job.task}) is still {job.state} after {self.timeout:g} s"))


def _unknown(id: JobId) -> JobUnknown:
    return JobUnknown(f"job {id} is not known: never enqueued here, or its record is no longer kept")


def _facts(record: JobRecord) -> tuple[object, ...]:
    return record.state, record.attempt, record.progress, record.logs


class _Differences:
    """Turns record after record into updates."""

    def __init__(self) -> None:
        self._lines: tuple[str, ...] = ()

    def __call__(self, record: JobRecord) -> JobUpdate:
        before, self._lines = self._lines, record.logs
        return JobUpdate(
            id=record.id,
            state=record.state,
            attempt=record.attempt,
            progress=record.progress,
            lines=_new_lines(before, record.logs),
        )


def _new_lines(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    """Return what `now` has after the end of `before`, whose first lines may have been dropped meanwhile."""
    for dropped in range(len(before)):
        rest = before[dropped:]
        if now[: len(rest)] == rest:
            return now[len(rest) :]
    return now


# -- the ends of many -------------------------------------------------------------------------------------------------


class _End(NamedTuple):
    """One job that has ended."""

    at: float
    id: JobId
    failed: bool


class _Ends(_MailWatch[_End]):
    """Passes on what has ended since the last look, in order."""

    def __init__(self, ids: Iterable[JobId], timeout: float | None) -> None:
        super().__init__(timeout)
        self._open = set(ids)
        self._ended: list[_End] = []

    def see(self, id: JobId, record: JobRecord | None) -> bool:
        if record is not None and not record.state.finished:
            return False
        self._open.discard(id)
        failed = record is not None and record.state is not JobState.SUCCEEDED
        self._ended.append(_End((record.finished or 0.0) if record else 0.0, id, failed))
        return True

    def looked(self) -> None:
        self.mail.put(sorted(self._ended))
        self._ended.clear()
        if not self._open:
            self.mail.end()

    def late(self) -> None:
        number, one = len(self._open), min(self._open)
        what = f"job {one} has" if number == 1 else f"{number:,} jobs, {one} the first of them, have"
        self.mail.end(ResultTimeout(f"{what} not ended after {self.timeout:g} s"))


def _follow_ends(records: "Records", ids: Collection[JobId], timeout: float | None) -> _Ends:
    watch = _Ends(ids, timeout)
    if ids:
        records.follow(ids, watch)
    else:
        watch.mail.end()
    return watch


def as_completed(records: "Records", jobs: "Iterable[JobHandle[R]]", timeout: float | None) -> "Stream[JobHandle[R]]":
    """Return a stream of these handles in the order in which their jobs end (see Worklist.as_completed)."""
    by_id = _by_id(jobs)
    return Stream(_follow_ends(records, by_id, timeout), lambda end: by_id[end.id])


def wait(
    records: "Records", jobs: "Iterable[JobHandle[R]]", timeout: float | None, return_when: ReturnWhen
) -> DoneAndPending[R]:
    """Wait until jobs have ended (see Worklist.wait)."""
    if return_when not in get_args(ReturnWhen):
        near = did_you_mean(str(return_when), get_args(ReturnWhen))
        raise ConfigError(f"return_when is {return_when!r}; expected one of {', '.join(get_args(ReturnWhen))}{near}")
    by_id = _by_id(jobs)
    watch = _follow_ends(records, by_id, timeout)
    done: set[JobHandle[R]] = set()
    try:
        while (end := watch.mail.take().result()) is not None:
            ends = [end, *watch.mail.rest()]
            done.update(by_id[end.id] for end in ends)
            if return_when == "first" or (return_when == "failure" and any(end.failed for end in ends)):
                break
    except ResultTimeout:
        pass  # what is pending says so
    finally:
        watch.abandoned = True
    return DoneAndPending(done, set(by_id.values()) - done)


def _by_id(jobs: Any) -> "dict[JobId, JobHandle[Any]]":
    """Return each job once. Raises ConfigError where something is no handle."""
    if isinstance(jobs, str) or not isinstance(jobs, Iterable):
        raise ConfigError(f"the jobs to wait for are {jobs!r}; expected a list of handles, such as [job]")
    by_id = {}
    for job in jobs:
        if not hasattr(job, "updates"):
            raise ConfigError(f"among the jobs to wait for is {job!r}; expected handles, as app.job(id) returns them")
        by_id[job.id] = job
    return by_id
