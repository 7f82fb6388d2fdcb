"""Rows of jobs on SQLite: the few changes that many verbs make to them.

It knows the tables and no verb. What does not depend on SQLite is in `worklist.brokers.sql.records`.
"""

from collections.abc import Iterable, Mapping, Sequence
from sqlite3 import Connection

import msgspec

from ...core.job import FOREVER, Job, JobId
from .. import sql
from ..sql.records import (
    CANCELLED,
    CODES,
    DELAYED,
    EXPIRED,
    FAILED,
    FOLLOWED,
    GROUP,
    IN_LANE,
    LANE,
    NOWHERE,
    READY,
    RUNNING,
    STATES,
    SUCCEEDED,
    WAITING,
    encode,
    held_until,
    kept_row,
    last_error,
    place_of,
    place_or_nowhere,
    record_of,
    tied_of,
    with_error,
)

SQL = sql.load_statements("sqlite", "statements.sql")


def queued_state(lane: str | None, delayed: bool = False) -> int:
    """Return the state of a job that is queued: in its lane, or in none, or for later."""
    if delayed:
        return DELAYED
    return READY if lane is None else IN_LANE


def holder_of(db: Connection, key: str, now: float) -> tuple[JobId, int, int | None] | None:
    """Return the job that holds a key, its place and its state (None where it is gone); None where nobody does."""
    row = db.execute(SQL["holder"], (key,)).fetchone()
    if row is None or (row[1] and row[1] <= now):
        return None
    return row[0], row[2], row[3]


def hold_again(db: Connection, seq: int, id: JobId, key: str, job: Job, now: float) -> bool:
    """Give a job its key back; return False where another one holds it."""
    holder = holder_of(db, key, now)
    if holder is not None and holder[0] != id:
        return False
    if job.hold != FOREVER:
        db.execute(SQL["take_key"], (key, id, seq, held_until(job, now)))
    return True


def as_json(names: Iterable[str]) -> str:
    """Return names as one parameter for json_each; numbers are their own JSON, ``str([1, 2])``."""
    return msgspec.json.encode([*names]).decode()


def end(db: Connection, seq: int, id: JobId, key: str | None, state: int, errors: bytes | None, now: float) -> None:
    """End a job and free its key. Without a new history of errors it keeps the one that it has."""
    db.execute(SQL["end"], (state, now, errors, seq))
    if key is not None:
        db.execute(SQL["free_key"], (key, id))


def retain(db: Connection, kept: Mapping[float, Sequence[int]], now: float) -> None:
    """Note which jobs, by the seconds for which they are kept, are to be removed when."""
    db.executemany(SQL["retain"], [(now + keep, now, str([*seqs])) for keep, seqs in kept.items() if seqs])


__all__ = [
    "CANCELLED",
    "CODES",
    "DELAYED",
    "EXPIRED",
    "FAILED",
    "FOLLOWED",
    "GROUP",
    "IN_LANE",
    "LANE",
    "NOWHERE",
    "READY",
    "RUNNING",
    "SQL",
    "STATES",
    "SUCCEEDED",
    "WAITING",
    "as_json",
    "encode",
    "end",
    "held_until",
    "hold_again",
    "holder_of",
    "kept_row",
    "last_error",
    "place_of",
    "place_or_nowhere",
    "queued_state",
    "record_of",
    "retain",
    "tied_of",
    "with_error",
]
