"""The queue on one SQLite file: no server, several processes, survives them all.

Every verb is one transaction of few statements, whatever the number of jobs in it. What makes it fast: a job's row
is written three times in its life (put, lease, settle), stands where its id says, and has no index entry but, until
it is leased, its place in the queue. Leases and retention are kept per call, not per job: docs/decisions/0002.
"""

import functools
import itertools
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from ...core.codec import Codec
from ...core.errors import ConfigError, UndecodableJob
from ...core.job import FOREVER, KEEP_UNRUN, ErrorInfo, Job, JobId, JobRecord, JobState, Progress
from ...core.outcome import Cancel, Done, Fail, Retry, Snooze, lost_worker
from ...core.ports import Capabilities, Change, Extended, Filter, Lease, Report, Settlement, WorkerInfo
from .. import sql
from .file import Durability, SqliteFile
from .filewatch import FileWatch, watch_file
from .schedules import SqliteSchedules

SQL = sql.load_statements("sqlite", "statements.sql")

READY, DELAYED, RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED = range(7)
_STATES = (
    JobState.QUEUED,
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.EXPIRED,
)
_CODES: dict[JobState, tuple[int, ...]] = {
    state: tuple(code for code, it in enumerate(_STATES) if it is state) for state in JobState
}
_DAMAGED = Job("", "")
_NOWHERE = -1000
_MAX_PLACE = (1 << 63) - 1000
_ROWS = 50
"""How many jobs one INSERT carries at most."""
_encode = msgspec.msgpack.Encoder().encode
_decode_errors = msgspec.msgpack.Decoder(tuple[ErrorInfo, ...]).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode
_decode_logs = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_decode_worker = msgspec.msgpack.Decoder(WorkerInfo).decode


class SqliteBroker(SqliteSchedules):
    """A Store on one file. `clock` returns unix seconds; tests pass one that they move."""

    capabilities = Capabilities()

    def __init__(
        self,
        path: str | Path,
        codec: Codec | None = None,
        *,
        durability: Durability = "normal",
        patience: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._codec = codec or Codec()
        self._clock = clock
        self._file = SqliteFile(Path(path), durability, patience)
        self._held: dict[int, set[int]] = {}  # lease number -> jobs of it that this object has yet to settle
        self._watches = threading.local()
        self._all_watches: weakref.WeakSet[FileWatch] = weakref.WeakSet()  # a thread's watch ends with the thread
        self._watches_lock = threading.Lock()
        self._file.on_reopened = self.wake

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        now = self._clock()
        rows = [self._row(job, now) for job in jobs]
        if any(job.key is not None for job in jobs):
            with self._file.transaction() as db:
                return self._insert(db, jobs, now)
        if 0 < len(rows) <= _ROWS:
            values = rows[0] if len(rows) == 1 else [*itertools.chain.from_iterable(rows)]
            if self._file.write(_put_rows(len(rows)), values) < len(rows):
                with self._file.transaction() as db:
                    self._put_aside(db, rows)
        elif rows:
            with self._file.transaction() as db:
                for start in range(0, len(rows), _ROWS):
                    some = rows[start : start + _ROWS]
                    if db.execute(_put_rows(len(some)), [*itertools.chain.from_iterable(some)]).rowcount < len(some):
                        self._put_aside(db, some)
        return [job.id for job in jobs]

    def _insert(self, db: Connection, jobs: Sequence[Job], now: float) -> list[JobId]:
        """Add jobs inside a transaction."""
        return [self._put_keyed(db, job, self._row(job, now), now) for job in jobs]

    def _row(self, job: Job, now: float) -> tuple[Any, ...]:
        due = job.due(now) if job.delay or job.eta else now
        return (
            place_of(job.id),
            job.id,
            job.queue,
            -job.priority,
            READY if due <= now else DELAYED,
            job.task,
            now,
            due,
            None if job.expires is None else now + job.expires,
            job.key,
            self._codec.encode(job),
        )

    def _put_aside(self, db: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put those of `rows` that are not there, because another job has their place, beside it."""
        for place, id, *rest in rows:
            there, free = db.execute(SQL["find_place"], (place, id)).fetchone()
            if there is None:
                db.execute(SQL["put"], (free or place, id, *rest))

    def _put_keyed(self, db: Connection, job: Job, row: tuple[Any, ...], now: float) -> JobId:
        place, free = db.execute(SQL["find_place"], row[:2]).fetchone()
        if place is not None:
            return job.id
        place = free or row[0]
        if job.key is not None:
            holder = db.execute(SQL["holder"], (job.key,)).fetchone()
            if holder is not None and not (holder[1] and holder[1] <= now):
                id, _, seq, state = holder
                if not job.replace:
                    return str(id)
                if state in (READY, DELAYED):
                    return self._rewrite(db, msgspec.structs.replace(job, id=id), seq, now)
            db.execute(SQL["take_key"], (job.key, job.id, place, _held_until(job, now)))
        db.execute(SQL["put"], (place, *row[1:]))
        return job.id

    def _rewrite(self, db: Connection, job: Job, seq: int, now: float) -> JobId:
        """Debounce: a queued job takes over the newer call's arguments and due time, and keeps its id."""
        _, id, queue, rank, state, task, enqueued, due, expires, key, body = self._row(job, now)
        db.execute(SQL["rewrite"], (queue, rank, state, task, enqueued, due, expires, body, seq))
        db.execute(SQL["take_key"], (key, id, seq, _held_until(job, now)))
        return job.id

    # -- leasing --------------------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs (see Broker.lease)."""
        return self.exchange((), worker, queues, limit, seconds)

    def _lease(
        self, db: Connection, worker: str, queues: Sequence[str], limit: int, seconds: float, now: float
    ) -> list[Lease]:
        rows: list[tuple[Any, ...]] = []
        paused = self._do_chores(db, now)
        for queue in dict.fromkeys(queues):
            if len(rows) < limit and queue not in paused:
                rows += self._due(db, queue, limit - len(rows), now)
        if not rows:
            return []
        jobs = str([row[1] for row in rows])
        number = db.execute(SQL["hold"], (worker, now + seconds, jobs)).lastrowid or 0
        db.execute(SQL["start"], (number, now, jobs))
        return [Lease(id, seq, body, attempt, lost, number, key) for id, seq, body, attempt, lost, _, key, _ in rows]

    def _do_chores(self, db: Connection, now: float) -> set[str]:
        """See to lapsed leases and jobs that have become due; return the paused queues."""
        lapsed, due, paused = db.execute(SQL["chores"], (now,)).fetchone()
        if lapsed:
            self._lapse(db, now)
        if due:
            db.execute(SQL["promote"], (now,))
        return {queue for (queue,) in db.execute(SQL["paused"])} if paused else set()

    def _due(self, db: Connection, queue: str, limit: int, now: float) -> list[tuple[Any, ...]]:
        while True:
            rows: list[tuple[Any, ...]] = db.execute(SQL["due"], (queue, limit)).fetchall()
            late = [(row[1], row[0], row[6]) for row in rows if row[7] is not None and row[7] <= now]
            if not late:
                return rows
            self._expire(db, late, now)

    def _expire(self, db: Connection, late: Sequence[tuple[int, JobId, str | None]], now: float) -> None:
        for seq, id, key in late:
            self._end(db, seq, id, key, EXPIRED, None, now)
        self._retain(db, {KEEP_UNRUN: [seq for seq, _, _ in late]}, now)

    def _lapse(self, db: Connection, now: float) -> None:
        """Make the jobs of silent workers due again, or fail those that too many workers died with."""
        for number, worker, jobs in db.execute(SQL["lapsed"], (now,)).fetchall():
            ended = []
            for seq, attempt, lost, cancelling, errors, body, key, id in db.execute(
                SQL["lapsed_jobs"], (number, jobs)
            ).fetchall():
                history = _with_error(errors, lost_worker(worker, attempt, now))
                if cancelling:
                    self._end(db, seq, id, key, CANCELLED, errors, now)
                elif lost >= self._decoded(body).redeliveries:
                    self._end(db, seq, id, key, FAILED, history, now)
                else:
                    db.execute(SQL["requeue"], (READY, now, attempt, lost + 1, history, seq))
                    continue
                db.execute(SQL["count_lost"], (seq,))
                ended.append(seq)
            self._retain(db, {KEEP_UNRUN: ended}, now)
            db.execute(SQL["release"], (number,))

    def _decoded(self, body: bytes) -> Job:
        """Return the stored job; where its bytes are damaged, one with the defaults, for chores to go on."""
        try:
            return self._codec.decode(body)
        except UndecodableJob:
            return _DAMAGED

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Renew leases (see Broker.extend)."""
        now = self._clock()
        until = now + seconds
        info = _encode(msgspec.structs.replace(worker, seen=now))
        with self._file.transaction() as db:
            db.execute(SQL["sign_in"], (worker.id, until, info))
            lost = [
                number
                for number in {lease.number for lease in leases}
                if not db.execute(SQL["extend"], (until, number, worker.id)).rowcount
            ]
            asked = db.execute(SQL["cancelled"], (str([lease.token for lease in leases]),)).fetchall()
        held = {(lease.token, lease.number) for lease in leases}
        return Extended(frozenset(lost), frozenset(id for id, seq, number in asked if (seq, number) in held))

    # -- settling -------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down outcomes (see Broker.settle)."""
        if settlements:
            self.exchange(settlements, "", (), 0, 0.0)

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease, in one transaction (see Broker.exchange)."""
        with self._file.transaction() as db:
            now = self._clock()
            if settlements:
                self._settle(db, settlements, now)
                for number in self._emptied(settlements):
                    db.execute(SQL["release"], (number,))
            leases = self._lease(db, worker, queues, limit, seconds, now) if limit > 0 else []
        self._note(settlements, leases)
        return leases

    def _settle(self, db: Connection, settlements: Sequence[Settlement], now: float) -> None:
        alike: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
        dropped: defaultdict[int, list[int]] = defaultdict(list)
        kept: defaultdict[float, list[int]] = defaultdict(list)
        keys = []
        for settlement in settlements:
            lease, outcome = settlement.lease, settlement.outcome
            if settlement.progress is not None or settlement.logs:
                self._report(db, lease, settlement.progress, settlement.logs)
            if type(outcome) is not Done:
                self._settle_other(db, settlement, kept, now)
                continue
            if settlement.results == "all":
                alike[lease.number, outcome.result].append(lease.token)
                kept[settlement.keep].append(lease.token)
            else:
                dropped[lease.number].append(lease.token)
            if lease.key is not None:
                keys.append((lease.key, lease.id))
        self._finish(db, alike, now)
        for number, tokens in dropped.items():
            db.execute(SQL["drop"], (number, str(tokens)))
        self._retain(db, kept, now)
        db.executemany(SQL["free_key"], keys)

    def _finish(self, db: Connection, alike: dict[tuple[int, bytes], list[int]], now: float) -> None:
        """Write results: one statement for the jobs with the same one, and one for up to 50 with their own."""
        single: defaultdict[int, list[int | bytes]] = defaultdict(list)
        for (number, result), tokens in alike.items():
            if len(tokens) > 1:
                db.execute(SQL["finish_alike"], (now, result, number, str(tokens)))
            else:
                single[number] += (tokens[0], result)
        for number, pairs in single.items():
            for start in range(0, len(pairs), 2 * _ROWS):
                some = pairs[start : start + 2 * _ROWS]
                db.execute(_repeated("finish", "(?, ?)", len(some) // 2), (now, *some, number))

    def _settle_other(
        self, db: Connection, settlement: Settlement, kept: defaultdict[float, list[int]], now: float
    ) -> None:
        lease, outcome = settlement.lease, settlement.outcome
        row = db.execute(SQL["running"], (lease.token, lease.number)).fetchone()
        if row is None:
            return  # no longer ours
        attempt, cancelling, errors = row
        end: int | None = None
        match outcome:
            case Fail(error):
                end, errors = FAILED, _with_error(errors, error)
            case Cancel():
                end = CANCELLED
            case Retry() | Snooze() if cancelling:
                end = CANCELLED
            case Retry(delay=delay, error=error):
                self._requeue(db, lease, delay or 0.0, attempt, _with_error(errors, error), now)
            case Snooze(delay=delay):
                self._requeue(db, lease, delay, attempt - 1, errors, now)
        if end is not None:
            self._end(db, lease.token, lease.id, lease.key, end, errors, now)
            if settlement.results == "none":
                db.execute(SQL["delete"], (lease.token,))
            else:
                kept[settlement.keep].append(lease.token)

    def _requeue(
        self, db: Connection, lease: Lease, delay: float, attempt: int, errors: bytes | None, now: float
    ) -> None:
        state = DELAYED if delay > 0 else READY
        db.execute(SQL["requeue"], (state, now + delay, attempt, lease.lost, errors, lease.token))

    def _end(
        self,
        db: Connection,
        seq: int,
        id: JobId,
        key: str | None,
        state: int,
        errors: bytes | None,
        now: float,
    ) -> None:
        db.execute(SQL["end"], (state, now, errors, seq))
        if key is not None:
            db.execute(SQL["free_key"], (key, id))

    def _retain(self, db: Connection, kept: dict[float, list[int]], now: float) -> None:
        """Note which jobs are to be removed when."""
        db.executemany(SQL["retain"], [(now + keep, now, str(tokens)) for keep, tokens in kept.items() if tokens])

    def _emptied(self, settlements: Sequence[Settlement]) -> list[int]:
        """Return the lease numbers of which nothing is left once these are settled."""
        settled: defaultdict[int, set[int]] = defaultdict(set)
        for settlement in settlements:
            settled[settlement.lease.number].add(settlement.lease.token)
        return [number for number, tokens in settled.items() if number in self._held and self._held[number] <= tokens]

    def _note(self, settlements: Sequence[Settlement], leases: Sequence[Lease]) -> None:
        """Remember, after the commit, which jobs of which lease are still to be settled."""
        for settlement in settlements:
            held = self._held.get(settlement.lease.number)
            if held is not None:
                held.discard(settlement.lease.token)
                if not held:
                    del self._held[settlement.lease.number]
        if leases:
            self._held[leases[0].number] = {lease.token for lease in leases}

    def report(self, reports: Sequence[Report]) -> None:
        """Note what running jobs say of themselves."""
        with self._file.transaction() as db:
            for report in reports:
                self._report(db, report.lease, report.progress, report.logs)

    def _report(self, db: Connection, lease: Lease, progress: Progress | None, logs: Sequence[str] | None) -> None:
        values = (_encode(progress) if progress else None, _encode(logs) if logs else None, lease.token, lease.number)
        db.execute(SQL["report"], values)

    # -- waiting --------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for work (see Broker.wait)."""
        watch = self._watch()
        end = time.monotonic() + seconds
        while (left := min(end - time.monotonic(), self._due_in(queues))) > 0:
            before = time.monotonic()
            poked = watch.wait(left)
            if poked or time.monotonic() - before >= left:
                return

    def _due_in(self, queues: Sequence[str]) -> float:
        """Return the seconds until something may be due in `queues`; 0 where something is."""
        if any(self._file.read(SQL["anything_ready"], (queue,))[0][0] for queue in queues):
            return 0.0
        times = [at for at in self._file.read(SQL["next_due"])[0] if at is not None]
        return max(0.0, min(times) - self._clock()) if times else FOREVER

    def _watch(self) -> FileWatch:
        """Return this thread's watch; none of two waiting threads may take the other's wake-up."""
        watch: FileWatch | None = getattr(self._watches, "watch", None)
        if watch is None or self._watches.opening != self._file.openings:
            self._watches.opening = self._file.openings
            watch = self._watches.watch = watch_file(f"{self._file.path}-wal")
            with self._watches_lock:
                self._all_watches.add(watch)
        return watch

    def wait_change(self, seconds: float) -> None:
        """Wait until anything was written."""
        known = getattr(self._watches, "watch", None)
        watch = self._watch()
        if watch is known:
            watch.wait(seconds)

    def wake(self) -> None:
        """Make every wait return."""
        with self._watches_lock:
            watches = list(self._all_watches)
        for watch in watches:
            watch.poke()

    def goodbye(self, worker: str) -> None:
        """Forget a worker."""
        self._file.write(SQL["sign_off"], (worker,))

    def prune(self, limit: int) -> int:
        """Remove finished jobs whose time is over, and expire what waited too long."""
        now = self._clock()
        with self._file.transaction() as db:
            late = db.execute(SQL["overdue"], (now, limit)).fetchall()
            if late:
                self._expire(db, late, now)
            removed = len(late)
            for batch, finished, jobs in db.execute(SQL["outdated"], (now, limit)).fetchall():
                if removed >= limit:
                    break
                removed += db.execute(SQL["prune"], (finished, jobs)).rowcount
                db.execute(SQL["forget_batch"], (batch,))
            db.execute(SQL["bury_workers"], (now,))
            db.execute(SQL["free_keys"], (now,))
        return removed

    def close(self) -> None:
        """Close the file."""
        self.wake()
        self._file.close()

    # -- looking --------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return the records of jobs (see ResultStore.load)."""
        places = str([_place(id) for id in ids])
        rows = self._file.read(f"{SQL['record']} {SQL['of_ids']}", (places,))
        found = {row[0]: _record(row) for row in rows}
        return [found.get(id) or self._load_aside(id) for id in ids]

    def _load_aside(self, id: JobId) -> JobRecord | None:
        """Return the record of a job that does not stand at the place its id says, or nowhere."""
        rows = self._file.read(f"{SQL['record']} {SQL['of_id']}", (_place(id), id))
        return _record(rows[0]) if rows else None

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Return how many jobs each queue has in each state."""
        counts: dict[str, dict[JobState, int]] = {}
        for queue, state, count in self._file.read(SQL["counts"]):
            of_queue = counts.setdefault(queue, {})
            of_queue[_STATES[state]] = of_queue.get(_STATES[state], 0) + count
        return counts

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return the jobs that fit a filter."""
        terms, values = _where(wanted)
        order = "DESC" if wanted.newest_first else "ASC"
        statement = f"{SQL['record']} WHERE {' AND '.join(terms)} ORDER BY seq {order} LIMIT ?"
        return [_record(row) for row in self._file.read(statement, [*values, wanted.limit])]

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that are alive."""
        return [_decode_worker(info) for (info,) in self._file.read(SQL["workers"], (self._clock(),))]

    def paused(self) -> list[str]:
        """Return the paused queues."""
        return [queue for (queue,) in self._file.read(SQL["paused"])]

    # -- changing -------------------------------------------------------------------------------------------

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs (see Inspector.change)."""
        actions = {"cancel": self._cancel, "retry": self._retry, "delete": self._delete}
        if change not in actions:
            raise ConfigError(f"a job cannot be changed by {change!r}; expected cancel, retry or delete")
        with self._file.transaction() as db:
            now = self._clock()
            rows = itertools.chain.from_iterable(
                db.execute(SQL["changeable"], (_place(id), id)).fetchall() for id in ids
            )
            return [row[1] for row in rows if actions[change](db, row, now)]

    def _cancel(self, db: Connection, row: tuple[Any, ...], now: float) -> bool:
        seq, id, state, key, _ = row
        if state == RUNNING:
            db.execute(SQL["ask_to_stop"], (seq,))
        elif state in (READY, DELAYED):
            self._end_early(db, seq, id, key, now)
        return state in (READY, DELAYED, RUNNING)

    def _end_early(self, db: Connection, seq: int, id: JobId, key: str | None, now: float) -> None:
        self._end(db, seq, id, key, CANCELLED, None, now)
        self._retain(db, {KEEP_UNRUN: [seq]}, now)

    def _retry(self, db: Connection, row: tuple[Any, ...], now: float) -> bool:
        """Queue a finished job again, unless its key has gone to another one."""
        seq, id, state, key, body = row
        if state < SUCCEEDED:
            return False
        if key is not None:
            holder = db.execute(SQL["holder"], (key,)).fetchone()
            if holder is not None and holder[0] != id and not (holder[1] and holder[1] <= now):
                return False
            job = self._decoded(body)
            if job.hold != FOREVER:
                db.execute(SQL["take_key"], (key, id, seq, _held_until(job, now)))
        db.execute(SQL["retry"], (now, seq))
        return True

    def _delete(self, db: Connection, row: tuple[Any, ...], now: float) -> bool:
        seq, id, state, key, _ = row
        if state == RUNNING:
            return False
        db.execute(SQL["delete"], (seq,))
        if key is not None:
            db.execute(SQL["free_key"], (key, id))
        return True

    def purge(self, queue: str, state: JobState) -> int:
        """Remove every job of a queue in one state, some thousands in a transaction."""
        if state is JobState.RUNNING:
            return 0
        codes = _CODES[state] or (-1,)
        removed = 0
        while True:
            with self._file.transaction() as db:
                rows = db.execute(SQL["purgeable"], (queue, codes[0], codes[-1])).fetchall()
                db.executemany(SQL["delete"], [(seq,) for seq, _, _ in rows])
                db.executemany(SQL["free_key"], [(key, id) for _, id, key in rows if key is not None])
            removed += len(rows)
            if not rows:
                return removed

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue."""
        self._file.write(SQL["pause" if paused else "resume"], (queue,))


@functools.cache
def _repeated(statement: str, values: str, count: int) -> str:
    """Return a statement with its row of values repeated, for `count` jobs at once.

    Every step of a statement hands over the interpreter's lock, and with many threads that costs more than the row.
    """
    head, row, tail = SQL[statement].partition(values)
    return head + ", ".join([row] * count) + tail


def _put_rows(count: int) -> str:
    return _repeated("put", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", count)


def place_of(id: JobId) -> int:
    """Return where the row of a job stands: the nanoseconds in its id. Raises ConfigError for an id of another kind."""
    place = _place(id)
    if place == _NOWHERE:
        raise ConfigError(f"the job id {id!r} does not begin with its time; take ids from new_job_id()")
    return place


def _place(id: JobId) -> int:
    try:
        place = int(id[:16], 16)
    except ValueError:
        return _NOWHERE
    return place if 0 <= place < _MAX_PLACE else _NOWHERE


def _held_until(job: Job, now: float) -> float:
    return now + job.hold if job.hold else 0.0


def _with_error(errors: bytes | None, error: ErrorInfo | None) -> bytes | None:
    """Return the stored history of errors with one more at its end."""
    if error is None:
        return errors
    return _encode((*_decode_errors(errors), error) if errors else (error,))


def _where(wanted: Filter) -> tuple[list[str], list[Any]]:
    """Return the terms of a filter. States are literals, for the planner to see that a partial index fits."""
    terms, values = ["1 = 1"], []
    if wanted.state is not None:
        codes = _CODES[wanted.state]
        terms.append(f"state IN ({', '.join(map(str, codes)) or 'NULL'})")
        if min(codes, default=0) > SUCCEEDED:
            terms.append("state > 3")
        if wanted.state is JobState.RUNNING:
            terms.append("seq IN (SELECT value FROM leases, json_each(leases.jobs))")
    for column, value in (("queue", wanted.queue), ("task", wanted.task)):
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    return terms, values


def _record(row: Iterable[Any]) -> JobRecord:
    (
        id,
        task,
        queue,
        state,
        rank,
        attempt,
        lost,
        enqueued,
        due,
        started,
        finished,
        worker,
        key,
        expires,
        cancelling,
        body,
        result,
        errors,
        progress,
        lane,
        group,
        logs,
    ) = row
    return JobRecord(
        id=id,
        task=task,
        queue=queue,
        state=_STATES[state],
        body=body,
        priority=-rank,
        attempt=attempt,
        lost=lost,
        enqueued=enqueued,
        due=due if state in (READY, DELAYED) else None,
        started=started,
        finished=finished,
        worker=worker,
        key=key,
        expires=expires,
        cancelling=bool(cancelling),
        result=result,
        errors=_decode_errors(errors) if errors else (),
        progress=_decode_progress(progress) if progress else None,
        lane=lane,
        group=group,
        logs=_decode_logs(logs) if logs else (),
    )
