"""The queue on PostgreSQL: any number of machines, one round trip for a batch.

Jobs that are tied to nothing are put by one call, and settled and leased by one other, both functions of the database
beside its tables; workers pass over what another one is about to lease. What a job is tied to, a lane, a group, jobs
that wait for it, is changed in transactions that are alone: docs/decisions/0013.
"""

import functools
import itertools
import operator
import threading
import time
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ...core.bounds import within
from ...core.codec import Codec
from ...core.errors import BrokerError
from ...core.job import FOREVER, KEEP_UNRUN, GroupId, Job, JobId, JobRecord
from ...core.lane import LaneLimits
from ...core.outcome import HAND_BACK, Cancel, Done, Fail, Retry, Snooze, lost_worker
from ...core.ports import Capabilities, Extended, Lease, Report, Settlement, WorkerInfo
from ..sql.records import (
    CANCELLED,
    EXPIRED,
    FAILED,
    LANE,
    SUCCEEDED,
    WAITING,
    encode,
    held_until,
    kept_row,
    place_of,
    tied_of,
    with_error,
)
from . import groups, lanes, rows
from .arrays import Blobs, Integers, Numbers, Smalls, Texts, packed, packed_place, packed_rank, text_of
from .copying import Bundles, bundles_of, copied, script
from .groups import Cause, End, PostgresGroups
from .inspector import PostgresInspector
from .lanes import Left, PostgresLanes
from .rows import QUEUED, SQL
from .schedules import PostgresSchedules
from .server import Place, PlaceTaken, PostgresServer, Session, savepoint
from .waiting import ANYTHING, RESULTS, Ear, sign_of

Row = tuple[Any, ...]
T = TypeVar("T")
_PLACE, _ID, _QUEUE, _STATE, _BODY, _LANE, _GROUP = 0, 1, 2, 4, 10, 12, 13
"""Where these stand in the row of a job that is being put."""
_TOLD = [ANYTHING, RESULTS]
_in_order = operator.itemgetter(0)
_NOTHING = frozenset({-1})
"""What is still to be settled of a lease that is not known here: never all of it."""


class PostgresBroker(PostgresInspector, PostgresSchedules):
    """A Store on one PostgreSQL database. `clock` returns unix seconds; by default the clock of the server counts."""

    capabilities = Capabilities(transaction=True)

    def __init__(self, place: Place, codec: Codec | None = None, *, clock: Callable[[], float] | None = None) -> None:
        self._codec = codec or Codec()
        self._clock = clock
        self._server = PostgresServer(place)
        self._lanes = PostgresLanes(self._limits_in)
        self._groups = PostgresGroups(self._lanes, self._decoded)
        self._held: dict[int, set[int]] = {}  # lease number -> jobs of it that this object has yet to settle
        self._ears = threading.local()
        self._all_ears: weakref.WeakSet[Ear] = weakref.WeakSet()  # a thread's ear ends with the thread
        self._ears_lock = threading.Lock()

    # -- tables ---------------------------------------------------------------------------------------------------

    def versions(self) -> tuple[int, int]:
        """Return the version of the tables that are there, 0 for none, and the one that is wanted."""
        return self._server.versions()

    def migrate(self) -> None:
        """Bring the tables up to date, as the first use does."""
        self.now()

    # -- transactions -----------------------------------------------------------------------------------------

    def _fixed(self) -> float | None:
        return None if self._clock is None else self._clock()

    def _transact(self, work: Callable[[Session, float], T]) -> T:
        """Return what `work` returns, done in one transaction at one moment."""

        def at_its_time(db: Session) -> T:
            ((now,),) = db.execute(SQL["now"], (self._fixed(),)).fetchall()
            done = work(db, now)
            db.execute("SELECT @.tell_1(%s::text[])", (_TOLD,))
            return done

        return self._server.transact(at_its_time)

    def _alone(self, work: Callable[[Session, float], T], slow: bool = False) -> T:
        """Return what `work` returns, done in one transaction while no other such one is under way."""

        def when_free(db: Session) -> T:
            ((_, now),) = db.execute(SQL["begin_alone"], (self._server.lock, self._fixed())).fetchall()
            done = work(db, now)
            db.execute("SELECT @.tell_1(%s::text[])", (_TOLD,))
            return done

        return self._server.transact(when_free, slow)

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        if not jobs:
            return []
        self._rest_ears()
        if any(job.ties is not None for job in jobs):
            return self._alone(lambda db, now: self._insert(db, jobs, now))
        if not _are_plain(jobs) or not self._put_plain(jobs):
            return self._transact(lambda db, now: self._insert(db, jobs, now))
        return [job.id for job in jobs]

    def _put_plain(self, jobs: Sequence[Job]) -> bool:
        """Add jobs with no key and no ties; return False where the place of one is taken, by itself or by another.

        Nothing needs to be undone then: those that were added are found to be there by whoever adds all again.
        """
        places = [place_of(job.id) for job in jobs]
        bundles = bundles_of(jobs, places)
        if bundles is not None:
            return self._put_bundles(jobs, places, bundles)
        if len(jobs) == 1:
            return self._server.ask(SQL["put_one"], self._values(jobs[0], places[0])) == b"t"
        return bool(self._server.call(SQL["put"], self._columns(jobs, self._fixed()))[0][0] == len(jobs))

    def _put_bundles(self, jobs: Sequence[Job], places: Sequence[int], bundles: Bundles) -> bool:
        """Do that for many jobs that are due at once."""
        encode_job = self._codec.encode
        try:
            self._server.copy(script(bundles, self._fixed()), lambda now: copied(jobs, places, encode_job, float(now)))
        except PlaceTaken:
            return False
        return True

    def put_within(self, connection: Any, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs in a transaction of the caller's own (see Transactions.put_within)."""
        db = self._server.within(connection)
        with self._server.clear_errors(), savepoint(db):
            ((now, _),) = db.execute(SQL["begin_within"], (self._fixed(), self._server.channel, ANYTHING)).fetchall()
            if _are_plain(jobs) and db.execute(SQL["put"], self._columns(jobs, now)).fetchall() == [(len(jobs),)]:
                return [job.id for job in jobs]
            return self._insert(db, jobs, now)

    def _values(self, job: Job, place: int) -> list[bytes | None]:
        """Return what the function `put_one_2` takes."""
        return [
            packed(self._fixed()),
            packed_place(place),
            text_of(job.id),
            text_of(job.queue),
            packed_rank(-job.priority),
            text_of(job.task),
            packed(job.delay),
            packed(job.eta or 0.0),
            packed(job.expires),
            self._codec.encode(job),
        ]

    def _columns(self, jobs: Sequence[Job], now: float | None) -> list[Any]:
        """Return what the function `put_1` takes."""
        encode_job = self._codec.encode
        return [
            now,
            Integers([place_of(job.id) for job in jobs]),
            Texts([job.id for job in jobs]),
            Texts([job.queue for job in jobs]),
            Smalls([-job.priority for job in jobs]),
            Texts([job.task for job in jobs]),
            Numbers([job.delay for job in jobs]),
            Numbers([job.eta or 0.0 for job in jobs]),
            Numbers([job.expires for job in jobs]),
            Blobs([encode_job(job) for job in jobs]),
        ]

    def _insert(self, db: Session, jobs: Sequence[Job], now: float) -> list[JobId]:
        """Add jobs inside a transaction: first those that may run, for the others to find what they wait for."""
        ids = {job.id: job.id for job in jobs}
        tied = [job for job in jobs if job.ties is not None]
        numbers = self._prepare_ties(db, tied, now) if tied else {}
        waiting = [job for job in tied if _waits(job)]
        ready = [job for job in jobs if not _waits(job)]
        self._note_added(db, self._insert_ready(db, ready, ids, numbers, now), now)
        causes: list[Cause] = []
        for job in waiting:
            ids[job.id] = self._insert_waiting(db, job, numbers, causes, now)
        if causes:
            self._groups.follow(db, causes, now)  # at last, when all members of a group have been counted
        if numbers and any(job.key is not None for job in tied):
            self._groups.end_where_over(db, numbers.values(), now)  # those of which no member was added
        return [ids[job.id] for job in jobs]

    def _insert_ready(
        self, db: Session, jobs: Sequence[Job], ids: dict[JobId, JobId], numbers: dict[GroupId, int], now: float
    ) -> list[Row]:
        """Add jobs that wait for nothing, all in one statement, or one by one for some keys; return the new rows."""
        wanted = [(job, self._row(job, numbers, now)) for job in jobs]
        keyed = [(job, row) for job, row in wanted if job.key is not None]
        if not keyed:
            return self._insert_rows(db, [row for _, row in wanted])
        if any(job.replace for job, _ in keyed) or len({job.key for job, _ in keyed}) < len(keyed):
            return self._insert_one_by_one(db, wanted, ids, now)
        there = self._there(db, [row for _, row in keyed])
        keyed = [(job, row) for job, row in keyed if job.id not in there]
        held = self._take_keys(db, keyed, now)
        ids |= held
        added = self._insert_rows(db, [row for job, row in wanted if job.id not in there and job.id not in held])
        self._correct_keys(db, keyed, added, now)
        return added

    def _insert_one_by_one(
        self, db: Session, wanted: Sequence[tuple[Job, Row]], ids: dict[JobId, JobId], now: float
    ) -> list[Row]:
        added = []
        for job, row in wanted:
            ids[job.id], new = self._insert_keyed(db, job, row, now)
            added += [new] if new is not None else []
        return added

    def _insert_rows(self, db: Session, wanted: Sequence[Row]) -> list[Row]:
        """Insert rows, and let them be leased; return those that were not there before."""
        added: list[Row] = []
        left = [*wanted]
        while left:
            columns = [*map(list, zip(*left, strict=True))]
            new = {seq for (seq,) in db.execute(SQL["put_tied"], columns)}
            aside = []
            for row in left:
                if row[_PLACE] in new:
                    new.discard(row[_PLACE])
                    added.append(row)
                else:
                    aside.append(row)
            left = [moved for row in aside if (moved := self._moved(db, row)) is not None]
        rows.queue_up(db, [row[_PLACE] for row in added if row[_STATE] == QUEUED], now=added[0][6] if added else 0.0)
        return added

    def _moved(self, db: Session, row: Row) -> Row | None:
        """Return a row beside the job that has its place; None where it is there already."""
        ((there, free),) = db.execute(SQL["find_place"], {"place": row[_PLACE], "id": row[_ID]}).fetchall()
        return None if there is not None else (free or row[_PLACE], *row[1:])

    def _there(self, db: Session, wanted: Sequence[Row]) -> set[JobId]:
        """Return the ids of those jobs that are there already."""
        places, ids = [row[_PLACE] for row in wanted], [row[_ID] for row in wanted]
        return {id for (id,) in db.execute(SQL["there"], (places, ids))}

    def _row(self, job: Job, numbers: dict[GroupId, int], now: float) -> Row:
        ties = job.ties
        return (
            place_of(job.id),
            job.id,
            job.queue,
            -job.priority,
            QUEUED,
            job.task,
            now,
            job.due(now) if job.delay or job.eta else now,
            None if job.expires is None else now + job.expires,
            job.key,
            self._codec.encode(job),
            tied_of(job),
            ties.lane if ties is not None else None,
            numbers.get(ties.group) if ties is not None and ties.group is not None else None,
            None,
        )

    # -- keys -------------------------------------------------------------------------------------------------

    def _take_keys(self, db: Session, wanted: Sequence[tuple[Job, Row]], now: float) -> dict[JobId, JobId]:
        """Take the keys of jobs, each another one; return the holders of those that are held, by the job's id."""
        by_key = {job.key: (job, row) for job, row in wanted}
        held: dict[JobId, JobId] = {}
        while by_key:
            claims = [(job.key, job.id, row[_PLACE], held_until(job, now)) for job, row in by_key.values()]
            free = db.execute(SQL["claim_keys"], [*map(list, zip(*claims, strict=True))]).fetchall()
            for (key,) in free:
                del by_key[key]
            if not by_key:
                break
            for key, holder, until, _ in db.execute(SQL["holders"], ([*by_key],)).fetchall():
                job, row = by_key.pop(key)
                if until and until <= now:
                    db.execute(SQL["take_key"], (key, job.id, row[_PLACE], held_until(job, now)))
                else:
                    held[job.id] = holder
        return held

    def _correct_keys(self, db: Session, keyed: Sequence[tuple[Job, Row]], added: Sequence[Row], now: float) -> None:
        """Let keys say where their jobs stand, where that is not the place that was asked for."""
        places = {row[_ID]: row[_PLACE] for row in added}
        for job, row in keyed:
            place = places.get(job.id, row[_PLACE])
            if place != row[_PLACE]:
                db.execute(SQL["take_key"], (job.key, job.id, place, held_until(job, now)))

    def _insert_keyed(self, db: Session, job: Job, row: Row, now: float) -> tuple[JobId, Row | None]:
        """Add a job that may have a key; return the id that the caller gets, and its row where it is a new one."""
        moved = self._moved(db, row)
        if moved is None:
            return job.id, None
        if job.key is not None:
            holder = self._claim(db, job, moved[_PLACE], now)
            if holder is not None:
                id, seq, state = holder
                if not job.replace:
                    return id, None
                if seq is not None and state == QUEUED and db.execute(SQL["lock_queued"], (seq,)).fetchone():
                    return self._rewrite(db, msgspec.structs.replace(job, id=id), seq, now), None
                db.execute(SQL["take_key"], (job.key, job.id, moved[_PLACE], held_until(job, now)))
        added = self._insert_rows(db, [moved])
        return job.id, added[0] if added else None

    def _claim(self, db: Session, job: Job, place: int, now: float) -> tuple[JobId, int, int | None] | None:
        """Take the key of a job; return who holds it where it is held."""
        assert job.key is not None  # noqa: S101
        claim = ([job.key], [job.id], [place], [held_until(job, now)])
        while not db.execute(SQL["claim_keys"], claim).fetchone():
            found = db.execute(SQL["holder"], (job.key,)).fetchone()
            if found is None:
                continue  # it was freed at this moment
            if found[1] and found[1] <= now:
                db.execute(SQL["take_key"], (job.key, job.id, place, held_until(job, now)))
                return None
            return found[0], found[2], found[3]
        return None

    def _rewrite(self, db: Session, job: Job, seq: int, now: float) -> JobId:
        """Debounce: a queued job takes over the newer call's arguments, due time and lane, and keeps its id."""
        _, id, queue, rank, _, task, enqueued, due, expires, key, body, *_ = self._row(job, {}, now)
        lane = job.ties.lane if job.ties is not None else None
        rows.take_out(db, [seq])
        db.execute(SQL["rewrite"], (queue, rank, task, enqueued, due, expires, body, lane, LANE * bool(lane), seq))
        rows.queue_up(db, [seq], now)
        if lane is not None and db.is_theirs:
            self._lanes.announce(db, {(lane, queue): body})
        elif lane is not None and due <= now:
            self._lanes.line_up(db, [(lane, queue)], now)
        db.execute(SQL["take_key"], (key, id, seq, held_until(job, now)))
        return job.id

    # -- putting what is tied to something --------------------------------------------------------------------

    def _prepare_ties(self, db: Session, jobs: Sequence[Job], now: float) -> dict[GroupId, int]:
        """See to the lanes and groups that jobs name; return the numbers of the groups."""
        if not db.is_theirs:
            self._declare_lanes(db, jobs, now)
        return self._groups_of(db, jobs, now)

    def _note_added(self, db: Session, added: Sequence[Row], now: float) -> None:
        """Tell their groups and lanes of new rows."""
        self._groups.join(db, Counter(row[_GROUP] for row in added if row[_GROUP] is not None))
        in_lanes = [row for row in added if row[_LANE] is not None]
        if db.is_theirs:
            self._lanes.announce(db, {(row[_LANE], row[_QUEUE]): row[_BODY] for row in in_lanes})
        else:
            self._lanes.line_up(db, {(row[_LANE], row[_QUEUE]) for row in in_lanes if _is_ready(row, now)}, now)

    def _declare_lanes(self, db: Session, jobs: Sequence[Job], now: float) -> None:
        declared: dict[str, LaneLimits | None] = {}
        for job in jobs:
            if job.ties is not None and job.ties.lane is not None:
                declared[job.ties.lane] = job.ties.limits or declared.get(job.ties.lane)
        if declared:
            self._lanes.declare(db, declared, now)

    def _groups_of(self, db: Session, jobs: Sequence[Job], now: float) -> dict[GroupId, int]:
        """Return the numbers of the groups that jobs are members of. Raises GroupEnded where one takes no more."""
        named = {job.ties.group for job in jobs if job.ties is not None and job.ties.group is not None}
        numbers: dict[GroupId, int] = {}
        closed: dict[GroupId, tuple[float | None, bool]] = {}
        for id in sorted(named):
            numbers[id], ended, called_off = self._groups.find(db, id, now)
            if ended is not None or called_off:
                closed[id] = (ended, called_off)
        late = [job for job in jobs if closed and job.ties is not None and job.ties.group in closed]
        if late:
            there = self._there(db, [(place_of(job.id), job.id) for job in late])
            for job in late:
                if job.id not in there:
                    groups.refuse_ended(job.ties.group, *closed[job.ties.group])  # type: ignore[union-attr,arg-type,index]
        return numbers

    def _insert_waiting(
        self, db: Session, job: Job, numbers: dict[GroupId, int], causes: list[Cause], now: float
    ) -> JobId:
        """Add a job that waits, and to `causes` what it waits for, where that has ended already."""
        row = self._row(job, numbers, now)
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

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease, in one transaction (see Broker.exchange)."""
        self._rest_ears()
        queues = [*dict.fromkeys(queues)]
        settled = _tokens_by_lease(settlements)
        emptied = [number for number, tokens in settled.items() if self._held.get(number, _NOTHING) <= tokens]
        plain = _sorted_out(settlements)
        leases = None if plain is None else self._exchange_plain(plain, emptied, worker, queues, limit, seconds)
        if leases is None:

            def work(db: Session, now: float) -> list[Lease]:
                self._settle(db, settlements, now)
                db.execute(SQL["release"], (emptied,))
                return self._lease(db, worker, queues, limit, seconds, now) if limit > 0 else []

            leases = self._alone(work)
        self._note(settled, leases)
        return leases

    def _exchange_plain(
        self,
        plain: "_Plain",
        emptied: Sequence[int],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease] | None:
        """Do it for jobs that are tied to nothing, by one call but for those that failed; None where more is to do."""
        if plain.others:
            self._transact(lambda db, now: self._settle(db, plain.others, now))
        values = (
            self._fixed(),
            Integers(plain.done),
            Integers(plain.numbers),
            Blobs(plain.results),
            plain.keep,
            Integers(plain.dropped),
            Integers(plain.dropped_numbers),
            Texts([key for key, _ in plain.keys]),
            Texts([id for _, id in plain.keys]),
            Integers(emptied),
        )
        found = self._server.call(SQL["exchange"], (*values, worker, queues, max(limit, 0), seconds))
        if found and found[0][0] is None:
            return None
        found.sort(key=_in_order)  # as they are, but for a plan that goes another way
        return [
            Lease(id, seq, body, attempt, lost, number, key, tied, given)
            for _, id, seq, body, attempt, lost, number, tied, key, given in found
        ]

    def _lease(
        self, db: Session, worker: str, queues: Sequence[str], limit: int, seconds: float, now: float
    ) -> list[Lease]:
        due: list[Row] = []
        paused, in_turn = self._do_chores(db, now)
        take = self._in_turn if in_turn else self._due
        db.execute(SQL["break_up_first"], ([queue for queue in queues if queue not in paused], limit))
        for queue in queues:
            if len(due) < limit and queue not in paused:
                due += take(db, queue, limit - len(due), now)
        if not due:
            return []
        places = [row[1] for row in due]
        rows.take_from_ready(db, places)
        ((number,),) = db.execute(SQL["hold"], (worker, now + seconds, places)).fetchall()
        started = {seq for (seq,) in db.execute(SQL["start"], (number, now, places))}
        return [
            Lease(id, seq, body, attempt, lost, number, key, tied, given)
            for id, seq, body, attempt, lost, tied, key, _, given in due
            if seq in started
        ]

    def _do_chores(self, db: Session, now: float) -> tuple[set[str], bool]:
        """See to lapsed leases and to what has become due; return the paused queues, and whether there are lanes."""
        self._lanes.welcome(db, now)
        ((lapsed, due, paused, lanes),) = db.execute(SQL["chores"], {"now": now}).fetchall()
        if lapsed:
            self._lapse(db, now)
        if lanes:
            self._lanes.open_due(db, now)
        if due:
            self._lanes.line_up(db, db.execute(SQL["promote"], (now,)).fetchall(), now)
        return {queue for (queue,) in db.execute(SQL["paused"])} if paused else set(), bool(lanes or due)

    def _due(self, db: Session, queue: str, limit: int, now: float) -> list[Row]:
        """Return the next jobs of a queue that are in no lane."""
        while True:
            due: list[Row] = db.execute(SQL["due"], (queue, "", limit, 0)).fetchall()
            late = [row for row in due if row[lanes.EXPIRES] is not None and row[lanes.EXPIRES] <= now]
            if not late:
                return due
            self._expire_due(db, now, late)

    def _in_turn(self, db: Session, queue: str, limit: int, now: float) -> list[Row]:
        """Return the next jobs of a queue, its lanes served by turn."""
        expire = functools.partial(self._expire_due, db, now)
        while True:
            due = self._lanes.serve(db, queue, limit, now, expire)
            if due is None:
                return self._due(db, queue, limit, now)
            if due:
                return due  # else the lanes that were looked at had no job left: on to others

    def _expire_due(self, db: Session, now: float, late: Sequence[Row]) -> None:
        self._expire(db, [(row[1], row[0], row[6], row[5]) for row in late], now)

    def _expire(self, db: Session, late: Sequence[tuple[int, JobId, str | None, int]], now: float) -> None:
        rows.take_out(db, [seq for seq, *_ in late])
        for seq, id, key, _ in late:
            rows.end(db, seq, id, key, EXPIRED, None, now)
        rows.retain(db, {KEEP_UNRUN: [seq for seq, *_ in late]}, now)
        tied = [seq for seq, _, _, tied in late if tied > LANE]
        if tied:
            self._groups.ended_without_worker(db, tied, EXPIRED, now)

    def _lapse(self, db: Session, now: float) -> None:
        """Make the jobs of silent workers due again, or fail those that too many workers died with."""
        for number, worker, jobs in db.execute(SQL["lapsed"], (now,)).fetchall():
            ended = []
            again = []
            ready = set()
            left: Counter[str] = Counter()
            for seq, attempt, lost, cancelling, errors, body, key, id, tied, lane, queue in db.execute(
                SQL["lapsed_jobs"], (number, jobs)
            ).fetchall():
                error = lost_worker(worker, attempt, now)
                history = with_error(errors, error)
                if lane is not None:
                    left[lane] += 1
                if cancelling:
                    rows.end(db, seq, id, key, CANCELLED, errors, now)
                elif lost >= self._decoded(body).redeliveries:
                    rows.end(db, seq, id, key, FAILED, history, now)
                else:
                    db.execute(SQL["requeue"], (now, attempt, lost + 1, history, seq))
                    again.append(seq)
                    ready |= {(lane, queue)} if lane is not None else set()
                    continue
                db.execute(SQL["count_lost"], (seq,))
                ended.append((seq, tied, CANCELLED if cancelling else FAILED, error))
            rows.queue_up(db, again, now)
            rows.retain(db, {KEEP_UNRUN: [seq for seq, *_ in ended]}, now)
            db.execute(SQL["release"], ([number],))
            self._lanes.leave(db, {lane: Left(count) for lane, count in left.items()}, now)
            self._lanes.line_up(db, ready, now)
            for seq, tied, state, error in ended:
                if tied > LANE:
                    self._groups.ended_without_worker(db, [seq], state, now, error if state == FAILED else None)

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Renew leases (see Broker.extend)."""
        numbers = {lease.number for lease in leases}

        def renew(db: Session, now: float) -> tuple[set[int], list[Row]]:
            info = encode(msgspec.structs.replace(worker, seen=now))
            db.execute(SQL["sign_in"], (worker.id, now + seconds, info))
            ours = {number for (number,) in db.execute(SQL["extend"], (now + seconds, sorted(numbers), worker.id))}
            asked = db.execute(SQL["cancelled"], ([lease.token for lease in leases],)).fetchall()
            return numbers - ours, asked

        lost, asked = self._transact(renew)
        held = {(lease.token, lease.number) for lease in leases}
        return Extended(frozenset(lost), frozenset(id for id, seq, number in asked if (seq, number) in held))

    # -- settling -------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down outcomes (see Broker.settle)."""
        if settlements:
            self.exchange(settlements, "", (), 0, 0.0)

    def _settle(self, db: Session, settlements: Sequence[Settlement], now: float) -> None:
        batch = _Batch()
        done, entangled = [], []
        self._report(
            db, [Report(it.lease, it.progress, it.logs or None) for it in settlements if it.progress or it.logs]
        )
        for settlement in settlements:
            lease = settlement.lease
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

    def _write(self, db: Session, batch: "_Batch", now: float) -> None:
        if batch.done:
            db.execute(SQL["finish"], (now, *map(list, zip(*sorted(batch.done), strict=True))))
        if batch.dropped:
            db.execute(SQL["drop"], [*map(list, zip(*sorted(batch.dropped), strict=True))])
        rows.queue_up(db, batch.again, now)
        rows.retain(db, batch.kept, now)
        rows.free_keys(db, batch.keys)

    def _settle_other(
        self, db: Session, settlement: Settlement, batch: "_Batch", now: float, collects: bool = False
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
                end, errors = FAILED, with_error(errors, error)
            case Cancel():
                end = CANCELLED
            case Retry() | Snooze() if cancelling:
                end = CANCELLED
            case Retry(delay=delay, error=error):
                history = with_error(errors, error)
                db.execute(SQL["requeue"], (now + (delay or 0.0), attempt, lease.lost, history, lease.token))
                batch.note_again(lease.token, not delay, lane, queue)
            case Snooze(delay=delay):
                db.execute(SQL["requeue"], (now + delay, attempt - 1, lease.lost, errors, lease.token))
                batch.note_again(lease.token, delay <= 0, lane, queue)
        if end is not None:
            rows.end(db, lease.token, lease.id, lease.key, end, errors, now)
            if settlement.results == "none" and not collects:
                db.execute(SQL["delete"], ([lease.token],))
            elif not collects:
                batch.kept[settlement.keep].append(lease.token)
        return end

    def _note(self, settled: Mapping[int, set[int]], leases: Sequence[Lease]) -> None:
        """Remember, after the commit, which jobs of which lease are still to be settled."""
        for number, tokens in settled.items():
            held = self._held.get(number)
            if held is not None:
                held -= tokens
                if not held:
                    del self._held[number]
        if leases:
            self._held[leases[0].number] = {lease.token for lease in leases}

    # -- settling what is tied to something -------------------------------------------------------------------

    def _settle_entangled(
        self, db: Session, settlements: Sequence[Settlement], batch: "_Batch", now: float
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

    def _still_ours(self, db: Session, settlements: Sequence[Settlement]) -> dict[tuple[int, int], Row]:
        """Return what is known of the leased jobs that still run under their lease, by place and number.

        A job may stand here twice, with a lease that lapsed and with the one that its worker took afterwards.
        """
        leases = {(it.lease.token, it.lease.number) for it in settlements}
        found = db.execute(groups.SQL["tied"], [*map(list, zip(*leases, strict=True))])
        return {(seq, number): tuple(facts) for seq, number, *facts in found}

    def _wanted(self, db: Session, followers: Sequence[Job], now: float) -> list[Job]:
        """Return the followers but for those that their group does not take: it was called off, or is full."""
        named = {job.ties.group for job in followers if job.ties is not None and job.ties.group is not None}
        bounds = self._groups.bounds(db, named) if named else {}
        if not bounds:
            return [*followers]
        return within(followers, bounds, lambda key: rows.holder_of(db, key, now) is not None)

    def report(self, reports: Sequence[Report]) -> None:
        """Note what running jobs say of themselves."""
        if reports:
            self._transact(lambda db, now: self._report(db, reports))

    def _report(self, db: Session, reports: Sequence[Report]) -> None:
        told = [
            (
                it.lease.token,
                it.lease.number,
                encode(it.progress) if it.progress else None,
                encode(it.logs) if it.logs else None,
            )
            for it in sorted(reports, key=lambda it: it.lease.token)
        ]
        if told:
            db.execute(SQL["report"], [*map(list, zip(*told, strict=True))])

    # -- the results of another broker's jobs -----------------------------------------------------------------

    def keep(self, ended: Sequence[JobRecord], seconds: float) -> None:
        """Keep the records of another broker's jobs (see ResultStore.keep)."""
        places = {place_of(record.id): record for record in ended}
        if not places:
            return

        def write(db: Session, now: float) -> None:
            written = _keep(db, places)
            missing = {id for _, id, _ in written} ^ {record.id for record in ended}
            for record in (record for record in ended if record.id in missing):
                where: dict[str, Any] = {"place": place_of(record.id), "id": record.id}
                ((place, free),) = db.execute(SQL["find_place"], where).fetchall()
                written += _keep(db, {place or free or where["place"]: record})  # beside the job that has its place
            kept: defaultdict[float, list[int]] = defaultdict(list)
            for seq, _, finished in written:
                kept[finished].append(seq)
            for finished, seqs in kept.items():
                db.execute(SQL["retain"], (now + seconds, finished, seqs))

        self._transact(write)

    # -- waiting --------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for work (see Broker.wait)."""
        try:
            self._wait(queues, seconds)
        except BrokerError:
            if not self._server.closed:  # else it was closed meanwhile
                raise

    def _wait(self, queues: Sequence[str], seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._ear() as ear:
            ear.attend([ANYTHING, *map(sign_of, queues)])
            while not self._server.closed and (left := min(end - time.monotonic(), self._due_in(queues))) > 0:
                before = time.monotonic()
                if ear.wait(left) or time.monotonic() - before >= left:
                    return

    def _due_in(self, queues: Sequence[str]) -> float:
        """Return the seconds until something may be due in `queues`; 0 where something is."""
        ready, due_in = self._server.call(SQL["anything_ready"], {"queues": [*queues], "now": self._fixed()})[0]
        if ready:
            return 0.0
        return FOREVER if due_in is None else max(0.0, due_in)

    def _ear(self) -> Ear:
        """Return this thread's ear; none of two waiting threads may take the other's wake-up."""
        ear: Ear | None = getattr(self._ears, "ear", None)
        if ear is None:
            ear = self._ears.ear = Ear(self._server)
            with self._ears_lock:
                self._all_ears.add(ear)
        return ear

    def wait_change(self, seconds: float) -> None:
        """Wait until the end of a job was told."""
        with self._ear() as ear:
            if ear.attend([RESULTS]):
                ear.wait(seconds)

    def wake(self) -> None:
        """Make every wait return."""
        for ear in self._known_ears():
            ear.poke()

    def _known_ears(self) -> list[Ear]:
        with self._ears_lock:
            return list(self._all_ears)

    def _rest_ears(self) -> None:
        """Ask for no notification in the name of threads that do not wait any more."""
        for ear in self._known_ears() if self._all_ears else ():
            ear.rest()

    # -- tidying up -----------------------------------------------------------------------------------------

    def goodbye(self, worker: str) -> None:
        """Forget a worker."""
        self._server.change(SQL["sign_off"], (worker,))

    def prune(self, limit: int) -> int:
        """Remove finished jobs whose time is over, and expire what waited too long."""
        return self._alone(lambda db, now: self._prune(db, limit, now), slow=True)

    def _prune(self, db: Session, limit: int, now: float) -> int:
        late = db.execute(SQL["overdue"], {"now": now, "limit": limit}).fetchall()
        if late:
            self._expire(db, late, now)
        removed = len(late)
        for batch, finished, jobs in db.execute(SQL["outdated"], (now, limit)).fetchall():
            if removed >= limit:
                break
            gone = db.execute(SQL["prune"], (finished, jobs)).fetchall()
            members = [row for row in gone if row[1] is not None]
            if members:
                db.execute(SQL["forget_members"], [*map(list, zip(*members, strict=True))])
            removed += len(gone)
            db.execute(SQL["forget_batch"], (batch,))
        if removed < limit:
            removed += self._groups.prune(db, limit - removed, now)
        self._lanes.drop_idle(db, limit, now)
        db.execute(SQL["bury_workers"], (now,))
        db.execute(SQL["free_keys"], (now,))
        return removed

    def close(self) -> None:
        """Close the connections."""
        self.wake()
        self._server.close()


class _Batch:
    """What a settle call writes with one statement for many jobs."""

    def __init__(self) -> None:
        self.done: list[tuple[int, int, bytes]] = []
        self.dropped: list[tuple[int, int]] = []
        self.again: list[int] = []
        self.kept: defaultdict[float, list[int]] = defaultdict(list)
        self.keys: list[tuple[str, JobId]] = []
        self.ready: set[tuple[str, str]] = set()
        self.followers: list[Job] = []

    def add_done(self, settlements: Iterable[Settlement]) -> None:
        """Add jobs that succeeded."""
        for settlement in settlements:
            lease = settlement.lease
            if settlement.results == "all":
                self.add_collected(settlement)
                self.kept[settlement.keep].append(lease.token)
            else:
                self.dropped.append((lease.token, lease.number))
                self.keys += [(lease.key, lease.id)] if lease.key is not None else []

    def add_collected(self, settlement: Settlement) -> None:
        """Add a job that succeeded, and whose result is kept for as long as its group."""
        lease = settlement.lease
        self.done.append((lease.token, lease.number, settlement.outcome.result))  # type: ignore[union-attr]
        self.keys += [(lease.key, lease.id)] if lease.key is not None else []

    def note_again(self, place: int, at_once: bool, lane: str | None, queue: str) -> None:
        """Note that a job is queued again, and where it is due at once, that its lane has to know."""
        self.again.append(place)
        if at_once and lane is not None:
            self.ready.add((lane, queue))


class _Plain:
    """Settlements of jobs that are tied to nothing, as the function `exchange_2` takes them; and the other ones."""

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.done: list[int] = []
        self.numbers: list[int] = []
        self.results: list[bytes | None] = []
        self.dropped: list[int] = []
        self.dropped_numbers: list[int] = []
        self.keys: list[tuple[str, JobId]] = []
        self.others: list[Settlement] = []


def _sorted_out(settlements: Sequence[Settlement]) -> _Plain | None:
    """Return settlements as one call takes them; None where a job is tied to something, or has followers."""
    plain = _Plain(settlements[0].keep if settlements else 0.0)
    for it in settlements:
        lease, outcome = it.lease, it.outcome
        if lease.tied or it.followers:
            return None
        if type(outcome) is not Done or it.keep != plain.keep or it.logs or it.progress is not None:
            plain.others.append(it)
            continue
        if it.results == "all":
            plain.done.append(lease.token)
            plain.numbers.append(lease.number)
            plain.results.append(outcome.result)
        else:
            plain.dropped.append(lease.token)
            plain.dropped_numbers.append(lease.number)
        if lease.key is not None:
            plain.keys.append((lease.key, lease.id))
    return plain


def _tokens_by_lease(settlements: Iterable[Settlement]) -> dict[int, set[int]]:
    """Return which jobs are settled, by the number of their lease."""
    tokens: defaultdict[int, set[int]] = defaultdict(set)
    for it in settlements:
        tokens[it.lease.number].add(it.lease.token)
    return tokens


def _are_plain(jobs: Iterable[Job]) -> bool:
    """Return whether no job has a key, or is tied to anything."""
    return all(job.key is None and job.ties is None for job in jobs)


def _waits(job: Job) -> bool:
    """Return whether a job waits for another one or for a group."""
    return job.ties is not None and job.ties.after is not None


def _is_ready(row: Row, now: float) -> bool:
    return bool(row[_STATE] == QUEUED and row[7] <= now)


def _result_and_error(outcome: Any) -> tuple[bytes | None, Any]:
    return getattr(outcome, "result", None), outcome.error if isinstance(outcome, Fail) else None


def _keep(db: Session, places: Mapping[int, JobRecord]) -> list[Row]:
    """Write records of jobs at their places; return those that were written."""
    columns = [*map(list, zip(*itertools.starmap(kept_row, places.items()), strict=True))]
    return db.execute(SQL["keep"], columns).fetchall()
