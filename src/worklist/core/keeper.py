"""The keeper: the thread of a worker that holds on to its leases and tidies up, however busy the others are.

It renews leases, hears of cancellations, writes down progress and logs, reports the worker alive, removes what has
been kept long enough, and watches the worker's memory. It knows no executor: what to do about a job is the worker's
business.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from .errors import BrokerError, BrokerUnavailable
from .events import EventBus, LeaseLost, log
from .execution import Execution
from .job import Progress
from .outcome import Cancel, Snooze
from .ports import Broker, Report, WorkerInfo

KEEPER_SECONDS = 1.0
PRUNE_SECONDS = 10.0
PRUNE_JOBS = 5000
"""How many jobs one transaction removes at most."""
_NOTHING = (None, 0)
"""What an execution has said that has said nothing."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker behaves; times in seconds."""

    queues: tuple[str, ...]
    lease: float = 30.0
    grace: float = 30.0
    until_empty: bool = False
    max_jobs: int | None = None
    max_memory: int | None = None
    """Bytes of resident memory after which the worker ends, for its parent to start a fresh one."""


class Meter(Protocol):
    """Counts what happens in a window of time that slides, such as `worklist.simulate.RateMeter`."""

    def hit(self, now: float, count: int = 1) -> None:
        """Count so many things at `now`."""

    def rate(self, now: float) -> float:
        """Return the hits a second, on average over the window that ends at `now`."""


class Keeper:
    """Looks after the executions in `in_flight`, a collection that the worker's pump changes all the time.

    `on_unwanted` is called with an execution that is to stop, and the outcome that it gets; `on_too_large` when the
    process has outgrown `max_memory`.
    """

    def __init__(
        self,
        broker: Broker,
        options: WorkerOptions,
        events: EventBus,
        in_flight: Collection[Execution],
        info: Callable[[], WorkerInfo],
        meter: Meter | None = None,
    ) -> None:
        self._broker = broker
        self._options = options
        self._events = events
        self._in_flight = in_flight
        self._info = info
        self._meter = meter
        self._counted = 0
        self._reported: dict[Execution, tuple[Progress | None, int]] = {}
        self._extended_at = 0.0
        self._pruned_at = time.monotonic() - random.uniform(0, PRUNE_SECONDS)  # noqa: S311
        self._ended = threading.Event()
        self.on_unwanted: Callable[[Execution, Cancel | Snooze], None] = lambda execution, reason: None
        self.on_too_large: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Go round about once a second until `stop`. Blocks.

        Of trouble with the broker the beginning is told; where no lease is at stake, that it is away is for the worker
        to tell.
        """
        trouble = False
        while not self._ended.wait(min(KEEPER_SECONDS, self._options.lease / 6)):
            try:
                self._go_round(time.monotonic())
                trouble = False
            except BrokerError as error:
                told = trouble or (isinstance(error, BrokerUnavailable) and not self._in_flight)
                log.log(logging.DEBUG if told else logging.WARNING, "could not renew leases: %s", error)
                trouble = True
            if self._options.max_memory is not None and resident_memory() > self._options.max_memory:
                self.on_too_large()

    def stop(self) -> None:
        """Make `run` return."""
        self._ended.set()

    def _go_round(self, now: float) -> None:
        self._report()
        info = self._measured(self._info(), now)
        if self._in_flight or now - self._extended_at > self._options.lease / 3:
            self._extend(info)
            self._extended_at = now
        if now - self._pruned_at > PRUNE_SECONDS:
            self._prune()
            self._pruned_at = now

    def _measured(self, info: WorkerInfo, now: float) -> WorkerInfo:
        """Return what is known of this worker with the rate at which jobs have ended of late."""
        if self._meter is None:
            return info
        if info.processed > self._counted:
            self._meter.hit(now, info.processed - self._counted)
            self._counted = info.processed
        return msgspec.structs.replace(info, rate=self._meter.rate(now))

    def _extend(self, info: WorkerInfo) -> None:
        held = list(self._in_flight)
        extended = self._broker.extend(info, [execution.lease for execution in held], self._options.lease)
        for execution in held:
            lease = execution.lease
            if lease.number in extended.lost and execution in self._in_flight:
                self.on_unwanted(execution, Snooze(0))
                self._events.emit(LeaseLost(id=lease.id, task=execution.task_name, attempt=lease.attempt))
            elif lease.id in extended.cancelled:
                self.on_unwanted(execution, Cancel("cancelled on request"))

    def _report(self) -> None:
        """Write down the progress and the log lines that are new since the last round."""
        said = {execution: execution.said() for execution in list(self._in_flight)}
        said = {execution: now for execution, now in said.items() if now != _NOTHING}
        news = [e for e, now in said.items() if now != self._reported.get(e)]
        if news:
            self._broker.report([self._report_of(e, *said[e]) for e in news])
        self._reported = said

    def _report_of(self, execution: Execution, progress: Progress | None, entries: int) -> Report:
        _, reported = self._reported.get(execution, _NOTHING)
        logs = execution.log.lines() if execution.log is not None and entries != reported else None
        return Report(execution.lease, progress, logs)

    def _prune(self) -> None:
        while self._broker.prune(PRUNE_JOBS) >= PRUNE_JOBS and not self._ended.is_set():
            continue


def resident_memory() -> int:
    """Return the bytes of memory that this process holds now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return _peak_memory()


def _peak_memory() -> int:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024
