"""The lanes of the model: what they allow, and whose turn it is in each queue."""

import heapq
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
    """Lanes by name, and for each queue the turns of those that have ready jobs there.

    Of these, a lane stands either among the open ones of its queue, or in the heap of those that open by themselves,
    or nowhere: then it opens when a job leaves it, or somebody changes it. So what is closed costs a lease nothing.
    """

    def __init__(self) -> None:
        self.all: dict[str, Lane] = {}
        self._turns: dict[str, dict[str, float]] = {}  # queue -> lane -> turn
        self._queues: dict[str, set[str]] = {}  # lane -> the queues where it has a turn
        self._open: dict[str, set[str]] = {}  # queue -> lanes
        self._opening: list[tuple[float, str]] = []  # heap of (when, lane)
        self._rounds: dict[str, tuple[float, float]] = {}  # queue -> where turns stand, turn of jobs in no lane

    def declare(self, name: str, limits: LaneLimits | None) -> None:
        """Note what a task declares of a lane; who declares nothing changes nothing."""
        lane = self.all.setdefault(name, Lane(name=name))
        if limits is not None and not lane.pinned and limits != lane.limits:
            lane.limits = limits
            self._sort(name)

    def line_up(self, lane: str, queue: str, limits: LaneLimits) -> None:
        """Give a turn to a lane that has ready jobs in a queue; where it was dropped, it is made anew."""
        self.all.setdefault(lane, Lane(name=lane, limits=limits))
        turns = self._turns.setdefault(queue, {})
        if lane not in turns:
            turns[lane], _ = self._rounds.get(queue, (0.0, 0.0))
            self._queues.setdefault(lane, set()).add(queue)
            self._sort(lane)

    def _sort(self, lane: str) -> None:
        """Note that a lane may have opened, where it has a turn; whether it has is seen when somebody asks."""
        if self._queues.get(lane):
            heapq.heappush(self._opening, (0.0, lane))

    def _update(self, now: float) -> None:
        """Look at the lanes that have, or may have, opened by now."""
        while self._opening and self._opening[0][0] <= now:
            _, lane = heapq.heappop(self._opening)
            at = self.all[lane].opens(now) if self._queues.get(lane) else math.inf
            for queue in self._queues.get(lane, ()):
                among = self._open.setdefault(queue, set())
                among.discard(lane) if at else among.add(lane)
            if now < at < math.inf:
                heapq.heappush(self._opening, (at, lane))

    def is_open(self, queue: str, now: float) -> bool:
        """Return whether a lane with a turn in this queue may have jobs leased."""
        self._update(now)
        return bool(self._open.get(queue))

    def opens(self, now: float) -> float:
        """Return when the next lane opens; infinite: none does by itself."""
        self._update(now)
        return self._opening[0][0] if self._opening else math.inf

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
        self._update(now)
        turns = self._turns.get(queue, {})
        open_turns = heapq.nsmallest(limit, [(turns[name], name) for name in self._open.get(queue, ())])
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
                    self._leave_queue(line.name, queue)
                self._sort(line.name)
        self._update(now)
        return taken

    def _leave_queue(self, lane: str, queue: str) -> None:
        """Take its turn from a lane that has no ready jobs in a queue."""
        del self._turns[queue][lane]
        self._open[queue].discard(lane)
        self._queues[lane].discard(queue)
        if not self._queues[lane]:
            del self._queues[lane]

    def leave(self, name: str, unused: int) -> None:
        """Free the place of a job that is leased no longer; its token comes back where it had not begun."""
        self.all[name].give_back(1, unused)
        self._sort(name)

    def change(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        change.apply_to(self.all.setdefault(name, Lane(name=name)))
        self._sort(name)

    def drop_idle(self, now: float) -> None:
        """Remove lanes that hold nothing worth keeping."""
        for name, lane in list(self.all.items()):
            if name not in self._queues and lane.is_idle(now):
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
