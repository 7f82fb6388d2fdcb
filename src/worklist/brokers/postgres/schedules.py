"""Schedules on PostgreSQL; the broker inherits them, and gives its server, its clock and its own way to put.

A tick compares the stored schedule with the one that the beat has seen, moves it on and puts the jobs in one
transaction, so that of many beats one does it, and a beat that is killed has done all of it or nothing.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from ...core.codec import Codec
from ...core.errors import UndecodableJob
from ...core.job import Job, JobId
from ...core.schedule import Schedule
from .. import sql
from .rows import SQL as ROWS
from .server import PostgresServer, Session

SQL = sql.load_statements("postgres", "schedules.sql")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Schedule).decode
T = TypeVar("T")
log = logging.getLogger("worklist")


class PostgresSchedules:
    """The port Schedules on one server."""

    _server: PostgresServer
    _codec: Codec
    _clock: Callable[[], float] | None
    _unreadable: frozenset[str] = frozenset()
    """Names of schedules that were told of already."""

    def _insert(self, db: Session, jobs: Sequence[Job], now: float) -> list[JobId]:
        """Add jobs inside a transaction: the broker's."""
        raise NotImplementedError

    def _alone(self, work: Callable[[Session, float], T], slow: bool = False) -> T:
        """Do work in a transaction, alone: the broker's."""
        raise NotImplementedError

    def _fixed(self) -> float | None:
        """Return the time by the clock that was given; None where the server's counts."""
        return None if self._clock is None else self._clock()

    def now(self) -> float:
        """Return unix seconds by the broker's clock."""
        return float(self._server.call(ROWS["now"], (self._fixed(),))[0][0])

    def schedules(self) -> list[Schedule]:
        """Return all schedules, by name; one that cannot be read is logged and left out."""
        found = map(self._schedule, self._server.call(SQL["schedules"]))
        return [schedule for schedule in found if schedule is not None]

    def save_schedule(self, schedule: Schedule, seen: Schedule | None) -> bool:
        """Store a schedule in the place of `seen` (see Schedules.save_schedule)."""
        body = self._codec.seal(_encode(schedule))

        def save(db: Session, now: float) -> bool:
            if self._stored(db, schedule.name) != seen:
                return False
            db.execute(SQL["save"], (schedule.name, schedule.due, schedule.last, body))
            return True

        return self._alone(save)

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule; return whether it was there."""
        return self._server.change(SQL["delete"], (name,)) > 0

    def tick(self, seen: Schedule, due: float, last: float | None, jobs: Sequence[Job]) -> list[JobId] | None:
        """Put the jobs of a tick once (see Schedules.tick)."""

        def move_on(db: Session, now: float) -> list[JobId] | None:
            if self._stored(db, seen.name) != seen:
                return None
            db.execute(SQL["move_on"], (due, last, seen.name))
            return self._insert(db, jobs, now)

        return self._alone(move_on)

    def _stored(self, db: Session, name: str) -> Schedule | None:
        row = db.execute(SQL["schedule"], (name,)).fetchone()
        return None if row is None else self._schedule(row)

    def _schedule(self, row: tuple[Any, ...]) -> Schedule | None:
        name, due, last, body = row
        try:
            schedule = _decode(self._codec.unseal(body))
        except (UndecodableJob, msgspec.DecodeError) as error:
            if name not in self._unreadable:
                self._unreadable |= {name}
                log.warning("the schedule %r cannot be read, so it does not fire: %s", name, error)
            return None
        return msgspec.structs.replace(schedule, due=due, last=last)
