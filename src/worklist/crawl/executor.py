"""Runs the jobs of a crawl on the event loop that the spider lives on, so many at once, and so many of one host.

Where the queue outlives the process, a slot is free again when what ran in it has been settled, so that a kill makes
no more pages be fetched again than there are slots.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..core.execution import Execution
from ..core.ports import Settlement


class LoopExecutor:
    """An Executor on a loop that runs already. `ceiling` tells how many jobs of a lane may run at once.

    `settles`: a job counts as under way until `settled` is called with it.
    """

    def __init__(
        self, slots: int, loop: asyncio.AbstractEventLoop, ceiling: Callable[[str], int], settles: bool = False
    ) -> None:
        self.slots = slots
        self._settles = settles
        self._unsettled: set[str] = set()
        self._loop = loop
        self._ceiling = ceiling
        self._lock = threading.Lock()
        self._waiting: deque[Execution] = deque()
        self._held: dict[str, deque[Execution]] = {}  # by lane, where it is at its ceiling
        self._running: dict[Execution, asyncio.Task[None]] = {}
        self._in_lane: dict[str, int] = {}
        self._finished: Callable[[Execution], Any] = lambda _: None

    def start(self, finished: Callable[[Execution], Any]) -> None:
        """Begin."""
        self._finished = finished

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._running or self._waiting or self._held)

    def submit(self, executions: Sequence[Execution]) -> None:
        """Hand executions to the loop, with one wake-up for all."""
        with self._lock:
            self._waiting.extend(executions)
        self._loop.call_soon_threadsafe(self._fill)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """Hear that these are written down."""
        with self._lock:
            before = len(self._unsettled)
            self._unsettled.difference_update(each.lease.id for each in settlements)
            freed = self._waiting and len(self._unsettled) < before
        if freed:
            self._loop.call_soon_threadsafe(self._fill)

    def _fill(self) -> None:
        while len(self._running) + len(self._unsettled) < self.slots:
            execution = self._next()
            if execution is None:
                return
            task = self._loop.create_task(execution.arun())
            self._running[execution] = task
            task.add_done_callback(functools.partial(self._end, execution))

    def _next(self) -> Execution | None:
        """Return the next execution whose lane has room; set those aside whose lane has none."""
        with self._lock:
            while self._waiting:
                execution = self._waiting.popleft()
                lane = _lane_of(execution)
                count = self._in_lane.get(lane, 0)
                if count < self._ceiling(lane):
                    self._in_lane[lane] = count + 1
                    return execution
                self._held.setdefault(lane, deque()).append(execution)
        return None

    def _end(self, execution: Execution, task: asyncio.Task[None]) -> None:
        del self._running[execution]
        if task.cancelled() or execution.outcome is None:  # cancelled before its first step
            execution.fail(asyncio.CancelledError())
        lane = _lane_of(execution)
        with self._lock:
            if self._settles:
                self._unsettled.add(execution.lease.id)
            self._in_lane[lane] -= 1
            if not self._in_lane[lane]:
                del self._in_lane[lane]
            held = self._held.get(lane)
            if held:
                self._waiting.appendleft(held.popleft())
                if not held:
                    del self._held[lane]
        self._finished(execution)
        self._fill()

    def backlog(self) -> int:
        """Return how many executions wait for others to end; none do where most slots wait for a settle."""
        with self._lock:
            if len(self._unsettled) * 2 > self.slots:
                return 0
            return len(self._waiting) + sum(map(len, self._held.values()))

    def withdraw(self) -> list[Execution]:
        """Take back those that wait."""
        with self._lock:
            taken = [*self._waiting, *(each for held in self._held.values() for each in held)]
            self._waiting.clear()
            self._held.clear()
        return taken

    def abort(self, execution: Execution, reason: BaseException) -> None:
        """Cancel the execution's task."""
        self._loop.call_soon_threadsafe(self._cancel, execution)

    def _cancel(self, execution: Execution) -> None:
        task = self._running.get(execution)
        if task is not None:
            task.cancel()

    def stop(self) -> None:
        """Cancel what still runs; the loop is its owner's."""
        for execution in list(self._running):
            self._loop.call_soon_threadsafe(self._cancel, execution)


def _lane_of(execution: Execution) -> str:
    ties = execution.job.ties if execution.job is not None else None
    return (ties.lane if ties is not None else None) or ""
