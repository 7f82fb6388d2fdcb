"""The queue on Redis: what programs and workers call.

Every verb is one call of a script, whatever the number of jobs in it, and so one transaction. A job that is tied to
nothing costs a handful of entries in sorted sets and hashes, moved many at a time: docs/decisions/0014.
"""

import contextlib
import itertools
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ...core.codec import Codec
from ...core.errors import BrokerError, GroupEnded
from ...core.job import KEEP_UNRUN, Job, JobId
from ...core.ports import Capabilities, Extended, Lease, Report, Settlement, WorkerInfo
from . import records
from .inspector import RedisInspector
from .listener import Listener
from .records import binary, encode
from .schedules import RedisSchedules
from .server import Client, RedisServer

CONSTANTS: dict[str, object] = {"KEEP_UNRUN": KEEP_UNRUN}


class RedisBroker(RedisInspector, RedisSchedules):
    """A Store on one Redis server. `connect` makes its client; `clock`, by default the server's, is for tests."""

    capabilities = Capabilities()

    def __init__(
        self,
        connect: Callable[[], Client],
        codec: Codec | None = None,
        *,
        prefix: str = "worklist",
        shown: str = "redis://",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._codec = codec or Codec()
        self._clock = clock
        self._server = RedisServer(connect, shown, prefix, CONSTANTS)
        self._own_channel = f"{self._server.prefix}own:{secrets.token_hex(8)}"
        self._local = threading.local()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._wakes = itertools.count(1)
        self._woken = 0

    def _call(self, verb: str, payload: Any = None, again: bool = True) -> Any:
        return self._server.call(verb, self._clock() if self._clock else None, encode(payload), again)

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        if not jobs:
            return []
        ids: list[JobId] = []
        for some in _apart(jobs):
            ids += self._put(some) or []
        return ids

    def _put(self, jobs: Sequence[Job], **schedule: Any) -> list[JobId] | None:
        """Add jobs of which no two replace the same one; None where the schedule that puts them has moved on."""
        if not schedule and not any(map(records.flags_of, jobs)):
            packed = [records.packed_job(job, self._codec) for job in jobs]
            return _texts(self._call("put", {"plain": True, "jobs": packed}))
        expected: Sequence[JobId | None] = [None] * len(jobs)
        while True:
            packed = [self._packed(job, holder) for job, holder in zip(jobs, expected, strict=True)]
            try:
                answer = self._call("put", {"jobs": packed, **schedule})
            except BrokerError as error:
                _refuse_ended(error)
                raise
            if answer is None:
                return None
            if answer[0] == b"put":
                return _texts(answer[1])
            expected = [None if id is None else id.decode() for id in answer[1]]

    def _packed(self, job: Job, holder: JobId | None) -> list[Any]:
        named = job if holder is None else msgspec.structs.replace(job, id=holder)
        packed = records.packed_job(named, self._codec, holder)
        packed[0] = job.id
        return packed

    # -- leasing and settling ---------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs (see Broker.lease)."""
        return self.exchange((), worker, queues, limit, seconds)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down outcomes (see Broker.settle)."""
        if settlements:
            self.exchange(settlements, "", (), 0, 0.0)

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease, in one call (see Broker.exchange)."""
        if not settlements and limit <= 0:
            return []
        done, others = records.packed_settlements(settlements, self._codec)
        payload = {
            "done": done, "others": others, "worker": worker, "queues": queues, "limit": limit, "seconds": seconds
        }  # fmt: skip
        number, flat = self._call("exchange", payload, again=limit <= 0)
        return records.leases_of(int(number), flat) if number is not None else []

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Renew leases (see Broker.extend)."""
        lost, stop = self._call(
            "extend",
            {
                "worker": worker.id,
                "about": binary(encode(worker)),
                "seconds": seconds,
                "numbers": list({lease.number for lease in leases}),
                "held": [[lease.id, lease.number, lease.token] for lease in leases],
            },
        )
        return Extended(frozenset(map(int, lost)), frozenset(_texts(stop)))

    def report(self, reports: Sequence[Report]) -> None:
        """Note what running jobs say of themselves."""
        self._call("report", [_packed_report(report) for report in reports])

    # -- waiting --------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for work (see Broker.wait)."""
        end = time.monotonic() + seconds
        woken = self._woken
        listener = self._listener("wait")
        listener.subscribe([f"{self._server.prefix}wake:{queue}" for queue in queues])
        try:
            while (left := end - time.monotonic()) > 0 and self._woken == woken:
                due = float(self._call("peek", list(queues)))
                if due <= 0 or listener.hear(min(left, due)) or due <= left:
                    return
        finally:
            listener.close()  # a busy worker has no ear for what is published

    def wait_change(self, seconds: float) -> None:
        """Wait until anything was written; the first call of a thread returns at once, and has begun to listen."""
        listener = self._listener("change")
        if listener.subscribe([f"{self._server.prefix}changed"]) and listener.hear(seconds):
            listener.drain()

    def _listener(self, kind: str) -> Listener:
        """Return this thread's listener of a kind; none of two waiting threads may take the other's wake-up."""
        listener: Listener | None = getattr(self._local, kind, None)
        if listener is None:
            listener = Listener(self._server, self._own_channel)
            setattr(self._local, kind, listener)
            self._listeners.add(listener)
        return listener

    def wake(self) -> None:
        """Make every wait return."""
        self._woken = next(self._wakes)
        if self._server.is_open:
            self._server.command("PUBLISH", self._own_channel, b"")

    # -- tidying up -----------------------------------------------------------------------------------------

    def goodbye(self, worker: str) -> None:
        """Forget a worker."""
        self._server.command("ZREM", f"{self._server.prefix}workers", worker)
        self._server.command("HDEL", f"{self._server.prefix}about", worker)

    def prune(self, limit: int) -> int:
        """Remove finished jobs whose time is over, and expire what waited too long."""
        return int(self._call("prune", limit))

    def close(self) -> None:
        """Give back the connections."""
        with contextlib.suppress(BrokerError):
            self.wake()
        for listener in list(self._listeners):
            listener.end()
        self._server.close()


def _apart(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """Give jobs in pieces, so that no two of one piece may replace the same one; nearly always in one piece."""
    piece: list[Job] = []
    keys: set[str] = set()
    for job in jobs:
        if job.key is not None and job.key in keys and job.replace:
            yield piece
            piece, keys = [], set()
        piece.append(job)
        if job.key is not None:
            keys.add(job.key)
    yield piece


def _texts(found: Sequence[bytes]) -> list[str]:
    return [it.decode() for it in found]


def _packed_report(report: Report) -> list[Any]:
    lease = report.lease
    progress = binary(encode(report.progress)) if report.progress is not None else False
    logs = binary(encode(report.logs)) if report.logs is not None else False
    return [lease.id, lease.number, lease.token, progress, logs]


def _refuse_ended(error: BrokerError) -> None:
    """Raise GroupEnded where that is what a script said."""
    _, said, rest = str(error).partition("GROUPENDED ")
    if said:
        how, id = rest.split()[:2]
        was = "was called off" if how == "off" else "has ended"
        raise GroupEnded(f"group {id} {was}, so nothing can be added to it; make a new group") from None
