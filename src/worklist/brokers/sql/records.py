"""What the SQL brokers have in common: states as numbers, where the row of a job stands, how it becomes a record.

It knows no database.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from ...core.errors import ConfigError
from ...core.job import ErrorInfo, Job, JobId, JobRecord, JobState, Progress

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


def with_error(errors: bytes | None, error: ErrorInfo | None) -> bytes | None:
    """Return the stored history of errors with one more at its end."""
    if error is None:
        return errors
    return encode((*_decode_errors(errors), error) if errors else (error,))


def last_error(errors: bytes | None) -> ErrorInfo | None:
    """Return the newest of a stored history of errors."""
    history = _decode_errors(errors) if errors else ()
    return history[-1] if history else None


def kept_row(seq: int, record: JobRecord) -> tuple[Any, ...]:
    """Return what the statement `keep` writes of a job that has ended in another broker.

    One that has failed has a history of errors, be it an empty one: it is found by that.
    """
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
        encode(record.errors) if record.errors or record.state is JobState.FAILED else None,
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
