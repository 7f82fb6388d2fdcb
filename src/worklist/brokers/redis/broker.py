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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...core.codec import Codec
from ...core.errors import BrokerError, BrokerUnavailable, GroupEnded
from ...core.job import KEEP_UNRUN, Job, JobId, JobRecord
from ...core.ports import Capabilities, Extended, Lease, Report, Settlement, WorkerInfo
from . import records
from .bell import Bell
from .inspector import RedisInspector
from .listener import Listener
from .records import binary, encode
from .schedules import RedisSchedules
from .server import Client, RedisServer

_KEPT_AT_ONCE = 1000
_OWN_SECONDS = 60
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
        self._bells: weakref.WeakSet[Bell] = weakref.WeakSet()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._unanswered: dict[str, str] = {}
        """By worker: the name of an exchange without an answer; the next one, of the same name, is given its leases."""
        self._wakes = itertools.count(1)
        self._woken = 0

    def _call(self, verb: str, payload: Any = None, again: bool = True) -> Any:
        return self._server.call(verb, self._now(), encode(payload), again=again)

    def _now(self) -> float | None:
        """Return what scripts take for the time; None: the server's clock."""
        return self._clock() if self._clock else None

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put)."""
        if len(jobs) == 1 and records.is_due_and_untied(jobs[0]):
            return [self._put_one(jobs[0])]
        return (self._put(jobs) or []) if jobs else []

    def _put_one(self, job: Job) -> JobId:
        """Add a job of the kind that most are of, one at a time: a script for itself, which takes half as long."""
        rest = records.packed_rest(job, self._codec)
        self._server.call("put_one", self._now(), job.id, job.queue, -job.priority, rest, again=True)
        return job.id

    def _put(self, jobs: Sequence[Job], **schedule: Any) -> list[JobId] | None:
        """Add jobs; None where the schedule that puts them has moved on."""
        packed = [records.packed_job(job, self._codec) for job in jobs]
        if not schedule and not any(map(records.flags_of, jobs)):
            return _texts(self._call("put_plain", packed))
        try:
            ids = self._call("put", {"jobs": packed, **schedule})
        except BrokerError as error:
            _refuse_ended(error)
            raise
        return None if ids is None else _texts(ids)

    # -- leasing and settling ---------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs (see Broker.lease)."""
        if limit <= 0:
            return []
        return self._leased(self._repeatable, "lease", _asked(worker, queues, limit, seconds))

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down outcomes (see Broker.settle)."""
        if settlements:
            done, others = records.packed_settlements(settlements, self._codec)
            self._call("settle", {"done": done, "others": others})

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease, in one call (see Broker.exchange)."""
        if not settlements or limit <= 0:
            self.settle(settlements)
            return self.lease(worker, queues, limit, seconds)
        done, others = records.packed_settlements(settlements, self._codec)
        payload = {"done": done, "others": others, **_asked(worker, queues, limit, seconds)}
        return self._leased(self._repeatable, "exchange", payload)

    def _leased(self, call: Callable[..., Any], verb: str, payload: dict[str, Any]) -> list[Lease]:
        """Return what a script leases. It is told by which name it is called, for the case that the answer is lost."""
        worker = payload["worker"]
        payload["call"] = name = self._unanswered.pop(worker, None) or secrets.token_hex(8)
        try:
            number, flat = call(verb, self._now(), encode(payload))
        except BrokerUnavailable:
            self._unanswered[worker] = name
            raise
        return records.leases_of(int(number), flat, self._codec) if number is not None else []

    def _repeatable(self, verb: str, *arguments: Any) -> Any:
        return self._server.call(verb, *arguments, again=True)

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Renew leases (see Broker.extend). Who does that and waits for nothing is busy."""
        for listener in list(self._listeners):
            listener.rest()
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

    def keep(self, ended: Sequence[JobRecord], seconds: float) -> None:
        """Keep the records of another broker's jobs (see ResultStore.keep)."""
        for start in range(0, len(ended), _KEPT_AT_ONCE):
            packed = [records.packed_record(it) for it in ended[start : start + _KEPT_AT_ONCE]]
            self._call("keep", {"records": packed, "seconds": seconds})

    # -- waiting --------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for work (see Broker.wait)."""
        end = time.monotonic() + seconds
        woken = self._woken
        listener = self._listener("wait")
        try:
            if listener.attend([f"{self._server.prefix}wake:{queue}" for queue in queues]):
                listener.drain()
            while (left := end - time.monotonic()) > 0 and self._woken == woken:
                due = float(self._call("peek", list(queues)))
                if due <= 0 or listener.hear(min(left, due)) or due <= left:
                    return
        finally:
            listener.leave()

    def lease_when_due(
        self, worker: str, queues: Sequence[str], limit: int, seconds: float, patience: float
    ) -> list[Lease]:
        """Wait for work and lease it at one go (see LeasesWhenDue.lease_when_due)."""
        end = time.monotonic() + patience
        woken = self._woken
        bell = self._bell()
        leases: list[Lease] = []
        while not leases and (left := end - time.monotonic()) > 0 and self._woken == woken:
            due = float(self._call("peek", list(queues)))
            if due <= 0:
                return self.lease(worker, queues, limit, seconds)
            wait = partial(bell.ask, queues, min(left, due))
            call = partial(self._server.call_at_bell, wait)
            leases = self._leased(call, "lease", _asked(worker, queues, limit, seconds))
        return leases

    def _bell(self) -> Bell:
        bell: Bell | None = getattr(self._local, "bell", None)
        if bell is None:
            bell = self._local.bell = Bell(self._server)
            self._bells.add(bell)
        return bell

    def wait_change(self, seconds: float) -> None:
        """Wait until anything was written; the first call of a thread returns at once, and has begun to listen."""
        listener = self._listener("change")
        try:
            if listener.attend([f"{self._server.prefix}changed"]) and listener.hear(seconds):
                listener.drain()
        finally:
            listener.leave()

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
            for bell in list(self._bells):
                self._server.command("RPUSH", bell.own, b"")
                self._server.command("EXPIRE", bell.own, _OWN_SECONDS)  # it may be that nobody waits there any more

    # -- tidying up -----------------------------------------------------------------------------------------

    def goodbye(self, worker: str) -> None:
        """Forget a worker."""
        self._server.command("ZREM", f"{self._server.prefix}workers", worker)
        for kind in ("about", "calls"):
            self._server.command("HDEL", f"{self._server.prefix}{kind}", worker)

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


def _asked(worker: str, queues: Sequence[str], limit: int, seconds: float) -> dict[str, Any]:
    return {"worker": worker, "queues": queues, "limit": limit, "seconds": seconds}


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
