"""The queue in this process's memory: the model that the other brokers are tested against.

Written to be read, not to be fast: every verb is a few plain loops over dictionaries, except that due jobs stand in
heaps. Nothing outlives the process. Lanes and groups are rooms of their own.
"""

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import msgspec

from ...core.bounds import within
from ...core.codec import Codec
from ...core.errors import ConfigError
from ...core.job import FOREVER, KEEP_UNRUN, ErrorInfo, GroupId, Job, JobId, JobRecord, JobState
from ...core.lane import Lane, LaneLimits
from ...core.outcome import HAND_BACK, PREDECESSOR_FAILED, Cancel, Done, Fail, Retry, Snooze, lost_worker
from ...core.ports import (
    Capabilities,
    Change,
    Extended,
    Filter,
    GroupRecord,
    LaneChange,
    Lease,
    Report,
    Settlement,
    WorkerInfo,
)
from ...core.schedule import Schedule
from .groups import MemoryGroups, made_at
from .lanes import MemoryLanes
from .rows import Row, kept_row
from .schedules import MemorySchedules


@dataclass(slots=True)
class _Held:
    """One numbered lease call: who holds it, until when, and the tokens of its jobs."""

    worker: str
    until: float
    tokens: set[int]


_REPLACED = (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)
"""The ends of jobs of another broker after which there may come another one."""
_Entry = tuple[int, int, int]
"""Of a ready job: minus its priority, its token, and the place that makes the entry valid."""


class MemoryBroker(MemorySchedules):
    """A Store in memory. `clock` returns unix seconds; tests pass one that they move."""

    capabilities = Capabilities(durable=False)

    def __init__(self, codec: Codec | None = None, clock: Callable[[], float] = time.time) -> None:
        self._codec = codec or Codec()
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._tokens = itertools.count(1)
        self._numbers = itertools.count(1)
        self._rows: dict[int, Row] = {}
        self._by_id: dict[JobId, Row] = {}
        self._ready: dict[tuple[str, str | None], list[_Entry]] = {}  # by queue and lane
        self._delayed: list[tuple[float, int, int]] = []  # heap of (due, token, place)
        self._leases: dict[int, _Held] = {}
        self._keys: dict[str, tuple[JobId, float]] = {}  # key -> (holder, until); 0 until it has finished
        self._paused: set[str] = set()
        self._workers: dict[str, tuple[WorkerInfo, float]] = {}
        self._schedules: dict[str, Schedule] = {}
        self._lanes = MemoryLanes()
        self._groups = MemoryGroups(self._release_waiting, self._cancel_waiting, self._hold_again)

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        with self._changed:
            ids = self._put_all(jobs, self._clock())
            self._groups.follow(self._clock())
            self._notify()
        return ids

    def _put_all(self, jobs: Sequence[Job], now: float) -> list[JobId]:
        for job in jobs:
            if job.ties is not None and job.ties.group is not None and job.id not in self._by_id:
                self._groups.refuse_ended(job.ties.group)
        for job in jobs:
            self._declare(job, now)
        waits = [job.ties is not None and job.ties.after is not None for job in jobs]
        numbered = [(job, next(self._tokens), it_waits) for job, it_waits in zip(jobs, waits, strict=True)]
        ids = {job.id: self._put(job, token, now) for job, token, it_waits in numbered if not it_waits}
        ids |= {job.id: self._put(job, token, now) for job, token, it_waits in numbered if it_waits}
        for job in jobs:
            if job.key is not None and job.ties is not None and job.ties.group is not None:
                self._groups.look(job.ties.group)  # it may not have been added, as the only one
        return [ids[job.id] for job in jobs]

    def _put(self, job: Job, token: int, now: float) -> JobId:
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
        row = Row(token, job, self._codec.encode(job), now, job.due(now))
        self._rows[row.token] = self._by_id[job.id] = row
        if row.ties.group is not None:
            self._groups.join(row, row.ties.group, now)
        if row.ties.after is not None:
            row.state = JobState.WAITING
            self._groups.wait(row, self._by_id.get(row.ties.after), now)
        else:
            self._make_due(row, now)
        return job.id

    def _declare(self, job: Job, now: float) -> None:
        """Make the lane and the group that a job names, where they do not exist."""
        ties = job.ties
        if ties is not None and ties.lane is not None:
            self._lanes.declare(ties.lane, ties.limits)
        if ties is not None and ties.group is not None:
            self._groups.find(ties.group, now)
        if ties is not None and ties.after is not None and ties.after.startswith("g"):
            self._groups.find(ties.after, now).collects |= ties.takes

    def _holder(self, key: str, now: float) -> JobId | None:
        holder, until = self._keys.get(key, (None, 0.0))
        if holder is not None and until and until <= now:
            del self._keys[key]
            return None
        return holder

    def _rewrite(self, row: Row, job: Job, now: float) -> None:
        """Debounce: a queued job takes over the newer call's arguments, due time and lane, and keeps its id."""
        row.body, row.enqueued, row.due = self._codec.encode(job), now, job.due(now)
        lane = job.ties.lane if job.ties is not None else None
        row.job = msgspec.structs.replace(job, ties=msgspec.structs.replace(row.ties, lane=lane))
        self._keys[job.key or ""] = (job.id, now + job.hold if job.hold else 0.0)
        self._make_due(row, now)

    def _make_due(self, row: Row, now: float) -> None:
        """Give a queued job its place in a heap; the places that it had before are skipped when they come up."""
        row.place += 1
        if row.due <= now:
            heapq.heappush(self._heap(row), (-row.job.priority, row.token, row.place))
            if row.lane is not None:
                self._lanes.line_up(row.lane, row.job.queue, row.ties.limits or LaneLimits())
        else:
            heapq.heappush(self._delayed, (row.due, row.token, row.place))

    def _heap(self, row: Row) -> "list[_Entry]":
        return self._ready.setdefault((row.job.queue, row.lane), [])

    def _at(self, token: int, place: int) -> Row | None:
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
            taken: list[Row] = []
            for queue in dict.fromkeys(queues):
                taken += self._take(queue, limit - len(taken), now)
            self._groups.follow(now)
            if not taken:
                return []
            number = next(self._numbers)
            self._leases[number] = _Held(worker, now + seconds, {row.token for row in taken})
            return [self._start(row, worker, number, now) for row in taken]

    def _start(self, row: Row, worker: str, number: int, now: float) -> Lease:
        row.state, row.worker, row.number, row.started = JobState.RUNNING, worker, number, now
        row.attempt += 1
        tied = int(row.job.ties is not None)
        return Lease(row.job.id, row.token, row.body, row.attempt, row.lost, number, row.job.key, tied, row.given)

    def _take(self, queue: str, limit: int, now: float) -> list[Row]:
        """Take jobs from a queue: those of its lanes and those in none by turn."""
        if queue in self._paused or limit <= 0:
            return []
        is_late = partial(self._expire_late, now=now)
        while (served := self._lanes.serve(queue, limit, now, lambda lane: _Ready(self, queue, lane), is_late)) == []:
            pass  # the lanes that were looked at had no job left: on to others
        if served is not None:
            return served
        ready = iter(_Ready(self, queue, None).pop, None)
        return list(itertools.islice((row for row in ready if not is_late(row)), limit))

    def _expire_late(self, row: Row, now: float) -> bool:
        if row.expires_at > now:
            return False
        self._finish(row, JobState.EXPIRED, now, keep=KEEP_UNRUN)
        return True

    def take_ready(self, queue: str, lane: str | None) -> Row | None:
        """Take the next ready job out of its heap."""
        heap = self._ready.get((queue, lane), [])
        while heap:
            _, token, place = heapq.heappop(heap)
            row = self._at(token, place)
            if row is not None:
                return row
        return None

    def put_back(self, row: Row) -> None:
        """Give a ready job its place in its heap again."""
        heapq.heappush(self._heap(row), (-row.job.priority, row.token, row.place))

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
                self._leave_lane(row)
                error = lost_worker(row.worker, row.attempt, now)
                if row.cancelling:
                    self._finish(row, JobState.CANCELLED, now, keep=KEEP_UNRUN)
                elif row.lost > row.job.redeliveries:
                    row.errors.append(error)
                    self._finish(row, JobState.FAILED, now, keep=KEEP_UNRUN)
                else:
                    self._requeue(row, now, error)

    def _requeue(self, row: Row, due: float, error: ErrorInfo | None = None) -> None:
        row.state, row.due, row.number, row.worker, row.cancelling = JobState.QUEUED, due, 0, None, False
        row.started = None
        if error is not None:
            row.errors.append(error)
        self._make_due(row, self._clock())

    def _leave_lane(self, row: Row, unused: int = 0) -> None:
        if row.lane is not None:
            self._lanes.leave(row.lane, unused)

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

    def _leased_row(self, lease: Lease) -> Row | None:
        row = self._rows.get(lease.token)
        return row if row is not None and row.state is JobState.RUNNING and row.number == lease.number else None

    # -- settling -------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down outcomes (see Broker.settle)."""
        with self._changed:
            now = self._clock()
            followers: list[Job] = []
            for settlement in settlements:
                row = self._leased_row(settlement.lease)
                if row is not None:
                    self._settle(row, settlement, now)
                    followers += settlement.followers if type(settlement.outcome) is Done else ()
            self._put_all(self._wanted(followers), now)
            self._groups.follow(now)
            self._notify()

    def _settle(self, row: Row, settlement: Settlement, now: float) -> None:
        self._release(row)
        self._leave_lane(row, int(settlement.outcome is HAND_BACK))
        row.progress = settlement.progress or row.progress
        row.logs = tuple(settlement.logs) or row.logs
        keep = settlement.keep if settlement.results != "none" else None
        keep_result = keep if settlement.results == "all" else None
        if self._groups.collects(row):
            keep = keep_result = math.inf
        match settlement.outcome:
            case Done(result):
                row.result = result
                self._finish(row, JobState.SUCCEEDED, now, keep_result)
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

    def _wanted(self, followers: Sequence[Job]) -> list[Job]:
        """Return the followers but for those that their group does not take: it was called off, or is full."""
        named = {job.ties.group for job in followers if job.ties is not None and job.ties.group is not None}
        rooms = {id: self._groups.room(id) for id in named}
        now = self._clock()
        bounds = {id: room for id, room in rooms.items() if room is not None}
        return within(followers, bounds, lambda key: self._holder(key, now) is not None)

    def _release_waiting(self, row: Row) -> None:
        """Make a job due that has waited."""
        now = self._clock()
        row.state, row.due = JobState.QUEUED, row.job.due(now)
        self._make_due(row, now)

    def _cancel_waiting(self, row: Row, error: ErrorInfo) -> None:
        row.errors.append(error)
        self._finish(row, JobState.CANCELLED, self._clock(), keep=KEEP_UNRUN)

    def _release(self, row: Row) -> None:
        held = self._leases.get(row.number)
        if held is not None:
            held.tokens.discard(row.token)
            if not held.tokens:
                del self._leases[row.number]

    def _finish(self, row: Row, state: JobState, now: float, keep: float | None) -> None:
        """End a job. `keep` is how long its record is kept; None forgets it at once."""
        row.state, row.finished, row.cancelling, row.worker = state, now, False, None
        row.forget_at = now + (keep or 0.0)
        self._give_key_back(row)
        self._groups.note_end(row)
        if keep is None:
            self._forget(row)

    def _give_key_back(self, row: Row) -> None:
        if row.job.key is not None and self._keys.get(row.job.key) == (row.job.id, 0.0):
            del self._keys[row.job.key]

    def _forget(self, row: Row) -> None:
        del self._rows[row.token]
        del self._by_id[row.job.id]
        self._groups.forget(row)

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
            if any(self._has_work(queue, now) for queue in queues):
                return
            times = [due for due, *_ in self._delayed[:1]] + [held.until for held in self._leases.values()]
            times.append(self._lanes.opens(now))
            self._changed.wait(max(0.0, min([seconds, *(at - now for at in times)])))

    def _has_work(self, queue: str, now: float) -> bool:
        ready = self._ready.get((queue, None)) or self._lanes.is_open(queue, now)
        return bool(ready) and queue not in self._paused

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Keep the records of another broker's jobs (see ResultStore.keep)."""
        with self._changed:
            now = self._clock()
            for record in records:
                there = self._by_id.get(record.id)
                if there is not None:
                    if there.state not in _REPLACED or there.attempt > record.attempt:
                        continue
                    self._forget(there)
                row = kept_row(next(self._tokens), record, now + seconds)
                self._rows[row.token] = self._by_id[record.id] = row
            self._notify()

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
            self._groups.follow(now)
            old = [row for row in rows if row.state.finished and row.forget_at <= now][: limit - len(late)]
            old += self._groups.prune(limit - len(late) - len(old), now)
            for row in old:
                self._forget(row)
            self._lanes.drop_idle(now)
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

    def _record(self, row: Row) -> JobRecord:
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
            lane=row.lane,
            group=row.group,
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

    def _change(self, row: Row, change: Change) -> bool:
        now = self._clock()
        match change, row.state:
            case "cancel", JobState.QUEUED | JobState.WAITING:
                self._finish(row, JobState.CANCELLED, now, keep=KEEP_UNRUN)
            case "cancel", JobState.RUNNING:
                row.cancelling = True
            case "retry", state if state.finished:
                return self._retry(row, now)
            case "delete", state if state.finished:
                self._give_key_back(row)
                self._forget(row)
            case "delete", state if state is not JobState.RUNNING:
                self._finish(row, JobState.CANCELLED, now, keep=None)
            case _:
                return False
        self._groups.follow(now)
        return True

    def _retry(self, row: Row, now: float) -> bool:
        """Queue a finished job again, unless its key has gone to another one, or it lacks what it waited for."""
        state = row.state
        if state is JobState.CANCELLED and row.errors and row.errors[-1].type == PREDECESSOR_FAILED:
            return False
        if not self._hold_again(row):
            return False
        row.job = msgspec.structs.replace(row.job, expires=None)
        row.attempt = row.lost = 0
        row.result = row.finished = None
        row.progress, row.logs = None, ()
        self._requeue(row, now)
        self._groups.retried(row, state)
        return True

    def _hold_again(self, row: Row) -> bool:
        """Give a job its key back, if it has one; return False where another one holds it."""
        now = self._clock()
        if row.job.key is None:
            return True
        if self._holder(row.job.key, now) not in (None, row.job.id):
            return False
        if row.job.hold != FOREVER:
            self._keys[row.job.key] = (row.job.id, now + row.job.hold if row.job.hold else 0.0)
        return True

    def purge(self, queue: str, state: JobState) -> int:
        """Remove every job of a queue in one state."""
        with self._changed:
            rows = [row for row in self._rows.values() if (row.job.queue, row.state) == (queue, state)]
            removed = sum(self._change(row, "delete") for row in rows)
            self._groups.follow(self._clock())
            self._notify()
            return removed

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue."""
        with self._changed:
            (self._paused.add if paused else self._paused.discard)(queue)
            self._notify()

    # -- groups ---------------------------------------------------------------------------------------------

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group that does not end before it is sealed (see Groups.open_group)."""
        with self._changed:
            self._groups.open(id, most, self._clock())

    def seal_group(self, id: GroupId) -> None:
        """Let a group end."""
        with self._changed:
            self._groups.seal(id)
            self._groups.follow(self._clock())
            self._notify()

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Return what is known of groups."""
        with self._changed:
            return [self._groups.record(id) for id in ids]

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended, in the order of their end."""
        with self._changed:
            ended = [row for row in self._groups.members(id) if row.finished is not None]
            ended.sort(key=lambda row: (row.finished or 0.0, *made_at(row)))
            since = ended_after or (-1.0, "")
            rest = [row for row in ended if (row.finished or 0.0, row.job.id) > since]
            return [self._record(row) for row in rest[:limit]]

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of all members in the order in which they were made."""
        with self._changed:
            return [row.result for row in self._groups.members(id)]

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop."""
        with self._changed:
            self._groups.call_off(id)
            members = [row for row in self._groups.members(id) if not (row.state.finished or row.cancelling)]
            for row in members:
                if row.state is JobState.RUNNING:
                    row.cancelling = True
                else:
                    self._finish(row, JobState.CANCELLED, self._clock(), keep=KEEP_UNRUN)
            self._groups.follow(self._clock())
            self._notify()
            return len(members)

    # -- lanes ----------------------------------------------------------------------------------------------

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes as they are now."""
        with self._changed:
            wanted = sorted(self._lanes.all) if names is None else [name for name in names if name in self._lanes.all]
            return [self._lane(name) for name in wanted]

    def _lane(self, name: str) -> Lane:
        heaps = (heap for (_, lane), heap in self._ready.items() if lane == name)
        queued = sum(self._at(token, place) is not None for heap in heaps for _, token, place in heap)
        return msgspec.structs.replace(self._lanes.all[name], queued=queued)

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        with self._changed:
            self._lanes.change(name, change)
            self._notify()

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether only their lanes keep jobs from being leased (see Broker.held_back)."""
        with self._changed:
            now = self._clock()
            lines = [(queue, lane) for queue in queues for lane in self._lanes.not_paused(queue, now)]
            return any(self._is_ready(queue, lane) for queue, lane in lines if queue not in self._paused)

    def _is_ready(self, queue: str, lane: str) -> bool:
        heap = self._ready.get((queue, lane), [])
        return any(self._at(token, place) is not None for _, token, place in heap)


class _Ready:
    """The ready jobs of a queue that are in one lane, or in none, as a heap."""

    def __init__(self, broker: MemoryBroker, queue: str, lane: str | None) -> None:
        self._broker = broker
        self._queue = queue
        self._lane = lane

    def pop(self) -> Row | None:
        return self._broker.take_ready(self._queue, self._lane)

    def put_back(self, row: Row) -> None:
        self._broker.put_back(row)


def _fits(row: Row, wanted: Filter) -> bool:
    return (
        wanted.state in (None, row.state)
        and wanted.queue in (None, row.job.queue)
        and wanted.task in (None, row.job.task)
    )
