"""How jobs and outcomes look in Redis: what goes into a call of a script, and what comes out of one.

A stored job is two times, a byte of flags, a header for the scripts to read, and the body, which they hand on as it
is. None is false in what scripts read, since Lua's tables have no place for nil.
"""

import functools
import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from ...core.codec import Codec
from ...core.errors import UndecodableJob
from ...core.job import ErrorInfo, Job, JobId, JobRecord, JobState, Progress, Ties
from ...core.lane import LaneLimits
from ...core.outcome import HAND_BACK, Cancel, Done, Fail, Retry, Snooze
from ...core.ports import Lease, Settlement

LANE, GROUP, FOLLOWED, KEYED, WAITS, EXPIRES, RENAMED = 1, 2, 4, 8, 16, 32, 64
TIES = LANE | GROUP | FOLLOWED
"""Those flags that a lease carries on, for its settlement."""
HISTORY = 64
"""Of a lease: there were attempts before, and what is known of them is to be kept."""

RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED, QUEUED, WAITING = range(2, 9)
STATES = {
    RUNNING: JobState.RUNNING,
    SUCCEEDED: JobState.SUCCEEDED,
    FAILED: JobState.FAILED,
    CANCELLED: JobState.CANCELLED,
    EXPIRED: JobState.EXPIRED,
    QUEUED: JobState.QUEUED,
    WAITING: JobState.WAITING,
}
CODES = {state: code for code, state in STATES.items()}

_RANK_OF_SUCCESS = 1 << 30  # as in verb_keep.lua; that of other ends is their attempt
_UNTIED = Ties()
_TIMES = struct.Struct("<dd")
_FINISHED = struct.Struct("<BddiiI")
_LENGTH = struct.Struct("<I")
DOUBLE = struct.Struct("<d")
_FLAGS, _HEADER = 16, 19
"""Where in a stored job stand its flags, and its header."""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode
_decode_error = msgspec.msgpack.Decoder(ErrorInfo).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode
_decode_logs = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_decode_record = msgspec.msgpack.Decoder(JobRecord).decode


def binary(data: bytes) -> msgspec.Raw:
    """Return bytes as a part of a message: as text, since the scripts' decoder knows no bytes."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


# -- jobs -------------------------------------------------------------------------------------------------------


def flags_of(job: Job) -> int:
    """Return what a job is tied to, and what else scripts have to see to, as bits."""
    flags = KEYED * (job.key is not None) | EXPIRES * (job.expires is not None)
    ties = job.ties
    if ties is not None:
        flags |= LANE * (ties.lane is not None) | GROUP * (ties.group is not None) | FOLLOWED * ties.followed
        flags |= WAITS * (ties.after is not None)
    return flags


def is_due_and_untied(job: Job) -> bool:
    """Return whether a job is of the kind that most are of: to be run at once, and for scripts to see to no more."""
    return (
        job.ties is None and job.key is None and job.expires is None and job.eta is None and job.delay == 0.0
    )  # fmt: skip


def packed_job(job: Job, codec: Codec) -> list[Any]:
    """Return a job as scripts take it."""
    due = job.delay if job.eta is None else [job.delay, job.eta]
    return [job.id, job.queue, -job.priority, due, binary(packed_rest(job, codec)), job.replace]


def packed_rest(job: Job, codec: Codec) -> bytes:
    """Return what is stored of a job behind its times: flags, header, body."""
    if is_due_and_untied(job):
        return _common_header(job.queue, job.task, job.priority, job.hold, job.redeliveries) + codec.encode(job)
    return _packed_header(job) + codec.encode(job)


@functools.lru_cache(maxsize=1000)
def _common_header(queue: str, task: str, priority: int, hold: float, redeliveries: int) -> bytes:
    """Return the header of jobs that are due and untied, which these of its fields make: the same for most jobs."""
    return _packed_header(Job("", task, b"", queue, priority, hold=hold, redeliveries=redeliveries))


def _packed_header(job: Job) -> bytes:
    header = encode(_header(job))
    return struct.pack("<BH", flags_of(job), len(header)) + header


def _header(job: Job) -> list[Any]:
    ties = job.ties or _UNTIED
    limits = ties.limits
    return [
        job.queue,
        job.task,
        -job.priority,
        job.delay,
        job.eta or False,
        False if job.expires is None else job.expires,
        False if job.key is None else job.key,
        job.hold,
        job.redeliveries,
        ties.lane or False,
        ties.group or False,
        ties.after or False,
        ties.when == "all",
        ties.takes,
        False if limits is None else [limits.rate or False, limits.burst, limits.concurrency or False],
    ]


def limits_of(rate: Any, burst: int, concurrency: Any) -> LaneLimits:
    """Return limits from the values that scripts keep."""
    return LaneLimits(float(rate) if rate else None, burst, concurrency or None)


# -- leases and settlements -------------------------------------------------------------------------------------

_Alike = tuple[list[JobId], list[msgspec.Raw]]


def leases_of(number: int, flat: Sequence[Any], codec: Codec) -> list[Lease]:
    """Return leases from what the script that leases tells: five values for each."""
    leases = []
    for place in range(0, len(flat), 5):
        id, token, history, given, stored = flat[place : place + 5]
        flags = stored[_FLAGS]
        end = _HEADER + (stored[17] | stored[18] << 8)
        key = decode(stored[_HEADER:end])[6] if flags & KEYED else None
        attempt, lost = struct.unpack_from("<ii", history) if history else (0, 0)
        tied = flags & TIES | (HISTORY if history else 0)
        leases.append(
            Lease(
                id.decode(), token, _body(id.decode(), stored, end, codec), attempt + 1, lost, number, key, tied, given
            )
        )
    return leases


def _body(id: JobId, stored: bytes, start: int, codec: Codec) -> bytes:
    """Return the body of a stored job; one that took over a newer call's (debounce) gets its own id there."""
    body = stored[start:]
    if not stored[_FLAGS] & RENAMED:
        return body
    try:
        return codec.encode(msgspec.structs.replace(codec.decode(body), id=id))
    except UndecodableJob:
        return body


def packed_settlements(settlements: Sequence[Settlement], codec: Codec) -> tuple[list[Any], list[Any]]:
    """Return outcomes as scripts take them: successes of jobs that nothing is tied to, by lease, and all others."""
    alike: defaultdict[tuple[int, int, float | bool], _Alike] = defaultdict(lambda: ([], []))
    others = []
    for it in settlements:
        lease, outcome = it.lease, it.outcome
        plain = lease.tied == 0 and lease.key is None and it.progress is None
        if plain and type(outcome) is Done and not (it.followers or it.logs):
            ids, results = alike[lease.number, lease.token, it.keep if it.results == "all" else False]
            ids.append(lease.id)
            results.append(binary(outcome.result))
        else:
            others.append(_other(it, codec))
    return [[*of, ids, results] for of, (ids, results) in alike.items()], others


def _other(it: Settlement, codec: Codec) -> dict[str, Any]:
    lease, outcome = it.lease, it.outcome
    packed: dict[str, Any] = {
        "id": lease.id,
        "number": lease.number,
        "token": lease.token,
        "keep": False if it.results == "none" else it.keep,
        "keep_result": it.keep if it.results == "all" else False,
        "progress": binary(encode(it.progress)) if it.progress is not None else False,
        "logs": binary(encode(it.logs)) if it.logs else False,
        "unused": outcome is HAND_BACK,
    }
    match outcome:
        case Done(result):
            followers = [packed_job(job, codec) for job in it.followers]
            return {**packed, "kind": "done", "result": binary(result), "followers": followers}
        case Fail(error):
            return {**packed, "kind": "fail", "error": binary(encode(error))}
        case Cancel():
            return {**packed, "kind": "cancel"}
        case Retry(delay=delay, error=error):
            told = binary(encode(error)) if error is not None else False
            return {**packed, "kind": "retry", "delay": delay or 0.0, "error": told}
        case Snooze(delay=delay):
            return {**packed, "kind": "snooze", "delay": delay}
    raise TypeError(f"{outcome!r} is no outcome")


# -- records ----------------------------------------------------------------------------------------------------


def packed_record(record: JobRecord) -> tuple[JobId, int, Any]:
    """Return how the record of a job is kept that has ended in another broker, with its rank among such records."""
    rank = _RANK_OF_SUCCESS if record.state is JobState.SUCCEEDED else record.attempt
    return record.id, rank, binary(encode(record))


def record_of(found: Sequence[Any] | None, codec: Codec) -> JobRecord | None:
    """Return what the script `record` tells of one job, or the packed record of one that has ended elsewhere."""
    if not found:
        return None
    if isinstance(found, bytes):
        return _decode_record(found)
    id, code, stored, finished, history, progress, logs, cancelling, worker, started, in_group = found
    enqueued, due = _TIMES.unpack_from(stored)
    end = _HEADER + int.from_bytes(stored[17:19], "little")
    header = decode(stored[_HEADER:end])
    facts: dict[str, Any] = {"attempt": 0, "lost": 0}
    if finished is not None:
        code, facts = _end_of(finished)
    elif history is not None:
        attempt, lost = struct.unpack_from("<ii", history)
        facts = {"attempt": attempt, "lost": lost, "errors": _errors(history[8:])}
    if code == RUNNING:
        facts |= {"attempt": facts["attempt"] + 1, "started": float(started), "worker": worker.decode()}
    state = STATES[code]
    return JobRecord(
        id=id.decode(),
        task=header[1],
        queue=header[0],
        state=state,
        body=_body(id.decode(), stored, end, codec),
        priority=-header[2],
        enqueued=enqueued,
        due=due if state is JobState.QUEUED else None,
        key=None if header[6] is False else header[6],
        expires=None if header[5] is False else enqueued + header[5],
        cancelling=cancelling is not None,
        progress=_decode_progress(progress) if progress is not None else None,
        lane=header[9] or None,
        group=(header[10] or None) if in_group else None,
        logs=_decode_logs(logs) if logs is not None else (),
        **facts,
    )


def _end_of(packed: bytes) -> tuple[int, dict[str, Any]]:
    """Return the state of a finished job, and what else is known of its end."""
    state, ended, started, attempt, lost, length = _FINISHED.unpack_from(packed)
    start = _FINISHED.size
    return state, {
        "finished": ended,
        "started": started or None,
        "attempt": attempt,
        "lost": lost,
        "errors": _errors(packed[start : start + length]),
        "result": result_of(packed),
    }


def result_of(packed: bytes | None) -> bytes | None:
    """Return the result of a finished job; None where it has none."""
    if packed is None:
        return None
    mark = _FINISHED.size + _LENGTH.unpack_from(packed, _FINISHED.size - _LENGTH.size)[0]
    return packed[mark + 1 :] if packed[mark] else None


def _errors(packed: bytes) -> tuple[ErrorInfo, ...]:
    found, at = [], 0
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size
        found.append(_decode_error(packed[at : at + length]))
        at += length
    return tuple(found)
