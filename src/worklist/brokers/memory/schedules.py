"""Schedules in memory; the broker inherits them, and gives its lock, its clock and its own way to put."""

import threading
from collections.abc import Callable, Sequence

import msgspec

from ...core.job import Job, JobId
from ...core.schedule import Schedule


class MemorySchedules:
    """The port Schedules in memory."""

    _changed: threading.Condition
    _clock: Callable[[], float]
    _schedules: dict[str, Schedule]

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs: the broker's."""
        raise NotImplementedError

    def now(self) -> float:
        """Return unix seconds by the broker's clock."""
        return self._clock()

    def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""
        with self._changed:
            return [schedule for _, schedule in sorted(self._schedules.items())]

    def save_schedule(self, schedule: Schedule, seen: Schedule | None) -> bool:
        """Store a schedule in the place of `seen` (see Schedules.save_schedule)."""
        with self._changed:
            if self._schedules.get(schedule.name) != seen:
                return False
            self._schedules[schedule.name] = schedule
            return True

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule; return whether it was there."""
        with self._changed:
            return self._schedules.pop(name, None) is not None

    def tick(self, seen: Schedule, due: float, last: float | None, jobs: Sequence[Job]) -> list[JobId] | None:
        """Put the jobs of a tick once (see Schedules.tick)."""
        with self._changed:
            if self._schedules.get(seen.name) != seen:
                return None
            ids = self.put(jobs)
            self._schedules[seen.name] = msgspec.structs.replace(seen, due=due, last=last)
            return ids
