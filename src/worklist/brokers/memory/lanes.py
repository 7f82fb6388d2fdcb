"""The lanes of the model: what they allow, and whose turn it is in each queue."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from ...core.lane import Lane, LaneLimits
from ...core.ports import LaneChange
from ...core.turns import PLAIN, Line, serve
from .rows import Row


class Heap(Protocol):
    """The ready jobs of a queue that are in one lane, or in none."""

    def pop(self) -> Row | None:
        """Take the next job, None where there is none."""

    def put_back(self, row: Row) -> None:
        """Give back a job that was taken."""


class MemoryLanes:
    """Lanes by name, and for each queue the turns of those that have ready jobs there."""

    def __init__(self) -> None:
        self.all: dict[str, Lane] = {}
        self._turns: dict[str, dict[str, float]] = {}  # queue -> lane -> turn
        self._rounds: dict[str, tuple[float, float]] = {}  # queue -> where turns stand, turn of jobs in no lane

    def declare(self, name: str, limits: LaneLimits | None) -> None:
        """Note what a task declares of a lane; who declares nothing changes nothing."""
        lane = self.all.setdefault(name, Lane(name=name))
        if limits is not None and not lane.pinned:
            lane.limits = limits

    def line_up(self, lane: str, queue: str, limits: LaneLimits) -> None:
        """Give a turn to a lane that has ready jobs in a queue; where it was dropped, it is made anew."""
        self.all.setdefault(lane, Lane(name=lane, limits=limits))
        at, _ = self._rounds.get(queue, (0.0, 0.0))
        self._turns.setdefault(queue, {}).setdefault(lane, at)

    def is_open(self, queue: str, now: float) -> bool:
        """Return whether a lane with a turn in this queue may have jobs leased."""
        return any(not self.all[lane].opens(now) for lane in self._turns.get(queue, {}))

    def opens(self, now: float) -> float:
        """Return when the next lane opens; infinite: none does by itself."""
        times = [self.all[lane].opens(now) for turns in self._turns.values() for lane in turns]
        return min((at for at in times if at > now), default=math.inf)

    def not_paused(self, queue: str, now: float) -> list[str]:
        """Return the lanes with a turn in this queue that are not paused."""
        return [lane for lane in self._turns.get(queue, {}) if self.all[lane].paused <= now]

    def serve(
        self,
        queue: str,
        limit: int,
        now: float,
        heap_of: Callable[[str | None], Heap],
        is_late: Callable[[Row], bool],
    ) -> list[Row] | None:
        """Take up to `limit` jobs of a queue, its lanes and those in none by turn; None where no lane has a turn."""
        turns = self._turns.get(queue, {})
        open_turns = sorted((turn, name) for name, turn in turns.items() if not self.all[name].opens(now))[:limit]
        if not open_turns:
            return None
        at, plain_at = self._rounds.get(queue, (0.0, 0.0))
        readers = [_Reader(heap_of(None)), *(_Reader(heap_of(name)) for _, name in open_turns)]
        lines = [Line(PLAIN, plain_at, None, now, readers[0].fetch)]
        for (turn, name), reader in zip(open_turns, readers[1:], strict=True):
            lines.append(Line(name, turn, self.all[name], now, reader.fetch))
        taken, at = serve(lines, limit, at, is_late)
        self._rounds[queue] = (at, lines[0].turn)
        for line, reader in zip(lines, readers, strict=True):
            reader.give_back(line.jobs_left)
            if line.lane is not None and line.looked_at:
                line.lane.spend(line.taken, now)
                turns[line.name] = line.turn
                if line.is_empty:
                    del turns[line.name]
        return taken

    def leave(self, name: str, unused: int) -> None:
        """Free the place of a job that is leased no longer; its token comes back where it had not begun."""
        self.all[name].give_back(1, unused)

    def change(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        change.apply_to(self.all.setdefault(name, Lane(name=name)))

    def drop_idle(self, now: float) -> None:
        """Remove lanes that hold nothing worth keeping."""
        busy = {lane for turns in self._turns.values() for lane in turns}
        for name, lane in list(self.all.items()):
            if name not in busy and lane.is_idle(now):
                del self.all[name]


class _Reader:
    """Reads a heap in steps, and gives back what was read too much."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap

    def fetch(self, count: int) -> Sequence[Row]:
        rows = [self._heap.pop() for _ in range(count)]
        return [row for row in rows if row is not None]

    def give_back(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._heap.put_back(row)
