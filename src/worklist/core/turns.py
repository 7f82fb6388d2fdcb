"""Who is served next: the lanes of a queue take turns, and the jobs in no lane as one more (pure).

This is stride scheduling (Waldspurger and Weihl, 1995): each line has a turn, a number; the line with the lowest one
is served and moves on by its stride, 1 / weight. A line that comes, or comes back, joins where the others stand, so
it neither waits for what was served before nor makes up for what it missed.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .lane import Lane

J = TypeVar("J")
Fetch = Callable[[int], Sequence[J]]
"""Returns up to so many jobs of the line, the next ones first, each once."""

PLAIN = ""
"""The name of the line of those jobs that are in no lane; of two lines with one turn, the lesser name goes first."""


class Line(Generic[J]):
    """One of those that take turns in a queue."""

    def __init__(self, name: str, turn: float, lane: Lane | None, now: float, fetch: Fetch[J]) -> None:
        self.name = name
        self.turn = turn
        self.lane = lane
        self.taken = 0
        self.looked_at = False
        self._room = math.inf if lane is None else lane.room(now)
        self._stride = 1.0 if lane is None else 1.0 / lane.weight
        self._fetch = fetch
        self._jobs: deque[J] = deque()
        self._more = True

    @property
    def is_closed(self) -> bool:
        """Whether its lane allows no further job."""
        return self._room < 1

    @property
    def is_empty(self) -> bool:
        """Whether no job of it is left. Known once it has been looked at."""
        return self.looked_at and not self._jobs and not self._more

    @property
    def jobs_left(self) -> list[J]:
        """Those that it has fetched and not given."""
        return list(self._jobs)

    def next(self, share: int) -> J | None:
        """Return its next job, or None; `share` is how many it may expect to give altogether."""
        if not self._jobs and self._more:
            wanted = int(min(max(share, 1), self._room))
            self.looked_at = True
            self._jobs.extend(self._fetch(wanted + 1))  # one more than can be served, to know whether any is left
            self._more = len(self._jobs) > wanted
        return self._jobs.popleft() if self._jobs else None

    def move_on(self, turn: float) -> None:
        """Note that a job was taken, when the turns stood at `turn`."""
        self.taken += 1
        self._room -= 1
        self.turn = turn + self._stride


def serve(lines: Sequence[Line[J]], limit: int, turn: float, is_late: Callable[[J], bool]) -> tuple[list[J], float]:
    """Take up to `limit` jobs from the lines by turn; return them, and where the turns stand now.

    Jobs that are too late are passed over; `is_late` is asked about each job once, and may note them.
    """
    heap = [(line.turn, line.name, line) for line in lines if not line.is_closed]
    heapq.heapify(heap)
    taken: list[J] = []
    while heap and len(taken) < limit:
        line = heap[0][2]
        job = line.next(math.ceil((limit - len(taken)) / len(heap)))
        if job is None:
            heapq.heappop(heap)
        elif not is_late(job):
            taken.append(job)
            turn = max(turn, line.turn)
            line.move_on(turn)
            heapq.heappop(heap) if line.is_closed else heapq.heapreplace(heap, (line.turn, line.name, line))
    return taken, turn
