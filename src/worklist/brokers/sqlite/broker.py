"""The queue on one SQLite file: no server, several processes, survives them all.

Every verb is one transaction of few statements, whatever the number of jobs in it. What makes it fast: a job's row
is written three times in its life (put, lease, settle), stands where its id says, and has no index entry but, until
it is leased, its place in the queue. Leases and retention are kept per call, not per job: docs/decisions/0002.
What a job is tied to, a lane, a group, jobs that wait for it, is looked at only where its row says that there is
something: docs/decisions/0009.
"""

import functools
import itertools
import threading
import time
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from ...core.bounds import within
from ...core.codec import Codec
from ...core.job import FOREVER, KEEP_UNRUN, GroupId, Job, JobId, JobRecord, Progress
from ...core.lane import LaneLimits
from ...core.outcome import HAND_BACK, Cancel, Done, Fail, Retry, Snooze, lost_worker
from ...core.ports import Capabilities, Extended, Lease, Report, Settlement, WorkerInfo
from . import groups, lanes, rows
from .file import Durability, SqliteFile
from .filewatch import FileWatch, watch_file
from .groups import Cause, End, SqliteGroups
from .inspector import SqliteInspector
from .lanes import Left, SqliteLanes
from .rows import (
    CANCELLED,
    DELAYED,
    EXPIRED,
    FAILED,
    IN_LANE,
    LANE,
    READY,
    SQL,
    SUCCEEDED,
    WAITING,
    encode,
    place_of,
    queued_state,
    tied_of,
)
from .schedules import SqliteSchedules

_ROWS = 50
"""How many jobs one INSERT carries at most."""
_PLAIN_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TIED_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LANE, _GROUP = 12, 13
"""Where these stand in the row of a tied job; the row of another one ends before them."""
Row = tuple[Any, ...]


class SqliteBroker(SqliteInspector, SqliteSchedules):
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
        self._lanes = SqliteLanes(self._limits_in)
        self._groups = SqliteGroups(self._lanes, self._decoded)
        self._held: dict[int, set[int]] = {}  # lease number -> jobs of it that this object has yet to settle
        self._watches = threading.local()
        self._all_watches: weakref.WeakSet[FileWatch] = weakref.WeakSet()  # a thread's watch ends with the thread
        self._watches_lock = threading.Lock()
        self._file.on_reopened = self.wake

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        now = self._clock()
        for job in jobs:
            if job.key is not None or job.ties is not None:
                with self._file.transaction() as db:
                    return self._insert(db, jobs, now)
        wanted = [self._row(job, now) for job in jobs]
        if not self._put_alone(wanted):
            with self._file.transaction() as db:
                self._insert_plain(db, wanted)
        return [job.id for job in jobs]

    def _put_alone(self, wanted: Sequence[Row]) -> bool:
        """Add a few rows by a statement that is a transaction of its own; return whether all are there."""
        if not 0 < len(wanted) <= _ROWS:
            return not wanted
        values = wanted[0] if len(wanted) == 1 else [*itertools.chain.from_iterable(wanted)]
        return self._file.write(_repeated("put", _PLAIN_VALUES, len(wanted)), values) == len(wanted)

    def _insert(self, db: Connection, jobs: Sequence[Job], now: float) -> list[JobId]:
        """Add jobs inside a transaction: first those that may run, for the others to find what they wait for."""
        ids = {job.id: job.id for job in jobs}
        tied = [job for job in jobs if job.ties is not None]
        numbers = self._prepare_ties(db, tied, now) if tied else {}
        waiting = [job for job in tied if _waits(job)]
        ready = [job for job in jobs if not _waits(job)] if waiting else jobs
        added = self._insert_ready(db, ready, ids, numbers, now)
        if tied:
            self._note_added(db, added, now)
        causes: list[Cause] = []
        for job in waiting:
            ids[job.id] = self._insert_waiting(db, job, numbers, causes, now)
        if causes:
            self._groups.follow(db, causes, now)  # at last, when all members of a group have been counted
        if numbers and any(job.key is not None for job in tied):
            self._groups.end_where_over(db, numbers.values(), now)  # those of which no member was added
        return [ids[job.id] for job in jobs]

    def _insert_ready(
        self, db: Connection, jobs: Sequence[Job], ids: dict[JobId, JobId], numbers: dict[GroupId, int], now: float
    ) -> list[Row]:
        """Add jobs that wait for nothing, many at a time, or one by one where there are keys; return the new rows."""
        if not any(job.key is not None for job in jobs):
            self._insert_plain(db, [self._row(job, now) for job in jobs if job.ties is None])
            tied = [self._tied_row(job, numbers, now) for job in jobs if job.ties is not None]
            return self._insert_tied(db, tied)
        added = []
        for job in jobs:
            row = self._row(job, now) if job.ties is None else self._tied_row(job, numbers, now)
            ids[job.id], new = self._insert_keyed(db, job, row, now)
            added += [new] if new is not None else []
        return added

    def _insert_plain(self, db: Connection, wanted: Sequence[Row]) -> None:
        for some in _chunks(wanted):
            values = [*itertools.chain.from_iterable(some)]
            if db.execute(_repeated("put", _PLAIN_VALUES, len(some)), values).rowcount < len(some):
                self._put_aside(db, "put", some)

    def _insert_tied(self, db: Connection, wanted: Sequence[Row]) -> list[Row]:
        """Insert rows with ties; return those that were not there before, since others count them."""
        added: list[Row] = []
        for some in _chunks(wanted):
            places = {row[0] for row in some}
            if len(places) < len(some) or db.execute(SQL["taken"], (str([*places]),)).fetchone()[0]:
                added += self._put_aside(db, "put_tied", some)
            else:
                insert = _repeated("put_tied", _TIED_VALUES, len(some))
                db.execute(insert, [*itertools.chain.from_iterable(some)])
                added += some
        return added

    def _put_aside(self, db: Connection, statement: str, wanted: Sequence[Row]) -> list[Row]:
        """Put those rows that are not there, beside the job that has their place; return them."""
        added = []
        for place, id, *rest in wanted:
            there, free = db.execute(SQL["find_place"], (place, id)).fetchone()
            if there is None:
                added.append((free or place, id, *rest))
                db.execute(SQL[statement], added[-1])
        return added

    def _row(self, job: Job, now: float) -> Row:
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

    def _insert_keyed(self, db: Connection, job: Job, row: Row, now: float) -> tuple[JobId, Row | None]:
        """Add a job that may have a key; return the id that the caller gets, and its row where it is a new one."""
        place, free = db.execute(SQL["find_place"], row[:2]).fetchone()
        if place is not None:
            return job.id, None
        place = free or row[0]
        if job.key is not None:
            holder = rows.holder_of(db, job.key, now)
            if holder is not None:
                id, seq, state = holder
                if not job.replace:
                    return id, None
                if seq is not None and state in (IN_LANE, READY, DELAYED):
                    return self._rewrite(db, msgspec.structs.replace(job, id=id), seq, now), None
            db.execute(SQL["take_key"], (job.key, job.id, place, rows.held_until(job, now)))
        row = (place, *row[1:])
        db.execute(SQL["put" if job.ties is None else "put_tied"], row)
        return job.id, row

    def _rewrite(self, db: Connection, job: Job, seq: int, now: float) -> JobId:
        """Debounce: a queued job takes over the newer call's arguments, due time and lane, and keeps its id."""
        _, id, queue, rank, state, task, enqueued, due, expires, key, body = self._row(job, now)
        lane = job.ties.lane if job.ties is not None else None
        if lane is not None and state == READY:
            state = IN_LANE
            self._lanes.line_up(db, [(lane, queue)], now)
        changed = (queue, rank, state, task, enqueued, due, expires, body, lane, LANE * (lane is not None))
        db.execute(SQL["rewrite"], (*changed, seq))
        db.execute(SQL["take_key"], (key, id, seq, rows.held_until(job, now)))
        return job.id

    # -- putting what is tied to something --------------------------------------------------------------------

    def _prepare_ties(self, db: Connection, jobs: Sequence[Job], now: float) -> dict[GroupId, int]:
        """See to the lanes and groups that jobs name; return the numbers of the groups."""
        self._declare_lanes(db, jobs, now)
        return self._groups_of(db, jobs, now)

    def _note_added(self, db: Connection, added: Sequence[Row], now: float) -> None:
        """Tell their groups and lanes of new rows."""
        tied = [row for row in added if len(row) > _GROUP]
        self._groups.join(db, Counter(row[_GROUP] for row in tied if row[_GROUP] is not None))
        self._lanes.line_up(db, {(row[_LANE], row[2]) for row in tied if row[4] == IN_LANE}, now)

    def _declare_lanes(self, db: Connection, jobs: Sequence[Job], now: float) -> None:
        declared: dict[str, LaneLimits | None] = {}
        for job in jobs:
            if job.ties is not None and job.ties.lane is not None:
                declared[job.ties.lane] = job.ties.limits or declared.get(job.ties.lane)
        if declared:
            self._lanes.declare(db, declared, now)

    def _groups_of(self, db: Connection, jobs: Sequence[Job], now: float) -> dict[GroupId, int]:
        """Return the numbers of the groups that jobs are members of. Raises GroupEnded where one takes no more."""
        numbers: dict[GroupId, int] = {}
        closed: dict[GroupId, tuple[float | None, bool]] = {}
        for job in jobs:
            id = job.ties.group if job.ties is not None else None
            if id is None:
                continue
            if id not in numbers:
                numbers[id], ended, called_off = self._groups.find(db, id, now)
                if ended is not None or called_off:
                    closed[id] = (ended, called_off)
            if id in closed and db.execute(SQL["find_place"], (place_of(job.id), job.id)).fetchone()[0] is None:
                groups.refuse_ended(id, *closed[id])
        return numbers

    def _tied_row(self, job: Job, numbers: dict[GroupId, int], now: float) -> Row:
        row = self._row(job, now)
        ties = job.ties
        assert ties is not None  # noqa: S101
        if ties.lane is not None and row[4] == READY:
            row = (*row[:4], IN_LANE, *row[5:])
        return (*row, tied_of(job), ties.lane, numbers[ties.group] if ties.group is not None else None, None)

    def _insert_waiting(
        self, db: Connection, job: Job, numbers: dict[GroupId, int], causes: list[Cause], now: float
    ) -> JobId:
        """Add a job that waits, and to `causes` what it waits for, where that has ended already."""
        row = self._tied_row(job, numbers, now)
        after, cause = self._groups.wait_for(db, job, now)
        row = (*row[:4], WAITING, *row[5:7], groups.waits(job), *row[8:14], after)
        id, new = self._insert_keyed(db, job, row, now)
        if new is not None:
            self._note_added(db, [new], now)
            causes += [cause] if cause is not None else []
        return id

    def _limits_in(self, body: bytes) -> LaneLimits:
        ties = self._decoded(body).ties
        return (ties.limits if ties is not None else None) or LaneLimits()

    # -- leasing --------------------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs (see Broker.lease)."""
        return self.exchange((), worker, queues, limit, seconds)

    def _lease(
        self, db: Connection, worker: str, queues: Sequence[str], limit: int, seconds: float, now: float
    ) -> list[Lease]:
        due: list[Row] = []
        paused, in_turn = self._do_chores(db, now)
        take = self._in_turn if in_turn else self._due
        for queue in dict.fromkeys(queues):
            if len(due) < limit and queue not in paused:
                due += take(db, queue, limit - len(due), now)
        if not due:
            return []
        jobs = str([row[1] for row in due])
        number = db.execute(SQL["hold"], (worker, now + seconds, jobs)).lastrowid or 0
        db.execute(SQL["start"], (number, now, jobs))
        return [
            Lease(id, seq, body, attempt, lost, number, key, tied, given)
            for id, seq, body, attempt, lost, tied, key, _, given in due
        ]

    def _do_chores(self, db: Connection, now: float) -> tuple[set[str], bool]:
        """See to lapsed leases and to what has become due; return the paused queues, and whether there are lanes."""
        lapsed, due, paused, lanes = db.execute(SQL["chores"], (now,)).fetchone()
        if lapsed:
            self._lapse(db, now)
        if lanes:
            self._lanes.open_due(db, now)
        if due:
            in_lanes = self._lanes.of_due(db, now)
            db.execute(SQL["promote"], (now,))
            self._lanes.line_up(db, in_lanes, now)
        return {queue for (queue,) in db.execute(SQL["paused"])} if paused else set(), bool(lanes or due)

    def _due(self, db: Connection, queue: str, limit: int, now: float) -> list[Row]:
        """Return the next jobs of a queue that are in no lane."""
        while True:
            due: list[Row] = db.execute(SQL["due"], (queue, limit)).fetchall()
            late = [row for row in due if row[lanes.EXPIRES] is not None and row[lanes.EXPIRES] <= now]
            if not late:
                return due
            self._expire_due(db, now, late)

    def _in_turn(self, db: Connection, queue: str, limit: int, now: float) -> list[Row]:
        """Return the next jobs of a queue, its lanes served by turn."""
        expire = functools.partial(self._expire_due, db, now)
        while True:
            due = self._lanes.serve(db, queue, limit, now, expire)
            if due is None:
                return self._due(db, queue, limit, now)
            if due:
                return due  # else the lanes that were looked at had no job left: on to others

    def _expire_due(self, db: Connection, now: float, late: Sequence[Row]) -> None:
        self._expire(db, [(row[1], row[0], row[6], row[5]) for row in late], now)

    def _expire(self, db: Connection, late: Sequence[tuple[int, JobId, str | None, int]], now: float) -> None:
        for seq, id, key, _ in late:
            rows.end(db, seq, id, key, EXPIRED, None, now)
        rows.retain(db, {KEEP_UNRUN: [seq for seq, *_ in late]}, now)
        tied = [seq for seq, _, _, tied in late if tied > LANE]
        if tied:
            self._groups.ended_without_worker(db, tied, EXPIRED, now)

    def let_lapse(self, queue: str) -> None:
        """End every lease of a queue's jobs now, where all who held one are known to be dead."""
        self._file.write(SQL["let_lapse"], (queue,))

    def _lapse(self, db: Connection, now: float) -> None:
        """Make the jobs of silent workers due again, or fail those that too many workers died with."""
        for number, worker, jobs in db.execute(SQL["lapsed"], (now,)).fetchall():
            ended = []
            ready = set()
            left: Counter[str] = Counter()
            for seq, attempt, lost, cancelling, errors, body, key, id, tied, lane, queue in db.execute(
                SQL["lapsed_jobs"], (number, jobs)
            ).fetchall():
                error = lost_worker(worker, attempt, now)
                history = rows.with_error(errors, error)
                if lane is not None:
                    left[lane] += 1
                if cancelling:
                    rows.end(db, seq, id, key, CANCELLED, errors, now)
                elif lost >= self._decoded(body).redeliveries:
                    rows.end(db, seq, id, key, FAILED, history, now)
                else:
                    db.execute(SQL["requeue"], (queued_state(lane), now, attempt, lost + 1, history, seq))
                    ready |= {(lane, queue)} if lane is not None else set()
                    continue
                db.execute(SQL["count_lost"], (seq,))
                ended.append((seq, tied, CANCELLED if cancelling else FAILED, error))
            rows.retain(db, {KEEP_UNRUN: [seq for seq, *_ in ended]}, now)
            db.execute(SQL["release"], (number,))
            self._lanes.leave(db, {lane: Left(count) for lane, count in left.items()}, now)
            self._lanes.line_up(db, ready, now)
            for seq, tied, state, error in ended:
                if tied > LANE:
                    self._groups.ended_without_worker(db, [seq], state, now, error if state == FAILED else None)

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Renew leases (see Broker.extend)."""
        now = self._clock()
        until = now + seconds
        info = encode(msgspec.structs.replace(worker, seen=now))
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
        batch = _Batch()
        done, entangled = [], []
        for settlement in settlements:
            lease = settlement.lease
            if settlement.progress is not None or settlement.logs:
                self._report(db, lease, settlement.progress, settlement.logs)
            if lease.tied or settlement.followers:
                entangled.append(settlement)
            elif type(settlement.outcome) is Done:
                done.append(settlement)
            else:
                self._settle_other(db, settlement, batch, now)
        batch.add_done(done)
        ends = self._settle_entangled(db, entangled, batch, now) if entangled else []
        self._write(db, batch, now)
        if batch.followers:
            self._insert(db, self._wanted(db, batch.followers, now), now)
        if ends:
            self._groups.ended(db, ends, now)

    def _write(self, db: Connection, batch: "_Batch", now: float) -> None:
        self._finish(db, batch.alike, now)
        for number, tokens in batch.dropped.items():
            db.execute(SQL["drop"], (number, str(tokens)))
        rows.retain(db, batch.kept, now)
        db.executemany(SQL["free_key"], batch.keys)

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
        self, db: Connection, settlement: Settlement, batch: "_Batch", now: float, collects: bool = False
    ) -> int | None:
        """Write down an outcome that is no result; return the state where the job has ended with it."""
        lease, outcome = settlement.lease, settlement.outcome
        row = db.execute(SQL["running"], (lease.token, lease.number)).fetchone()
        if row is None:
            return None  # no longer ours
        attempt, cancelling, errors, lane, queue = row
        end: int | None = None
        match outcome:
            case Fail(error):
                end, errors = FAILED, rows.with_error(errors, error)
            case Cancel():
                end = CANCELLED
            case Retry() | Snooze() if cancelling:
                end = CANCELLED
            case Retry(delay=delay, error=error):
                state = queued_state(lane, bool(delay))
                history = rows.with_error(errors, error)
                db.execute(SQL["requeue"], (state, now + (delay or 0.0), attempt, lease.lost, history, lease.token))
                batch.note_ready(state, lane, queue)
            case Snooze(delay=delay):
                state = queued_state(lane, delay > 0)
                db.execute(SQL["requeue"], (state, now + delay, attempt - 1, lease.lost, errors, lease.token))
                batch.note_ready(state, lane, queue)
        if end is not None:
            rows.end(db, lease.token, lease.id, lease.key, end, errors, now)
            if settlement.results == "none" and not collects:
                db.execute(SQL["delete"], (lease.token,))
            elif not collects:
                batch.kept[settlement.keep].append(lease.token)
        return end

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

    # -- settling what is tied to something -------------------------------------------------------------------

    def _settle_entangled(
        self, db: Connection, settlements: Sequence[Settlement], batch: "_Batch", now: float
    ) -> list[End]:
        """Settle jobs with ties or followers; return those that have ended. Those that are no longer ours are left."""
        ours = self._still_ours(db, settlements)
        ends: list[End] = []
        left: defaultdict[str, Left] = defaultdict(Left)
        for settlement in settlements:
            lease, outcome = settlement.lease, settlement.outcome
            facts = ours.pop((lease.token, lease.number), None)
            if facts is None:
                continue
            task, lane, grp, collects = facts
            if type(outcome) is Done:
                state: int | None = SUCCEEDED
                batch.add_collected(settlement) if collects else batch.add_done((settlement,))
                batch.followers += settlement.followers
            else:
                state = self._settle_other(db, settlement, batch, now, collects=bool(collects))
            if lane is not None:
                jobs, unused = left[lane]
                left[lane] = Left(jobs + 1, unused + (outcome is HAND_BACK))
            if state is not None and lease.tied > LANE:
                ends.append(End(lease.token, lease.id, task, lease.tied, grp, state, *_result_and_error(outcome)))
        self._lanes.leave(db, left, now)
        self._lanes.line_up(db, batch.ready, now)
        return ends

    def _still_ours(self, db: Connection, settlements: Sequence[Settlement]) -> dict[tuple[int, int], Row]:
        """Return what is known of the leased jobs that still run under their lease, by place and number.

        A job may stand here twice, with a lease that lapsed and with the one that its worker took afterwards.
        """
        by_number: defaultdict[int, list[int]] = defaultdict(list)
        for settlement in settlements:
            by_number[settlement.lease.number].append(settlement.lease.token)
        return {
            (seq, number): tuple(facts)
            for number, tokens in by_number.items()
            for seq, *facts in db.execute(groups.SQL["tied"], (number, str(tokens)))
        }

    def _wanted(self, db: Connection, followers: Sequence[Job], now: float) -> list[Job]:
        """Return the followers but for those that their group does not take: it was called off, or is full."""
        named = {job.ties.group for job in followers if job.ties is not None and job.ties.group is not None}
        bounds = self._groups.bounds(db, named) if named else {}
        if not bounds:
            return [*followers]
        return within(followers, bounds, lambda key: rows.holder_of(db, key, now) is not None)

    def report(self, reports: Sequence[Report]) -> None:
        """Note what running jobs say of themselves."""
        with self._file.transaction() as db:
            for report in reports:
                self._report(db, report.lease, report.progress, report.logs)

    def _report(self, db: Connection, lease: Lease, progress: Progress | None, logs: Sequence[str] | None) -> None:
        values = (encode(progress) if progress else None, encode(logs) if logs else None, lease.token, lease.number)
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

    # -- the results of another broker's jobs -----------------------------------------------------------------

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Keep the records of another broker's jobs (see ResultStore.keep)."""
        now = self._clock()
        kept: defaultdict[float | None, list[int]] = defaultdict(list)
        with self._file.transaction() as db:
            for record in records:
                place, free = db.execute(SQL["find_place"], (place_of(record.id), record.id)).fetchone()
                if place is not None:
                    state, attempt = db.execute(SQL["kept"], (place,)).fetchone()
                    if state <= SUCCEEDED or attempt > record.attempt:
                        continue
                row = rows.kept_row(place or free or place_of(record.id), record)
                db.execute(SQL["keep"], row)
                kept[record.finished].append(row[0])
            for finished, seqs in kept.items():
                db.execute(SQL["retain"], (now + seconds, finished, str(seqs)))

    # -- tidying up -----------------------------------------------------------------------------------------

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
            if removed < limit:
                removed += self._groups.prune(db, limit - removed, now)
            self._lanes.drop_idle(db, limit, now)
            db.execute(SQL["bury_workers"], (now,))
            db.execute(SQL["free_keys"], (now,))
        return removed

    def close(self) -> None:
        """Close the file."""
        self.wake()
        self._file.close()


class _Batch:
    """What a settle call writes with one statement for many jobs."""

    def __init__(self) -> None:
        self.alike: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
        self.dropped: defaultdict[int, list[int]] = defaultdict(list)
        self.kept: defaultdict[float, list[int]] = defaultdict(list)
        self.keys: list[tuple[str, JobId]] = []
        self.ready: set[tuple[str, str]] = set()
        self.followers: list[Job] = []

    def add_done(self, settlements: Sequence[Settlement]) -> None:
        """Add jobs that succeeded."""
        alike, dropped, kept = self.alike, self.dropped, self.kept
        for settlement in settlements:
            lease = settlement.lease
            if settlement.results == "all":
                alike[lease.number, settlement.outcome.result].append(lease.token)  # type: ignore[union-attr]
                kept[settlement.keep].append(lease.token)
            else:
                dropped[lease.number].append(lease.token)
            if lease.key is not None:
                self.keys.append((lease.key, lease.id))

    def add_collected(self, settlement: Settlement) -> None:
        """Add a job that succeeded, and whose result is kept for as long as its group."""
        lease = settlement.lease
        self.alike[lease.number, settlement.outcome.result].append(lease.token)  # type: ignore[union-attr]
        if lease.key is not None:
            self.keys.append((lease.key, lease.id))

    def note_ready(self, state: int, lane: str | None, queue: str) -> None:
        """Note that a job is due again at once, where its lane has to know."""
        if state == IN_LANE and lane is not None:
            self.ready.add((lane, queue))


def _waits(job: Job) -> bool:
    """Return whether a job waits for another one or for a group."""
    return job.ties is not None and job.ties.after is not None


def _result_and_error(outcome: Any) -> tuple[bytes | None, Any]:
    return getattr(outcome, "result", None), outcome.error if isinstance(outcome, Fail) else None


def _chunks(wanted: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (wanted[start : start + _ROWS] for start in range(0, len(wanted), _ROWS))


@functools.cache
def _repeated(statement: str, values: str, count: int) -> str:
    """Return a statement with its row of values repeated, for `count` jobs at once.

    Every step of a statement hands over the interpreter's lock, and with many threads that costs more than the row.
    """
    head, row, tail = SQL[statement].partition(values)
    return head + ", ".join([row] * count) + tail


__all__ = ["SqliteBroker", "place_of"]
