"""Rows of jobs on PostgreSQL: the few changes that many verbs make to them.

It knows the tables and no verb.
"""

from collections.abc import Iterable, Mapping, Sequence

from ...core.job import FOREVER, Job, JobId
from .. import sql
from ..sql.records import held_until
from .server import Session

SQL = sql.load_statements("postgres", "statements.sql")
QUEUED = 0
"""The state of every job in a queue, due now or later, in a lane or in none; where it stands says which."""


def holder_of(db: Session, key: str, now: float) -> tuple[JobId, int, int | None] | None:
    """Return the job that holds a key, its place and its state (None where it is gone); None where nobody does.

    Where the key has a row, it is locked until the end of the transaction.
    """
    row = db.execute(SQL["holder"], (key,)).fetchone()
    if row is None or (row[1] and row[1] <= now):
        return None
    return row[0], row[2], row[3]


def hold_again(db: Session, seq: int, id: JobId, key: str, job: Job, now: float) -> bool:
    """Give a job its key back; return False where another one holds it."""
    holder = holder_of(db, key, now)
    if holder is not None and holder[0] != id:
        return False
    if job.hold != FOREVER:
        db.execute(SQL["take_key"], (key, id, seq, held_until(job, now)))
    return True


def end(db: Session, seq: int, id: JobId, key: str | None, state: int, errors: bytes | None, now: float) -> None:
    """End a job and free its key. Without a new history of errors it keeps the one that it has."""
    db.execute(SQL["end"], (state, now, errors, seq))
    free_keys(db, [(key, id)] if key is not None else [])


def free_keys(db: Session, keys: Iterable[tuple[str, JobId]]) -> None:
    """Free the keys of jobs that have finished or are gone."""
    held = [*keys]
    if held:
        db.execute(SQL["free_keys_of"], [*map(list, zip(*held, strict=True))])


def queue_up(db: Session, jobs: Iterable[int], now: float) -> None:
    """Let queued jobs be leased, now or when they are due."""
    places = [*jobs]
    if places:
        db.execute(SQL["queue_up"], {"jobs": places, "now": now})


def take_out(db: Session, jobs: Iterable[int]) -> None:
    """Let queued jobs not be leased any more."""
    places = [*jobs]
    if places:
        db.execute(SQL["break_up_of"], (places,))
        take_from_ready(db, places)


def take_from_ready(db: Session, places: Sequence[int]) -> None:
    """Do that to jobs that stand in no bundle."""
    if places:
        db.execute(SQL["take_out_of_delayed"], (places,))
        db.execute(SQL["take_out_of_ready"], (places,))


def note_ended(db: Session, jobs: Iterable[int]) -> None:
    """Note jobs that have just ended among the ended members of their groups."""
    places = [*jobs]
    if places:
        db.execute(SQL["note_ended"], (places,))


def retain(db: Session, kept: Mapping[float, Sequence[int]], now: float) -> None:
    """Note which jobs, by the seconds for which they are kept, are to be removed when."""
    for keep, seqs in kept.items():
        if seqs:
            db.execute(SQL["retain"], (now + keep, now, [*seqs]))
