"""Many jobs put by one COPY in PostgreSQL's binary format: the fastest way into a table.

The server checks, writes and logs such rows a page at a time, not one by one. Beside their own rows, the jobs share a
few others, bundles: brokers/sql/postgres/schema_2.sql.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from ...core.job import Job
from .arrays import text_of
from .rows import SQL

BUNDLED = 26
"""From how many jobs on, of one queue and priority on average, they are put in bundles."""
_ROWS = 100
"""How many are sent at a time, so that the server works on them while the next ones are made."""
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_COLUMNS = 9
_length = struct.Struct(">i").pack
_times_and_state = struct.Struct(">ididiiih").pack
_QUEUED = 0

Bundles = Mapping[tuple[str, int], Sequence[int]]
"""The places of jobs by queue and priority."""


def bundles_of(jobs: Sequence[Job], places: Sequence[int]) -> Bundles | None:
    """Return bundles of jobs that are tied to nothing; None where they are too few, or not all due at once."""
    if len(jobs) < BUNDLED or any(job.delay or job.eta or job.expires is not None for job in jobs):
        return None
    bundles: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for job, place in zip(jobs, places, strict=True):
        bundles[job.queue, job.priority].append(place)
    return bundles if len(bundles) * BUNDLED <= len(jobs) else None


def script(bundles: Bundles, fixed: float | None) -> str:
    """Return the statements that copy jobs and bundle them, at a time that is fixed or the server's own."""
    text = SQL["copy"].format(fixed="NULL" if fixed is None else repr(fixed))
    for (queue, priority), places in bundles.items():
        listed = ",".join(map(str, sorted(places)))
        text += SQL["bundle"].format(queue=text_of(queue).hex(), rank=-priority, places=listed)
    return text


def copied(jobs: Sequence[Job], places: Sequence[int], encode: Callable[[Job], bytes], now: float) -> Iterator[bytes]:
    """Yield the rows of jobs that are due at `now`, in parts."""
    yield _SIGNATURE
    tails: dict[tuple[int, str, str], bytes] = {}
    size, head = -1, _head(0)
    for first in range(0, len(jobs), _ROWS):
        parts: list[bytes] = []
        for job, place in zip(jobs[first : first + _ROWS], places[first : first + _ROWS], strict=True):
            kind = (job.priority, job.queue, job.task)
            tail = tails.get(kind)
            if tail is None:
                tail = tails[kind] = _tail(*kind, now)
            id, body = job.id.encode(), encode(job)
            if len(id) != size:
                size, head = len(id), _head(len(id))
            parts += (head(_COLUMNS, 8, place, size, id, len(body)), body, tail)
        yield b"".join(parts)
    yield _END


def _head(size: int) -> Callable[..., bytes]:
    """Return what packs the place of a job, its id of `size` bytes, and the length of its body."""
    return struct.Struct(f">hiqi{size}si").pack


def _tail(priority: int, queue: str, task: str, now: float) -> bytes:
    """Return the columns that many jobs have alike."""
    fixed = _times_and_state(8, now, 8, now, 4, -priority, 2, _QUEUED)
    return fixed + b"".join(_length(len(text)) + text for text in (text_of(queue), text_of(task)))
