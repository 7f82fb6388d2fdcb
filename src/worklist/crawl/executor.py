"""Runs the jobs of a crawl on the event loop that the spider lives on, so many at once, and so many of one host.

A job whose host may not be asked yet is parked until it may, and takes no slot meanwhile. Where the queue outlives
the process, a slot is free again when what ran in it has been settled, so that a kill makes no more pages be fetched
again than there are slots.
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

_MOST_PARKED = 2_000


class LoopExecutor:
    """An Executor on a loop that runs already, with room for `most` jobs at once.

    `ceiling` tells how many jobs of a lane may run at once; `let` lets one of a lane begin and returns 0, or returns
    the seconds until it may; `settles`: a job counts as under way until `settled` is called with it.
    """

    def __init__(
        self,
        most: int,
        loop: asyncio.AbstractEventLoop,
        ceiling: Callable[[str], int],
        let: Callable[[str], float] = lambda lane: 0.0,
        settles: bool = False,
    ) -> None:
        self._most = most
        self._let = let
        self._settles = settles
        self._unsettled: set[str] = set()
        self._loop = loop
        self._ceiling = ceiling
        self._lock = threading.Lock()
        self._waiting: deque[Execution] = deque()
        self._held: dict[str, deque[Execution]] = {}  # by lane, where it is at its ceiling
        self._parked: dict[str, deque[Execution]] = {}  # by lane, until it may begin
        self._parked_count = 0
        self.on_room: Callable[[], object] = lambda: None
        """Called when jobs were parked, so that there is room for others."""
        self._running: dict[Execution, asyncio.Task[None]] = {}
        self._in_lane: dict[str, int] = {}
        self._finished: Callable[[Execution], Any] = lambda _: None

    def start(self, finished: Callable[[Execution], Any]) -> None:
        """Begin."""
        self._finished = finished

    @property
    def slots(self) -> int:
        """How many jobs to have at hand: those that may run, beside those that are parked."""
        return self._most + min(self._parked_count, _MOST_PARKED)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._running or self._waiting or self._held or self._parked)

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
        parked = self._parked_count
        while len(self._running) + len(self._unsettled) < self._most:
            execution = self._next()
            if execution is None:
                break
            task = self._loop.create_task(execution.arun())
            self._running[execution] = task
            task.add_done_callback(functools.partial(self._end, execution))
        if self._parked_count > parked:
            self.on_room()

    def _next(self) -> Execution | None:
        """Return the next execution whose lane has room; set those aside whose lane has none, or is not due."""
        with self._lock:
            while self._waiting:
                execution = self._waiting.popleft()
                lane = _lane_of(execution)
                count = self._in_lane.get(lane, 0)
                if count >= self._ceiling(lane):
                    self._held.setdefault(lane, deque()).append(execution)
                elif lane in self._parked:
                    self._park(lane, execution)
                elif (seconds := self._let(lane)) > 0:
                    self._loop.call_later(seconds, self._unpark, lane)
                    self._park(lane, execution)
                else:
                    self._in_lane[lane] = count + 1
                    return execution
        return None

    def _park(self, lane: str, execution: Execution) -> None:
        self._parked.setdefault(lane, deque()).append(execution)
        self._parked_count += 1

    def _unpark(self, lane: str) -> None:
        with self._lock:
            parked = self._parked.pop(lane, ())
            self._parked_count -= len(parked)
            self._waiting.extendleft(reversed(parked))
        self._fill()

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
            if len(self._unsettled) * 2 > self._most:
                return 0
            return len(self._waiting) + sum(map(len, self._held.values()))

    def withdraw(self) -> list[Execution]:
        """Take back those that wait."""
        with self._lock:
            set_aside = (*self._held.values(), *self._parked.values())
            taken = [*self._waiting, *(each for lane in set_aside for each in lane)]
            for each in (self._waiting, self._held, self._parked):
                each.clear()
            self._parked_count = 0
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
