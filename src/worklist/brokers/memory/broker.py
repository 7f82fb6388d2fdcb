"""The queue in this process's memory: the model that the other brokers are tested against.

Written to be read, not to be fast: every verb is a few plain loops over dictionaries, except that due jobs stand in
heaps. Nothing outlives the process.
"""

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import get_args

import msgspec

from ...core.codec import Codec
from ...core.errors import ConfigError
from ...core.job import FOREVER, KEEP_UNRUN, ErrorInfo, Job, JobId, JobRecord, JobState, Progress
from ...core.outcome import Cancel, Done, Fail, Retry, Snooze, lost_worker
from ...core.ports import (
    Capabilities,
    Change,
    Extended,
    Filter,
    Lease,
    Report,
    Settlement,
    WorkerInfo,
)
from ...core.schedule import Schedule
from .schedules import MemorySchedules


@dataclass(eq=False, slots=True)
class _Row:
    """All that is known of one job."""

    token: int
    job: Job
    body: bytes
    enqueued: float
    due: float
    state: JobState = JobState.QUEUED
    place: int = 0
    """Which of its entries in the heaps is the valid one: the newest."""
    number: int = 0
    attempt: int = 0
    lost: int = 0
    started: float | None = None
    finished: float | None = None
    forget_at: float = math.inf
    worker: str | None = None
    cancelling: bool = False
    result: bytes | None = None
    errors: list[ErrorInfo] = field(default_factory=list)
    progress: Progress | None = None
    logs: tuple[str, ...] = ()

    @property
    def expires_at(self) -> float:
        return math.inf if self.job.expires is None else self.enqueued + self.job.expires


@dataclass(slots=True)
class _Held:
    """One numbered lease call: who holds it, until when, and the tokens of its jobs."""

    worker: str
    until: float
    tokens: set[int]


class MemoryBroker(MemorySchedules):
    """A Store in memory. `clock` returns unix seconds; tests pass one that they move."""

    capabilities = Capabilities(durable=False)

    def __init__(self, codec: Codec | None = None, clock: Callable[[], float] = time.time) -> None:
        self._codec = codec or Codec()
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._tokens = itertools.count(1)
        self._numbers = itertools.count(1)
        self._rows: dict[int, _Row] = {}
        self._by_id: dict[JobId, _Row] = {}
        self._ready: dict[str, list[tuple[int, int, int]]] = {}  # heaps of (-priority, token, place)
        self._delayed: list[tuple[float, int, int]] = []  # heap of (due, token, place)
        self._leases: dict[int, _Held] = {}
        self._keys: dict[str, tuple[JobId, float]] = {}  # key -> (holder, until); 0 until it has finished
        self._paused: set[str] = set()
        self._workers: dict[str, tuple[WorkerInfo, float]] = {}
        self._schedules: dict[str, Schedule] = {}

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        with self._changed:
            ids = [self._put(job, self._clock()) for job in jobs]
            self._notify()
        return ids

    def _put(self, job: Job, now: float) -> JobId:
        if job.id in self._by_id:
            return job.id
        if job.key is not None:
            holder = self._holder(job.key, now)
            if holder is not None and not job.replace:
                return holder
            row = self._by_id.get(holder) if holder is not None else None
            if row is not None and row.state is JobState.QUEUED:
                self._rewrite(row, msgspec.structs.replace(job, id=row.job.id), now)
                return row.job.id
            self._keys[job.key] = (job.id, now + job.hold if job.hold else 0.0)
        row = _Row(next(self._tokens), job, self._codec.encode(job), now, job.due(now))
        self._rows[row.token] = self._by_id[job.id] = row
        self._make_due(row, now)
        return job.id

    def _holder(self, key: str, now: float) -> JobId | None:
        holder, until = self._keys.get(key, (None, 0.0))
        if holder is not None and until and until <= now:
            del self._keys[key]
            return None
        return holder

    def _rewrite(self, row: _Row, job: Job, now: float) -> None:
        """Debounce: a queued job takes over the newer call's arguments and due time, and keeps its id."""
        row.job, row.body, row.enqueued, row.due = job, self._codec.encode(job), now, job.due(now)
        self._keys[job.key or ""] = (job.id, now + job.hold if job.hold else 0.0)
        self._make_due(row, now)

    def _make_due(self, row: _Row, now: float) -> None:
        """Give a queued job its place in a heap; the places that it had before are skipped when they come up."""
        row.place += 1
        if row.due <= now:
            heapq.heappush(self._ready.setdefault(row.job.queue, []), (-row.job.priority, row.token, row.place))
        else:
            heapq.heappush(self._delayed, (row.due, row.token, row.place))

    def _at(self, token: int, place: int) -> _Row | None:
        row = self._rows.get(token)
        return row if row is not None and row.state is JobState.QUEUED and row.place == place else None

    # -- leasing --------------------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs (see Broker.lease)."""
        if limit <= 0:
            return []
        with self._changed:
            now = self._clock()
            self._lapse(now)
            self._promote(now)
            taken = list(itertools.islice(self._due_rows(queues, now), limit))
            if not taken:
                return []
            number = next(self._numbers)
            self._leases[number] = _Held(worker, now + seconds, {row.token for row in taken})
            return [self._start(row, worker, number, now) for row in taken]

    def _start(self, row: _Row, worker: str, number: int, now: float) -> Lease:
        row.state, row.worker, row.number, row.started = JobState.RUNNING, worker, number, now
        row.attempt += 1
        return Lease(row.job.id, row.token, row.body, row.attempt, row.lost, number)

    def _due_rows(self, queues: Sequence[str], now: float) -> Iterator[_Row]:
        for queue in queues:
            heap = self._ready.get(queue, [])
            while heap and queue not in self._paused:
                _, token, place = heapq.heappop(heap)
                row = self._at(token, place)
                if row is None:
                    continue
                if row.expires_at <= now:
                    self._finish(row, JobState.EXPIRED, now, keep=KEEP_UNRUN)
                    continue
                yield row

    def _promote(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, token, place = heapq.heappop(self._delayed)
            row = self._at(token, place)
            if row is not None:
                self._make_due(row, now)

    def _lapse(self, now: float) -> None:
        """Make the jobs of silent workers due again, or fail those that too many workers died with."""
        for number in [n for n, held in self._leases.items() if held.until <= now]:
            for token in sorted(self._leases.pop(number).tokens):
                row = self._rows[token]
                row.lost += 1
                error = lost_worker(row.worker, row.attempt, now)
                if row.cancelling:
                    self._finish(row, JobState.CANCELLED, now, keep=KEEP_UNRUN)
                elif row.lost > row.job.redeliveries:
                    row.errors.append(error)
                    self._finish(row, JobState.FAILED, now, keep=KEEP_UNRUN)
                else:
                    self._requeue(row, now, error)

    def _requeue(self, row: _Row, due: float, error: ErrorInfo | None = None) -> None:
        row.state, row.due, row.number, row.worker, row.cancelling = JobState.QUEUED, due, 0, None, False
        row.started = None
        if error is not None:
            row.errors.append(error)
        self._make_due(row, self._clock())

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Renew leases (see Broker.extend)."""
        with self._changed:
            now = self._clock()
            self._workers[worker.id] = (msgspec.structs.replace(worker, seen=now), now + seconds)
            lost = {lease.number for lease in leases if self._held(lease.number, worker.id) is None}
            for lease in leases:
                held = self._held(lease.number, worker.id)
                if held is not None:
                    held.until = now + seconds
            cancelled = {row.job.id for row in map(self._leased_row, leases) if row is not None and row.cancelling}
            return Extended(frozenset(lost), frozenset(cancelled))

    def _held(self, number: int, worker: str) -> _Held | None:
        held = self._leases.get(number)
        return held if held is not None and held.worker == worker else None

    def _leased_row(self, lease: Lease) -> _Row | None:
        row = self._rows.get(lease.token)
        return row if row is not None and row.state is JobState.RUNNING and row.number == lease.number else None

    # -- settling -------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down outcomes (see Broker.settle)."""
        with self._changed:
            now = self._clock()
            for settlement in settlements:
                row = self._leased_row(settlement.lease)
                if row is not None:
                    self._settle(row, settlement, now)
            self._notify()

    def _settle(self, row: _Row, settlement: Settlement, now: float) -> None:
        self._release(row)
        row.progress = settlement.progress or row.progress
        row.logs = tuple(settlement.logs) or row.logs
        keep = settlement.keep if settlement.results != "none" else None
        match settlement.outcome:
            case Done(result):
                row.result = result
                self._finish(row, JobState.SUCCEEDED, now, keep if settlement.results == "all" else None)
            case Fail(error):
                row.errors.append(error)
                self._finish(row, JobState.FAILED, now, keep)
            case Cancel():
                self._finish(row, JobState.CANCELLED, now, keep)
            case Retry() | Snooze() if row.cancelling:
                self._finish(row, JobState.CANCELLED, now, keep)
            case Retry(delay=delay, error=error):
                self._requeue(row, now + (delay or 0.0), error)
            case Snooze(delay=delay):
                row.attempt -= 1
                self._requeue(row, now + delay)

    def _release(self, row: _Row) -> None:
        held = self._leases.get(row.number)
        if held is not None:
            held.tokens.discard(row.token)
            if not held.tokens:
                del self._leases[row.number]

    def _finish(self, row: _Row, state: JobState, now: float, keep: float | None) -> None:
        """End a job. `keep` is how long its record is kept; None forgets it at once."""
        row.state, row.finished, row.cancelling, row.worker = state, now, False, None
        row.forget_at = now + (keep or 0.0)
        if row.job.key is not None and self._keys.get(row.job.key) == (row.job.id, 0.0):
            del self._keys[row.job.key]
        if keep is None:
            self._forget(row)

    def _forget(self, row: _Row) -> None:
        del self._rows[row.token]
        del self._by_id[row.job.id]

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease (see Broker.exchange)."""
        with self._changed:
            self.settle(settlements)
            return self.lease(worker, queues, limit, seconds)

    def report(self, reports: Sequence[Report]) -> None:
        """Note what running jobs say of themselves."""
        with self._changed:
            for report in reports:
                row = self._leased_row(report.lease)
                if row is not None:
                    row.progress = report.progress or row.progress
                    row.logs = row.logs if report.logs is None else tuple(report.logs)
            self._notify()

    # -- waiting --------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for work (see Broker.wait)."""
        with self._changed:
            now = self._clock()
            self._promote(now)
            if any(self._ready.get(queue) and queue not in self._paused for queue in queues):
                return
            times = [due for due, *_ in self._delayed[:1]] + [held.until for held in self._leases.values()]
            self._changed.wait(max(0.0, min([seconds, *(at - now for at in times)])))

    def wait_change(self, seconds: float) -> None:
        """Wait until any job has changed."""
        with self._changed:
            self._changed.wait(min(seconds, 0.05))

    def _notify(self) -> None:
        self._changed.notify_all()

    def wake(self) -> None:
        """Make every wait return."""
        with self._changed:
            self._changed.notify_all()

    def goodbye(self, worker: str) -> None:
        """Forget a worker."""
        with self._changed:
            self._workers.pop(worker, None)

    def prune(self, limit: int) -> int:
        """Forget finished jobs whose time is over, and expire what waited too long."""
        with self._changed:
            now = self._clock()
            rows = list(self._rows.values())
            late = [row for row in rows if row.state is JobState.QUEUED and row.expires_at <= now][:limit]
            for row in late:
                self._finish(row, JobState.EXPIRED, now, keep=KEEP_UNRUN)
            old = [row for row in rows if row.state.finished and row.forget_at <= now][: limit - len(late)]
            for row in old:
                self._forget(row)
            self._workers = {id: (info, until) for id, (info, until) in self._workers.items() if until > now}
            self._notify()
            return len(old) + len(late)

    def close(self) -> None:
        """Let those that wait go."""
        self.wake()

    # -- looking --------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return the records of jobs (see ResultStore.load)."""
        with self._changed:
            rows = [self._by_id.get(id) for id in ids]
            return [None if row is None else self._record(row) for row in rows]

    def _record(self, row: _Row) -> JobRecord:
        return JobRecord(
            id=row.job.id,
            task=row.job.task,
            queue=row.job.queue,
            state=row.state,
            body=row.body,
            priority=row.job.priority,
            attempt=row.attempt,
            lost=row.lost,
            enqueued=row.enqueued,
            due=row.due if row.state is JobState.QUEUED else None,
            started=row.started,
            finished=row.finished,
            worker=row.worker,
            key=row.job.key,
            expires=None if row.job.expires is None else row.expires_at,
            cancelling=row.cancelling,
            result=row.result,
            errors=tuple(row.errors),
            progress=row.progress,
            logs=row.logs,
        )

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Return how many jobs each queue has in each state."""
        with self._changed:
            counts: dict[str, dict[JobState, int]] = {}
            for row in self._rows.values():
                of_queue = counts.setdefault(row.job.queue, {})
                of_queue[row.state] = of_queue.get(row.state, 0) + 1
            return counts

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return the jobs that fit a filter."""
        with self._changed:
            rows = sorted(self._rows.values(), key=lambda row: row.token, reverse=wanted.newest_first)
            fitting = (row for row in rows if _fits(row, wanted))
            return [self._record(row) for row in itertools.islice(fitting, wanted.limit)]

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that are alive."""
        with self._changed:
            now = self._clock()
            return [info for info, until in self._workers.values() if until > now]

    def paused(self) -> list[str]:
        """Return the paused queues."""
        return sorted(self._paused)

    # -- changing -------------------------------------------------------------------------------------------

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs (see Inspector.change)."""
        if change not in get_args(Change):
            raise ConfigError(f"a job cannot be changed by {change!r}; expected cancel, retry or delete")
        with self._changed:
            changed = [id for id in ids if id in self._by_id and self._change(self._by_id[id], change)]
            self._notify()
            return changed

    def _change(self, row: _Row, change: Change) -> bool:
        now = self._clock()
        match change, row.state:
            case "cancel", JobState.QUEUED:
                self._finish(row, JobState.CANCELLED, now, keep=KEEP_UNRUN)
            case "cancel", JobState.RUNNING:
                row.cancelling = True
            case "retry", state if state.finished:
                return self._retry(row, now)
            case "delete", state if state is not JobState.RUNNING:
                self._finish(row, JobState.CANCELLED, now, keep=None)
            case _:
                return False
        return True

    def _retry(self, row: _Row, now: float) -> bool:
        """Queue a finished job again, unless its key has gone to another one."""
        if row.job.key is not None:
            holder = self._holder(row.job.key, now)
            if holder not in (None, row.job.id):
                return False
            if row.job.hold != FOREVER:
                self._keys[row.job.key] = (row.job.id, now + row.job.hold if row.job.hold else 0.0)
        row.job = msgspec.structs.replace(row.job, expires=None)
        row.attempt = row.lost = 0
        row.result = row.finished = None
        row.progress, row.logs = None, ()
        self._requeue(row, now)
        return True

    def purge(self, queue: str, state: JobState) -> int:
        """Remove every job of a queue in one state."""
        with self._changed:
            rows = [row for row in self._rows.values() if (row.job.queue, row.state) == (queue, state)]
            removed = sum(self._change(row, "delete") for row in rows)
            self._notify()
            return removed

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue."""
        with self._changed:
            (self._paused.add if paused else self._paused.discard)(queue)
            self._notify()


def _fits(row: _Row, wanted: Filter) -> bool:
    return (
        wanted.state in (None, row.state)
        and wanted.queue in (None, row.job.queue)
        and wanted.task in (None, row.job.task)
    )
