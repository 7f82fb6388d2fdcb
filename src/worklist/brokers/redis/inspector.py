"""What people look at and change on Redis: records, counts, workers, groups, lanes. The broker inherits it."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec

from ...core.codec import Codec
from ...core.errors import ConfigError
from ...core.job import GroupId, JobId, JobRecord, JobState
from ...core.lane import Lane
from ...core.ports import Change, Filter, GroupRecord, LaneChange, WorkerInfo
from . import records
from .records import CODES, STATES, decode
from .server import RedisServer

_CHUNK = 1000
"""How many jobs one call of a script looks at or changes, since all others wait meanwhile."""
_decode_worker = msgspec.msgpack.Decoder(WorkerInfo).decode
_RATE, _BURST, _CEILING, _WEIGHT, _PINNED, _PAUSED = range(1, 7)
"""Where in a stored lane these stand."""


class RedisInspector:
    """The ports ResultStore (what is asked of it), Inspector, Groups and Lanes on one server."""

    _server: RedisServer
    _codec: Codec
    _call: Callable[..., Any]

    # -- looking --------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return the records of jobs (see ResultStore.load)."""
        found: list[JobRecord | None] = []
        for start in range(0, len(ids), _CHUNK):
            found += map(self._record, self._call("load", list(ids[start : start + _CHUNK])))
        return found

    def _record(self, found: Sequence[Any] | None) -> JobRecord | None:
        return records.record_of(found, self._codec)

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Return how many jobs each queue has in each state."""
        flat = self._call("counts", list(STATES))
        width = len(STATES) + 1
        counts: dict[str, dict[JobState, int]] = {}
        for start in range(0, len(flat), width):
            of_queue = dict(zip(STATES.values(), flat[start + 1 : start + width], strict=True))
            there = {state: number for state, number in of_queue.items() if number}
            if there:
                counts[flat[start].decode()] = there
        return counts

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return the jobs that fit a filter."""
        count = wanted.limit
        while True:
            ids = self._ids(wanted, count)
            found = [record for record in self.load(ids[:count]) if record is not None]
            fitting = [record for record in found if _fits(record, wanted)]
            if len(fitting) >= wanted.limit or len(ids) < count:
                return fitting[: wanted.limit]
            count *= 4  # many are of another task, or have gone on meanwhile

    def _ids(self, wanted: Filter, count: int) -> list[JobId]:
        """Return ids of jobs in the state that is asked for, in order; `count` of them where there are so many."""
        states = list(STATES) if wanted.state is None else [CODES[wanted.state]]
        payload = {
            "queue": wanted.queue or False, "states": states, "count": count, "newest": wanted.newest_first
        }  # fmt: skip
        return sorted({id.decode() for id in self._call("find", payload)}, reverse=wanted.newest_first)

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that are alive."""
        found = []
        for about in self._call("workers"):
            (seen,) = records.DOUBLE.unpack(about[-8:])
            found.append(msgspec.structs.replace(_decode_worker(about[:-8]), seen=seen))
        return found

    def paused(self) -> list[str]:
        """Return the paused queues."""
        return sorted(name.decode() for name in self._server.command("SMEMBERS", f"{self._server.prefix}paused"))

    # -- changing -------------------------------------------------------------------------------------------

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs (see Inspector.change)."""
        if change not in get_args(Change):
            raise ConfigError(f"a job cannot be changed by {change!r}; expected cancel, retry or delete")
        changed: list[JobId] = []
        for start in range(0, len(ids), _CHUNK):
            some = {"ids": list(ids[start : start + _CHUNK]), "change": change}
            changed += [id.decode() for id in self._call("change", some)]
        return changed

    def purge(self, queue: str, state: JobState) -> int:
        """Remove every job of a queue in one state."""
        if state is JobState.RUNNING:
            return 0
        removed = 0
        while some := int(self._call("purge", {"queue": queue, "state": CODES[state], "count": _CHUNK})):
            removed += some
        return removed

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue."""
        self._call("pause", {"queue": queue, "paused": paused})

    # -- groups ---------------------------------------------------------------------------------------------

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group that does not end before it is sealed (see Groups.open_group)."""
        self._call("open_group", {"id": id, "most": False if most is None else most})

    def seal_group(self, id: GroupId) -> None:
        """Let a group end."""
        self._call("seal_group", id)

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Return what is known of groups."""
        return [_group(id, self._server.command("HGETALL", f"{self._server.prefix}group:{id}")) for id in ids]

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended, in the order of their end."""
        at, job = ended_after or (-1.0, "")
        found = self._call("members", {"id": id, "at": at, "job": job, "limit": limit})
        return [record for record in map(self._record, found) if record is not None]

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of all members in the order in which they were made."""
        results: list[bytes | None] = []
        while True:
            count, found = self._call("results", {"id": id, "from": len(results), "count": _CHUNK})
            results += map(records.result_of, found)
            if count < _CHUNK:
                return results

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop, some at a time."""
        asked = 0
        for start in itertools.count(0, _CHUNK):
            looked_at, some = self._call("call_off", {"id": id, "from": start, "count": _CHUNK})
            asked += int(some)
            if looked_at < _CHUNK:
                break
        return asked

    # -- lanes ----------------------------------------------------------------------------------------------

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes as they are now."""
        found = self._call("lanes", False if names is None else list(names))
        return [_lane(name.decode(), decode(packed), ready) for name, packed, ready in found]

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        lane: dict[str, Any] = {}
        if change.limits is not msgspec.UNSET:
            limits = change.limits
            lane |= {str(_RATE): limits.rate or False, str(_BURST): limits.burst}
            lane |= {str(_CEILING): limits.concurrency or False}
        for place, value in ((_WEIGHT, change.weight), (_PINNED, change.pinned), (_PAUSED, change.paused)):
            if value is not msgspec.UNSET:
                lane[str(place)] = value
        self._call("change_lane", {"name": name, "set": lane})

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether only their lanes keep jobs from being leased (see Broker.held_back)."""
        return bool(self._call("held_back", list(queues)))


def _fits(record: JobRecord, wanted: Filter) -> bool:
    return wanted.state in (None, record.state) and wanted.task in (None, record.task)


def _group(id: GroupId, stored: dict[bytes, bytes]) -> GroupRecord | None:
    if not stored:
        return None
    facts = {name.decode(): float(value) for name, value in stored.items()}
    ended = facts.get("ended")
    return GroupRecord(
        id=id,
        created=facts["created"],
        total=int(facts.get("total", 0)),
        succeeded=int(facts.get("succeeded", 0)),
        failed=int(facts.get("failed", 0)),
        cancelled=int(facts.get("cancelled", 0)),
        running=int(facts.get("running", 0)) if ended is None else 0,
        open="open" in facts,
        called_off="off" in facts,
        ended=ended,
    )


def _lane(name: str, stored: Sequence[Any], ready: int) -> Lane:
    rate, burst, ceiling, weight, pinned, paused, busy, spent = stored
    return Lane(
        name=name,
        limits=records.limits_of(rate, burst, ceiling),
        weight=float(weight),
        pinned=bool(pinned),
        paused=float(paused),
        running=int(busy),
        spent=float(spent),
        queued=ready,
    )
