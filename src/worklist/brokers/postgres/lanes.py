"""Lanes on PostgreSQL: what they allow, and whose turn it is. Every method works inside a transaction of the broker.

A lane's row says what it may do; its rows among the turns, one for each queue with ready jobs of it, say when it is
served. A lane that may do nothing now is closed there, out of the index that leasing reads: docs/decisions/0010.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...core.lane import Lane, LaneLimits
from ...core.ports import LaneChange
from ...core.turns import PLAIN, Line, serve
from .. import sql
from . import rows
from .server import Session

SQL = sql.load_statements("postgres", "lanes.sql")
Row = tuple[Any, ...]
EXPIRES = 7
"""Where in the row of a due job stands when it expires."""


class Left(NamedTuple):
    """How many jobs of a lane are leased no longer, and how many of these had not begun."""

    jobs: int = 0
    unused: int = 0


class _Reader:
    """Reads the due jobs of one line in steps."""

    def __init__(self, db: Session, statement: str, *of: str) -> None:
        self._db = db
        self._statement = statement
        self._of = of
        self._read = 0

    def fetch(self, count: int) -> list[Row]:
        """Return the next rows."""
        rows = self._db.execute(self._statement, (*self._of, count, self._read)).fetchall()
        self._read += len(rows)
        return rows


class PostgresLanes:
    """The lanes of one schema. `limits_in` returns what the task of a stored body declares of its lane."""

    def __init__(self, limits_in: Callable[[bytes], LaneLimits]) -> None:
        self._limits_in = limits_in

    def declare(self, db: Session, declared: Mapping[str, LaneLimits | None], now: float) -> None:
        """Note what tasks declare of the lanes of jobs that are being put; who declares nothing changes nothing."""
        known = self._load(db, declared)
        for name, limits in declared.items():
            lane = known.get(name)
            if lane is None:
                self._save(db, [Lane(name=name, limits=limits or LaneLimits())])
            elif limits is not None and lane.limits != limits and not lane.pinned:
                lane.limits = limits
                self._save_changed(db, lane, now)

    def line_up(self, db: Session, pairs: Iterable[tuple[str, str]], now: float) -> None:
        """Give a turn to lanes, each in a queue, that have ready jobs there."""
        wanted = set(pairs)
        if not wanted:
            return
        lanes = self._load(db, {lane for lane, _ in wanted})
        for name in sorted({lane for lane, _ in wanted} - lanes.keys()):
            lanes[name] = self._make_again(db, name)
        opens = {name: lane.opens(now) for name, lane in lanes.items()}
        names, queues = map(list, zip(*sorted(wanted), strict=True))
        db.execute(SQL["line_up"], (names, queues, [opens[name] for name in names]))

    def announce(self, db: Session, bodies: Mapping[tuple[str, str], bytes]) -> None:
        """Note lanes, each in a queue and with a job in it, that are to have a turn once a transaction is over.

        It may stay open for long, so that it must not touch what others want to change.
        """
        if bodies:
            limits = [self._limits_in(body) for body in bodies.values()]
            facts = zip(*[(it.rate, it.burst, it.concurrency) for it in limits], strict=True)
            db.execute(SQL["announce"], (*map(list, zip(*bodies, strict=True)), *map(list, facts)))

    def welcome(self, db: Session, now: float) -> None:
        """Give a turn to the lanes that have been announced."""
        found = db.execute(SQL["welcome"]).fetchall()
        if found:
            declared = {lane: LaneLimits(rate, burst, concurrency) for lane, _, rate, burst, concurrency in found}
            self.declare(db, {lane: it for lane, it in declared.items() if it != LaneLimits()}, now)
            self.line_up(db, {(lane, queue) for lane, queue, *_ in found}, now)

    def _make_again(self, db: Session, name: str) -> Lane:
        """Return a lane that was dropped while it was idle, as the first of its jobs declares it."""
        row = db.execute(SQL["any_ready"], (name,)).fetchone()
        lane = Lane(name=name, limits=self._limits_in(row[0]) if row else LaneLimits())
        self._save(db, [lane])
        return lane

    def open_due(self, db: Session, now: float) -> None:
        """Open the lanes whose time has come."""
        db.execute(SQL["open_lanes"], (now,))

    # -- leasing --------------------------------------------------------------------------------------------

    def serve(
        self,
        db: Session,
        queue: str,
        limit: int,
        now: float,
        expire: Callable[[Sequence[Row]], None],
    ) -> list[Row] | None:
        """Take up to `limit` due rows of a queue, its lanes and the jobs in none by turn; None where it has no lanes.

        `expire` is given the rows that are too late.
        """
        turns = db.execute(SQL["open_turns"], (queue, limit)).fetchall()
        if not turns:
            return None
        at, plain_at = db.execute(SQL["round"], (queue,)).fetchone() or (0.0, 0.0)
        late: list[Row] = []

        def is_late(row: Row) -> bool:
            if row[EXPIRES] is None or row[EXPIRES] > now:
                return False
            late.append(row)
            return True

        lines = [Line(PLAIN, plain_at, None, now, _Reader(db, rows.SQL["due"], queue, PLAIN).fetch)]
        for name, turn, *facts in turns:
            reader = _Reader(db, rows.SQL["due"], queue, name)
            lines.append(Line(name, turn, _lane(name, *facts), now, reader.fetch))
        taken, at = serve(lines, limit, at, is_late)
        self._note_served(db, queue, lines, at, now)
        if late:
            expire(late)
        return taken

    def _note_served(self, db: Session, queue: str, lines: Sequence[Line[Row]], at: float, now: float) -> None:
        db.execute(SQL["save_round"], (queue, at, lines[0].turn))
        in_lanes = [(line, line.lane) for line in lines if line.lane is not None]
        for line, lane in in_lanes:
            lane.spend(line.taken, now)
        self._save(db, [lane for line, lane in in_lanes if line.taken])
        served = [line for line, _ in in_lanes if line.looked_at]
        empty = [line.name for line in served if line.is_empty]
        if empty:
            db.execute(SQL["leave_turns"], (empty, queue))
        moved = [(line.turn, line.name) for line in served if not line.is_empty]
        if moved:
            db.execute(SQL["move_turns"], (*map(list, zip(*moved, strict=True)), queue))
        self._set_opens(db, [lane for line, lane in in_lanes if line.is_closed], now)

    def leave(self, db: Session, left: Mapping[str, Left], now: float) -> None:
        """Free the places of jobs that are leased no longer, and open the lanes that were at their ceiling."""
        if not left:
            return
        lanes = self._load(db, left)
        for name, lane in lanes.items():
            lane.give_back(*left[name])
        self._save(db, lanes.values())
        limited = [lane for lane in lanes.values() if lane.limits.concurrency is not None or left[lane.name].unused]
        self._set_opens(db, limited, now)

    # -- for people -----------------------------------------------------------------------------------------

    def change(self, db: Session, name: str, change: LaneChange, now: float) -> None:
        """Set limits, weight or pause of a lane."""
        lane = self._load(db, [name]).get(name) or Lane(name=name)
        change.apply_to(lane)
        self._save_changed(db, lane, now)

    def drop_idle(self, db: Session, limit: int, now: float) -> None:
        """Remove lanes that hold nothing worth keeping."""
        db.execute(SQL["drop_idle"], {"now": now, "limit": limit})

    # -- rows -----------------------------------------------------------------------------------------------

    def _load(self, db: Session, names: Iterable[str]) -> dict[str, Lane]:
        return {row[0]: _lane(*row) for row in db.execute(SQL["some_lanes"], ([*names],))}

    def _save(self, db: Session, lanes: Iterable[Lane]) -> None:
        wanted = [_row(lane) for lane in lanes]
        if wanted:
            db.execute(SQL["save_lanes"], [*map(list, zip(*wanted, strict=True))])

    def _save_changed(self, db: Session, lane: Lane, now: float) -> None:
        """Save a lane that may open or close by it."""
        self._save(db, [lane])
        self._set_opens(db, [lane], now)

    def _set_opens(self, db: Session, lanes: Sequence[Lane], now: float) -> None:
        if lanes:
            db.execute(SQL["set_opens"], ([lane.opens(now) for lane in lanes], [lane.name for lane in lanes]))


def lanes_of(found: Iterable[Row], ready: Mapping[str, int]) -> list[Lane]:
    """Return rows of lanes with the number of their ready jobs."""
    lanes = [_lane(*row) for row in found]
    for lane in lanes:
        lane.queued = ready.get(lane.name, 0)
    return lanes


def _row(lane: Lane) -> Row:
    limits = lane.limits
    facts = (lane.name, limits.rate, limits.burst, limits.concurrency, lane.weight, lane.pinned, lane.paused)
    return (*facts, lane.running, lane.spent)


def _lane(
    name: str,
    rate: float | None,
    burst: int | None,
    concurrency: int | None,
    weight: float | None,
    pinned: int | None,
    paused: float | None,
    running: int | None,
    spent: float | None,
) -> Lane:
    """Return a lane from its row. One that has no row, which nobody should have removed, limits nothing."""
    return Lane(
        name=name,
        limits=LaneLimits(rate, burst or 1, concurrency),
        weight=weight or 1.0,
        pinned=bool(pinned),
        paused=paused or 0.0,
        running=running or 0,
        spent=spent or 0.0,
    )
