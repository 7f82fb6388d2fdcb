"""Schedules on Redis; the broker inherits them, and gives its way to call scripts and to put.

A tick compares the stored schedule with the one that the beat has seen, moves it on and puts the jobs in one script.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ...core.codec import Codec
from ...core.errors import UndecodableJob
from ...core.events import log
from ...core.job import Job, JobId
from ...core.schedule import Schedule
from .records import binary, encode
from .server import RedisServer

_decode = msgspec.msgpack.Decoder(Schedule).decode


class RedisSchedules:
    """The port Schedules on one server."""

    _server: RedisServer
    _codec: Codec
    _call: Callable[..., Any]
    _unreadable: frozenset[str] = frozenset()
    """Names of schedules that were told of already."""

    def _put(self, jobs: Sequence[Job], **schedule: Any) -> list[JobId] | None:
        """Add jobs where the schedule that puts them is still the one seen: the broker's."""
        raise NotImplementedError

    def now(self) -> float:
        """Return unix seconds by the broker's clock."""
        return float(self._call("now"))

    def schedules(self) -> list[Schedule]:
        """Return all schedules, by name; one that cannot be read is logged and left out."""
        stored = self._server.command("HGETALL", f"{self._server.prefix}schedules")
        found = (self._schedule(name.decode(), body) for name, body in sorted(stored.items()))
        return [schedule for schedule in found if schedule is not None]

    def save_schedule(self, schedule: Schedule, seen: Schedule | None) -> bool:
        """Store a schedule in the place of `seen` (see Schedules.save_schedule)."""
        stored, known = self._stored(schedule.name)
        if known != seen:
            return False
        payload = {"name": schedule.name, "seen": _or_false(stored), "stored": self._sealed(schedule)}
        return bool(self._call("save_schedule", payload, again=False))

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule; return whether it was there."""
        return bool(self._server.command("HDEL", f"{self._server.prefix}schedules", name))

    def tick(self, seen: Schedule, due: float, last: float | None, jobs: Sequence[Job]) -> list[JobId] | None:
        """Put the jobs of a tick once (see Schedules.tick)."""
        stored, known = self._stored(seen.name)
        if known != seen:
            return None
        moved = self._sealed(msgspec.structs.replace(seen, due=due, last=last))
        return self._put(jobs, schedule=seen.name, seen=_or_false(stored), stored=moved)

    def _sealed(self, schedule: Schedule) -> msgspec.Raw:
        return binary(self._codec.seal(encode(schedule)))

    def _stored(self, name: str) -> tuple[bytes | None, Schedule | None]:
        body = self._server.command("HGET", f"{self._server.prefix}schedules", name)
        return body, None if body is None else self._schedule(name, body)

    def _schedule(self, name: str, body: bytes) -> Schedule | None:
        try:
            return _decode(self._codec.unseal(body))
        except (UndecodableJob, msgspec.DecodeError) as error:
            if name not in self._unreadable:
                self._unreadable |= {name}
                log.warning("the schedule %r cannot be read, so it does not fire: %s", name, error)
            return None


def _or_false(stored: bytes | None) -> msgspec.Raw | bool:
    return False if stored is None else binary(stored)
