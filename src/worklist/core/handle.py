"""The handle of a job: ask what became of it, wait for its result, cancel it. From anywhere that has its id.

It follows the habits of concurrent.futures. It knows the app only as Records.
"""

import asyncio
import time
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from .client import Records
from .codec import decode_value
from .errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobUnknown,
    ResultNotKept,
    ResultTimeout,
)
from .job import JobId, JobRecord, JobState, Progress
from .outcome import NONE, PREDECESSOR_FAILED
from .ports import ResultsPolicy
from .watching import JobUpdate, Stream, updates

R = TypeVar("R")


class JobHandle(Generic[R]):
    """One job, known by its id."""

    __slots__ = ("_records", "_results", "_returns", "id")

    def __init__(self, id: JobId, records: Records, returns: Any = Any, results: ResultsPolicy = "all") -> None:
        self.id = id
        self._records = records
        self._returns = returns
        self._results = results

    def record(self) -> JobRecord | None:
        """Return everything that is known of the job, or None where it is unknown."""
        return self._records.load((self.id,))[0]

    @property
    def status(self) -> JobState | None:
        """The job's state; None where the job is unknown: never enqueued here, or no longer kept.

        A job that waits for its turn is known, and its state is ``queued``.
        """
        record = self.record()
        return record.state if record else None

    def done(self) -> bool:
        """Return whether the job has finished, well or not. A job that is no longer kept has finished."""
        record = self.record()
        return record is None or record.state.finished

    @property
    def progress(self) -> Progress | None:
        """What the running code last said by ``current_job().progress(done, total)``."""
        record = self.record()
        return record.progress if record else None

    @property
    def logs(self) -> tuple[str, ...]:
        """The last lines that the job has logged, oldest first; see `worklist.core.joblog` for how many."""
        record = self.record()
        return record.logs if record else ()

    def updates(self, timeout: float | None = None) -> Stream[JobUpdate]:
        """Iterate, with ``for`` or ``async for``, over how the job stands: now, then whenever it has changed.

        An update holds `state`, `attempt`, `progress`, and the `lines` logged since the one before. The last one has
        the state in which the job finished. A job whose record is removed meanwhile just ends the iteration. A slow
        reader misses what lies between, and never the last. Raises JobUnknown where the job is unknown at the
        beginning, and ResultTimeout where it has not finished after `timeout` seconds.
        """
        return updates(self._records, self.id, timeout)

    def cancel(self) -> bool:
        """Cancel the job if it is queued, ask it to stop if it runs; return whether that was possible."""
        return bool(self._records.change((self.id,), "cancel"))

    def retry(self) -> bool:
        """Queue a finished job again, with all its attempts; return whether that was possible."""
        return bool(self._records.change((self.id,), "retry"))

    def result(self, timeout: float | None = None) -> R:
        """Wait for the job to finish and return what its function returned, as the annotated type.

        `timeout` is in seconds. Raises JobFailed, JobCancelled, JobExpired, ResultTimeout, JobUnknown, or
        ResultNotKept where the task keeps no results.
        """
        self._refuse_not_kept()
        return self._unwrap(wait_finished(self._records, self.id, timeout))

    def __await__(self) -> Generator[Any, None, R]:
        return self._wait().__await__()

    async def _wait(self) -> R:
        self._refuse_not_kept()
        return self._unwrap(await asyncio.wrap_future(self._records.watch(self.id)))

    def _refuse_not_kept(self) -> None:
        if self._results != "all":
            raise ResultNotKept(
                f"job {self.id}: its task has results={self._results!r}, so a result is never kept; "
                "declare it with results='all' to wait for results"
            )

    def _unwrap(self, record: JobRecord | None) -> R:
        if record is None:
            raise JobUnknown(f"job {self.id} is not known: never enqueued here, or its record is no longer kept")
        if record.state is JobState.SUCCEEDED:
            return decode_value(record.result or NONE, self._returns)  # type: ignore[no-any-return]
        raise failure(record)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"


def failure(record: JobRecord) -> Exception:
    """Return the exception that tells how a finished job did not succeed."""
    if record.state is JobState.EXPIRED:
        return JobExpired(f"job {record.id} ({record.task}) was not started before it expired")
    if record.state is JobState.CANCELLED and record.errors and record.errors[-1].type == PREDECESSOR_FAILED:
        reason = record.errors[-1].message
        return JobFailed(f"{record.task} did not run, since {reason}", PREDECESSOR_FAILED, reason)
    if record.state is JobState.CANCELLED:
        return JobCancelled(f"job {record.id} ({record.task}) was cancelled")
    if not record.errors:
        return JobFailed(f"job {record.id} ({record.task}) failed")
    last = record.errors[-1]
    message = f"{record.task} failed after {record.attempt} attempt(s): {last.type}: {last.message}"
    if last.traceback:
        message += "\n\nIn the worker:\n" + last.traceback.rstrip()
    return JobFailed(message, last.type, last.message, last.traceback)


def wait_finished(records: Records, id: JobId, timeout: float | None) -> JobRecord | None:
    """Return the record of a job once it has finished, or None where it is unknown. Raises ResultTimeout."""
    start = time.monotonic()
    while True:
        record = records.load((id,))[0]
        if record is None or record.state.finished:
            return record
        if not pause(records, start, timeout, longest=0.02):
            raise ResultTimeout(f"job {id} ({record.task}) is still {record.state} after {timeout:g} s")


def pause(records: Records, begun: float, timeout: float | None, longest: float) -> bool:
    """Wait until something may have changed, and up to `longest` seconds more; return False where time is over.

    `begun` is when the waiting began, by `time.monotonic`.
    """
    waited = time.monotonic() - begun
    left = 60.0 if timeout is None else timeout - waited
    if left <= 0:
        return False
    records.wait_change(min(left, 60.0))
    time.sleep(min(longest, waited / 10, left))  # the longer it takes, the less a little more matters
    return True
