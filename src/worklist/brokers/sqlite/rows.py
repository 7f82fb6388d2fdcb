"""Rows of jobs on SQLite: their states as numbers, where they stand, and the few changes that many verbs make to them.

It knows the tables and no verb.
"""

from collections.abc import Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from ...core.errors import ConfigError
from ...core.job import FOREVER, ErrorInfo, Job, JobId, JobRecord, JobState, Progress
from .. import sql

SQL = sql.load_statements("sqlite", "statements.sql")

WAITING, IN_LANE, READY, DELAYED, RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED = range(-2, 7)
STATES = {
    WAITING: JobState.WAITING,
    IN_LANE: JobState.QUEUED,
    READY: JobState.QUEUED,
    DELAYED: JobState.QUEUED,
    RUNNING: JobState.RUNNING,
    SUCCEEDED: JobState.SUCCEEDED,
    FAILED: JobState.FAILED,
    CANCELLED: JobState.CANCELLED,
    EXPIRED: JobState.EXPIRED,
}
CODES = {state: tuple(code for code, it in STATES.items() if it is state) for state in JobState}

LANE, GROUP, FOLLOWED = 1, 2, 4
"""What a job may be tied to, as bits."""

NOWHERE = -(1 << 62)
"""Where no row stands, and minus the number of no group."""
_MAX_PLACE = (1 << 63) - 1000

encode = msgspec.msgpack.Encoder().encode
_decode_errors = msgspec.msgpack.Decoder(tuple[ErrorInfo, ...]).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode
_decode_logs = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def place_of(id: JobId) -> int:
    """Return where the row of a job stands: the nanoseconds in its id. Raises ConfigError for an id of another kind."""
    place = place_or_nowhere(id)
    if place == NOWHERE:
        raise ConfigError(f"the job id {id!r} does not begin with its time; take ids from new_job_id()")
    return place


def place_or_nowhere(id: JobId) -> int:
    """Return where the row of a job stands, `NOWHERE` for an id that no row can have."""
    try:
        place = int(id[:16], 16)
    except ValueError:
        return NOWHERE
    return place if 0 <= place < _MAX_PLACE else NOWHERE


def held_until(job: Job, now: float) -> float:
    """Return until when a job that is put at `now` holds its key; 0: until it has finished."""
    return now + job.hold if job.hold else 0.0


def tied_of(job: Job) -> int:
    """Return what a job is tied to, as bits."""
    ties = job.ties
    if ties is None:
        return 0
    return LANE * (ties.lane is not None) | GROUP * (ties.group is not None) | FOLLOWED * ties.followed


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


def with_error(errors: bytes | None, error: ErrorInfo | None) -> bytes | None:
    """Return the stored history of errors with one more at its end."""
    if error is None:
        return errors
    return encode((*_decode_errors(errors), error) if errors else (error,))


def last_error(errors: bytes | None) -> ErrorInfo | None:
    """Return the newest of a stored history of errors."""
    return _decode_errors(errors)[-1] if errors else None


def end(db: Connection, seq: int, id: JobId, key: str | None, state: int, errors: bytes | None, now: float) -> None:
    """End a job and free its key. Without a new history of errors it keeps the one that it has."""
    db.execute(SQL["end"], (state, now, errors, seq))
    if key is not None:
        db.execute(SQL["free_key"], (key, id))


def retain(db: Connection, kept: Mapping[float, Sequence[int]], now: float) -> None:
    """Note which jobs, by the seconds for which they are kept, are to be removed when."""
    db.executemany(SQL["retain"], [(now + keep, now, str([*seqs])) for keep, seqs in kept.items() if seqs])


def kept_row(seq: int, record: JobRecord) -> tuple[Any, ...]:
    """Return what the statement `keep` writes of a job that has ended in another broker."""
    return (
        seq,
        record.id,
        record.queue,
        -record.priority,
        CODES[record.state][0],
        record.task,
        record.enqueued,
        record.enqueued,
        record.body,
        record.attempt,
        record.lost,
        record.started,
        record.finished,
        record.result,
        encode(record.errors) if record.errors else None,
        encode(record.progress) if record.progress is not None else None,
        encode(record.logs) if record.logs else None,
    )


def record_of(row: Iterable[Any]) -> JobRecord:
    """Return what a row of the query `record` tells."""
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
        state=STATES[state],
        body=body,
        priority=-rank,
        attempt=attempt,
        lost=lost,
        enqueued=enqueued,
        due=due if STATES[state] is JobState.QUEUED else None,
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
