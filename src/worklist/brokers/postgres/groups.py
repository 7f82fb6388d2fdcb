"""Groups and waiting jobs on PostgreSQL: who is counted where, and what follows when a job ends.

Every method works inside a transaction of the broker. A group is a row of counters, so the end of a member costs the
same at any size; jobs that wait name what they wait for (`after`: the place of a job, or minus that of a group).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ...core.errors import GroupEnded
from ...core.job import KEEP_UNRUN, ErrorInfo, GroupId, Job, JobId
from ...core.outcome import PREDECESSOR_FAILED, predecessor_failed, why_group, why_job
from ...core.ports import GroupRecord
from .. import sql
from ..sql.records import CANCELLED, FAILED, FOLLOWED, STATES, SUCCEEDED, last_error, place_or_nowhere, with_error
from . import rows
from .lanes import PostgresLanes
from .server import Session

SQL = sql.load_statements("postgres", "groups.sql")
_COUNTERS = {SUCCEEDED: 0, FAILED: 1}


class End(NamedTuple):
    """A job that has ended, as far as others are concerned."""

    seq: int
    id: JobId
    task: str
    tied: int
    grp: int | None
    state: int
    result: bytes | None = None
    error: ErrorInfo | None = None


class Cause(NamedTuple):
    """A job or a group that others may have waited for, and how it ended."""

    after: int
    succeeded: bool
    result: bytes | None
    reason: str


class PostgresGroups:
    """The groups of one schema. `decode` returns the job in a stored body."""

    def __init__(self, lanes: PostgresLanes, decode: Callable[[bytes], Job]) -> None:
        self._lanes = lanes
        self._decode = decode

    # -- putting --------------------------------------------------------------------------------------------

    def find(self, db: Session, id: GroupId, now: float) -> tuple[int, float | None, bool]:
        """Return the number of a group, made where there is none, when it ended, and whether it was called off."""
        row = db.execute(SQL["group"], (id,)).fetchone()
        if row is None:
            db.execute(SQL["add_group"], (id, now))
            return self.find(db, id, now)
        return row[0], row[1], row[2]

    def join(self, db: Session, members: Counter[int]) -> None:
        """Count new members, by the number of their group."""
        if members:
            db.execute(SQL["join"], ([*members], [*members.values()]))

    def bounds(self, db: Session, ids: Iterable[GroupId]) -> dict[GroupId, float]:
        """Return how many more members those of these groups take that do not take any number."""
        return dict(db.execute(SQL["bounds"], ([*ids],)).fetchall())

    def collect(self, db: Session, seq: int) -> None:
        """Have the results of a group's members kept until the job that waits for them has ended."""
        db.execute(SQL["collect"], (seq,))

    def seal(self, db: Session, id: GroupId, now: float) -> None:
        """Let a group end; it has ended already where all its members have."""
        if db.execute(SQL["seal"], (id,)).rowcount:
            self.end_where_over(db, [self.find(db, id, now)[0]], now)

    def end_where_over(self, db: Session, seqs: Iterable[int], now: float) -> None:
        """End those of these groups of which no member is left to end."""
        self.follow(db, self._over(db, seqs, now), now)

    # -- what follows -----------------------------------------------------------------------------------------

    def ended(self, db: Session, ends: Sequence[End], now: float) -> None:
        """Count jobs that have ended in their groups, and release or cancel those that waited for them."""
        self.follow(db, self._causes(db, ends, now), now)

    def ended_without_worker(
        self, db: Session, seqs: Iterable[int], state: int, now: float, error: ErrorInfo | None = None
    ) -> None:
        """Do the same for jobs of which little is at hand. They must be there still."""
        found: list[tuple[int, JobId, str, int, int | None]] = db.execute(SQL["ending"], ([*seqs],)).fetchall()
        if found:
            self.ended(db, [End(*row, state=state, error=error) for row in found], now)

    def follow(self, db: Session, causes: Sequence[Cause], now: float) -> None:
        """Go on until nothing follows any more: a job that is cancelled may be one that others wait for."""
        while causes:
            cancelled = self._release(db, causes, now)
            causes = self._causes(db, cancelled, now)

    def _causes(self, db: Session, ends: Sequence[End], now: float) -> list[Cause]:
        causes = [Cause(it.seq, it.state == SUCCEEDED, it.result, _why(it)) for it in ends if it.tied & FOLLOWED]
        counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for it in ends:
            if it.grp is not None:
                counts[it.grp][_COUNTERS.get(it.state, 2)] += 1
        if not counts:
            return causes
        rows.note_ended(db, [it.seq for it in ends if it.grp is not None])
        db.execute(SQL["count"], ([*counts], *map(list, zip(*counts.values(), strict=True))))
        return causes + self._over(db, counts, now)

    def _over(self, db: Session, seqs: Iterable[int], now: float) -> list[Cause]:
        """Note which of these groups have ended by now."""
        over = db.execute(SQL["over"], (now, [*seqs])).fetchall()
        return [
            Cause(
                -seq, not (failed or cancelled or called_off), None, why_group(id, total, failed, cancelled, called_off)
            )
            for seq, id, total, failed, cancelled, called_off in over
        ]

    def _release(self, db: Session, causes: Sequence[Cause], now: float) -> list[End]:
        """Make due, or cancel, the jobs that waited for what has ended; return those that were cancelled."""
        by_place = {cause.after: cause for cause in causes}
        released, lanes, cancelled = [], set(), []
        for seq, id, task, queue, lane, due, tied, grp, after, key, body in db.execute(
            SQL["waiting"], ([*by_place],)
        ).fetchall():
            cause = by_place[after]
            if not (cause.succeeded or self._runs_anyway(body)):
                error = predecessor_failed(cause.reason, now)
                rows.end(db, seq, id, key, CANCELLED, with_error(None, error), now)
                cancelled.append(End(seq, id, task, tied, grp, CANCELLED, None, error))
                continue
            when = self._decode(body).due(now) if due else now
            released.append((seq, when, cause.result))
            if lane is not None and when <= now:
                lanes.add((lane, queue))
        if released:
            db.execute(SQL["release"], [*map(list, zip(*released, strict=True))])
            rows.queue_up(db, [seq for seq, *_ in released], now)
            self._lanes.line_up(db, lanes, now)
        rows.retain(db, {KEEP_UNRUN: [it.seq for it in cancelled]}, now)
        return cancelled

    def _runs_anyway(self, body: bytes) -> bool:
        ties = self._decode(body).ties
        return ties is not None and ties.when == "all"

    def wait_for(self, db: Session, job: Job, now: float) -> tuple[int, Cause | None]:
        """Return what a job that is being put is to wait for, and how that ended where it has ended already."""
        ties = job.ties
        assert ties is not None and ties.after is not None  # noqa: PT018, S101
        if ties.after.startswith("g"):
            return self._wait_for_group(db, ties.after, ties.takes, now)
        place = place_or_nowhere(ties.after)
        row = db.execute(SQL["waited_for"], {"place": place, "id": ties.after}).fetchone()
        if row is None or not row[4] & FOLLOWED:
            reason = f"job {ties.after} is not known any more, or nothing was to follow it"
            nobody = max(place, 0) - (1 << 63)  # where no row stands, and no group
            return nobody, Cause(nobody, False, None, reason)
        seq, id, task, state, tied, grp, result = row
        if state < SUCCEEDED:
            return seq, None
        return seq, Cause(seq, state == SUCCEEDED, result, _why(End(seq, id, task, tied, grp, state)))

    def _wait_for_group(self, db: Session, id: GroupId, takes: bool, now: float) -> tuple[int, Cause | None]:
        seq, ended, _ = self.find(db, id, now)
        if takes:
            self.collect(db, seq)
        if ended is None:
            return -seq, None
        ((_, _, _, total, succeeded, failed, cancelled, _, called_off, _),) = db.execute(
            SQL["load"], ([id],)
        ).fetchall()
        reason = why_group(id, total, failed, cancelled, called_off)
        return -seq, Cause(-seq, succeeded == total and not called_off, None, reason)

    # -- a retry by hand ----------------------------------------------------------------------------------------

    def retried(self, db: Session, seq: int, tied: int, grp: int | None, state: int, now: float) -> None:
        """Take back what followed from the end of a job that is queued again: what it cancelled waits again.

        It holds its key again, unless that has gone to another job meanwhile.
        """
        if grp is not None:
            self._uncount(db, grp, state, now)
        if tied & FOLLOWED:
            self._wait_again(db, seq, now)

    def _uncount(self, db: Session, grp: int, state: int, now: float) -> None:
        numbers = [0, 0, 0]
        numbers[_COUNTERS.get(state, 2)] = 1
        db.execute(SQL["uncount"], (*numbers, grp))
        if db.execute(SQL["reopen"], (grp,)).rowcount:
            self._wait_again(db, -grp, now)

    def _wait_again(self, db: Session, after: int, now: float) -> None:
        for seq, id, tied, grp, key, errors, body in db.execute(SQL["cancelled_with"], (after,)).fetchall():
            error = last_error(errors)
            if error is None or error.type != PREDECESSOR_FAILED:
                continue  # somebody cancelled it
            job = self._decode(body)
            db.execute(rows.SQL["forget_ended"], ([seq],))
            db.execute(SQL["wait_again"], (waits(job), seq))
            if key is not None:
                rows.hold_again(db, seq, id, key, job, now)
            self.retried(db, seq, tied, grp, CANCELLED, now)

    # -- removing -------------------------------------------------------------------------------------------

    def prune(self, db: Session, limit: int, now: float) -> int:
        """Remove groups that ended long ago, with the members that were kept for them; return how many jobs."""
        removed = 0
        for seq, id, collects in db.execute(SQL["outdated"], (now - KEEP_UNRUN, limit)).fetchall():
            dropped = db.execute(SQL["drop_members"], (seq, limit - removed)).rowcount if collects else 0
            removed += dropped
            if removed >= limit:
                break
            db.execute(SQL["drop_ended"], (seq,))
            db.execute(SQL["drop_keys"], {"id": id})
            db.execute(SQL["drop"], (seq,))
        return removed


def group_of(row: Sequence[Any], running: int) -> GroupRecord:
    """Return what a row of the query `load` tells."""
    _, id, created, total, succeeded, failed, cancelled, open, called_off, ended = row
    return GroupRecord(
        id=id,
        created=created,
        total=total,
        succeeded=succeeded,
        failed=failed,
        cancelled=cancelled,
        running=running,
        open=bool(open),
        called_off=bool(called_off),
        ended=ended,
    )


def refuse_ended(id: GroupId, ended: float | None, called_off: bool) -> None:
    """Raise GroupEnded where a group takes no member any more."""
    if ended is not None or called_off:
        how = "was called off" if called_off else "has ended"
        raise GroupEnded(f"group {id} {how}, so nothing can be added to it; make a new group")


def waits(job: Job) -> float:
    """Return what stands for the due time of a waiting job: 0 where it is due at once when it is released."""
    return 1.0 if job.delay or job.eta else 0.0


def _why(end: End) -> str:
    """Return how a job ended, as a reason for those that waited for it."""
    return why_job(end.task, end.id, STATES[end.state], end.error)
