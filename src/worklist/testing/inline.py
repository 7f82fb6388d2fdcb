"""A clock that stands still until it is moved, and a worker that runs every job at once in the calling thread."""

import asyncio
from collections.abc import Callable

from ..brokers.memory import MemoryBroker
from ..core.codec import Codec
from ..core.execution import Environment, Execution
from ..core.job import JobState
from ..core.lane import INFINITE
from ..core.ports import Filter


class FakeClock:
    """A clock that stands still until it is moved. Call it for unix seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


class InlineWorker:
    """Runs every job of a broker in memory, in the calling thread; time jumps to the next job that is due."""

    def __init__(self, environment: Environment, codec: Codec) -> None:
        self._environment = environment
        self._clock = FakeClock()
        self._running = False
        self.store = MemoryBroker(codec, self._clock)

    def run(self) -> None:
        """Run until nothing is queued. A job that enqueues others has them run after it."""
        if self._running:
            return
        self._running = True
        try:
            with self._environment.capturing():
                while queues := self._queues():
                    if not self._run_next(queues) and not self._skip_to_opening():
                        return  # what is left stands in a paused queue or lane
        finally:
            self._running = False

    def _run_next(self, queues: list[str]) -> bool:
        """Run the next job; return whether there was one."""
        leases = self.store.lease("inline", queues, 1, 3600.0)
        for lease in leases:
            execution = Execution(lease, self._environment)
            if execution.prepare():
                _runner(execution)()
            self.store.settle([execution.settlement()])
        return bool(leases)

    def _skip_to_opening(self) -> bool:
        """Move the clock to when the next lane with jobs opens; return whether one does."""
        now = self._clock.now
        times = [lane.opens(now) for lane in self.store.lanes() if lane.queued]
        opens = min((at for at in times if at > now), default=INFINITE)
        self._clock.now = now if opens == INFINITE else opens
        return opens != INFINITE

    def _queues(self) -> list[str]:
        """Return the queues that have jobs, moving the clock to the next one that is due."""
        waiting = self.store.find(Filter(state=JobState.QUEUED, limit=1_000_000))
        if not waiting:
            return []
        self._clock.now = max(self._clock.now, min(record.due or 0.0 for record in waiting))
        return sorted({record.queue for record in waiting})


def _runner(execution: Execution) -> Callable[[], None]:
    if execution.task is None or not execution.task.is_async:
        return execution.run
    return lambda: asyncio.run(execution.arun())
