"""The worker: lease, dispatch, extend, settle, drain. It knows its broker and executors only as ports.

One thread, the pump, makes the calls that move jobs. It waits on one inbox, to which executors hand what has ended,
the watcher says that there may be work, and `stop` says that it is over. Two more threads serve it: the watcher sits in
`broker.wait` and leases what it was woken for, the keeper (keeper.py) extends leases and tidies up.
"""

import contextlib
import os
import queue
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from .beat import Beat
from .errors import BrokerError, BrokerUnavailable
from .events import (
    BrokerTrouble,
    EventBus,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobLeased,
    JobRetried,
    JobSnoozed,
    JobSucceeded,
    WorkerStarted,
    WorkerStopped,
    log,
)
from .execution import Environment, Execution
from .keeper import Keeper, Meter, WorkerOptions
from .outcome import HAND_BACK, Cancel, Done, Fail, Retry, Snooze
from .ports import Broker, Executor, Lease, LeasesWhenDue, Settlement, WorkerInfo
from .task import Task

Kind = Literal["thread", "async", "process"]
READ_AHEAD_SECONDS = 0.02
"""How long the jobs that are leased ahead of their turn may take, by the present rate. More, where an exchange with
the broker takes so long that the executors would run dry meanwhile."""
READ_AHEAD_JOBS = 400
HOSTAGE_SECONDS = 0.5
"""Jobs leased ahead are handed back where no job has ended for this long."""
SILENCE_SECONDS = 1.0
"""The longest wait of an idle worker. Of two signals that arrive at once, Python may notice neither in a thread that
waits for ever: it hears them when the wait is over."""
GATHER_SECONDS = 0.005
"""For how long results may gather while there is more to do."""
SWITCH_SECONDS = 0.001
"""How long a busy thread may keep the interpreter's lock from the pump while a worker runs; Python's default is 5 ms,
and an exchange needs the lock a dozen times."""
FIRST_STEP_SECONDS = 0.0002
"""For so long the thread that has leased leaves the interpreter to the one that runs the job, before it wakes the pump:
two that are woken together get in each other's way, and the pump has nothing to do yet."""
TROUBLE_SECONDS = (0.05, 5.0)
"""First and longest wait between attempts to reach a broker that fails."""


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker did, when it has ended."""

    processed: int
    recycle: bool
    """It ended because of `max_jobs` or `max_memory`."""


def kind_of(task: Task[..., Any]) -> Kind:
    """Return which executor runs this task."""
    if task.options.process:
        return "process"
    return "async" if task.is_async else "thread"


class Worker:
    """Serves queues until it is stopped, until they are empty, or until it is due to be recycled."""

    def __init__(
        self,
        broker: Broker,
        environment: Environment,
        executors: Mapping[Kind, Executor],
        options: WorkerOptions,
        events: EventBus,
        beat: Beat | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._broker = broker
        self._at_one_go = broker if isinstance(broker, LeasesWhenDue) and not options.until_empty else None
        """The broker, where it waits and leases in one call."""
        self._beat = beat
        self._meter = meter
        self._environment = environment
        self._executors = executors
        self._options = options
        self._events = events
        self.id = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self.processed = 0
        self._inbox: queue.SimpleQueue[Execution | None] = queue.SimpleQueue()
        self._in_flight: set[Execution] = set()
        self._unsettled: list[Settlement] = []
        self._work_expected = True
        self._watching = False
        self._watch_requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._leasing = threading.Lock()
        """Held by the one of the two threads that leases, until what it got is in flight."""
        self._rate = 0.0
        self._cautious = False
        self._exchange_seconds = 0.0
        self._last_end = time.monotonic()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._trouble = 0.0
        self._recycle = False
        self._started = time.time()
        self._turn_of_queue = 0
        self.on_settled: Callable[[Sequence[Settlement]], object] = lambda settlements: None
        """Called by the pump with what has been written down."""

    # -- from outside ---------------------------------------------------------------------------------------

    def stop(self, now: bool = False) -> None:
        """Stop leasing, let running jobs end within the grace time, and hand the rest back; `now` waits for none."""
        self._stopping.set()
        if now:
            self._hurry.set()
        self._inbox.put(None)

    def look(self) -> None:
        """Look whether there is room for more: an executor has more slots than before."""
        self._inbox.put(None)

    @property
    def _slots(self) -> int:
        return sum(executor.slots for executor in self._executors.values())

    def run(self) -> WorkerReport:
        """Serve until it is over. Blocks."""
        for executor in self._executors.values():
            executor.start(self._inbox.put)
        keeper = Keeper(self._broker, self._options, self._events, self._in_flight, self.info, self._meter)
        keeper.on_unwanted, keeper.on_too_large = self._abort, self._end_for_recycling
        helpers = [
            threading.Thread(target=self._watch, name="worklist-watcher", daemon=True),
            threading.Thread(target=keeper.run, name="worklist-keeper", daemon=True),
        ]
        if self._beat is not None:
            self._beat.start()
        for helper in helpers:
            helper.start()
        self._events.emit(WorkerStarted(self.id))
        switching = sys.getswitchinterval()
        sys.setswitchinterval(min(switching, SWITCH_SECONDS))
        try:
            with self._environment.capturing():
                while not self._over():
                    self._turn()
                self._drain()
        finally:
            sys.setswitchinterval(switching)
            keeper.stop()
            if self._beat is not None:
                self._beat.stop()
            self._end(helpers)
        return WorkerReport(self.processed, self._recycle)

    # -- the pump -------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Settle what has ended and lease what there is room for, in one exchange; then wait for something."""
        room = self._room() if self._work_expected else 0
        if self._unsettled or room:
            self._exchange(room)
        if self._options.until_empty and self._is_empty():
            self._stopping.set()
            return
        self._watch_if_idle()
        self._collect()

    def _exchange(self, room: int) -> None:
        settlements, self._unsettled = self._unsettled, []
        begun = time.monotonic()
        try:
            if room:
                with self._leasing:
                    self._lease(settlements, room)
            else:
                self._broker.settle(settlements)
                self.on_settled(settlements)
        except BrokerUnavailable as error:
            self._unsettled = settlements + self._unsettled
            self._wait_out(error)
            return
        self._trouble = 0.0
        self._exchange_seconds = (self._exchange_seconds + time.monotonic() - begun) / 2
        if self._options.until_empty and settlements:
            self._work_expected = True  # a job that ended may have put others, or be due again itself

    def _lease(self, settlements: Sequence[Settlement], room: int, waits: bool = False) -> None:
        """Lease so many jobs; where that is one thing, wait for them first."""
        queues, seconds = self._queues_in_turn(), self._options.lease
        if waits and self._at_one_go is not None:
            leases = self._at_one_go.lease_when_due(self.id, queues, room, seconds, seconds / 2)
        else:
            leases = self._broker.exchange(settlements, self.id, queues, room, seconds)
        self._work_expected = len(leases) >= room
        self.on_settled(settlements)
        self._dispatch(leases)

    def _dispatch(self, leases: Sequence[Lease]) -> None:
        by_kind: dict[Kind, list[Execution]] = {}
        for lease in leases:
            execution = Execution(lease, self._environment)
            self._in_flight.add(execution)
            if not execution.prepare():
                self._inbox.put(execution)
                continue
            by_kind.setdefault(kind_of(execution.task), []).append(execution)  # type: ignore[arg-type]
            if self._events.wanted(JobLeased):
                self._events.emit(_event(JobLeased, execution))
        self._cautious = any(lease.lost for lease in leases)
        for kind, executions in by_kind.items():
            self._executors[kind].submit(self._without_suspects(kind, executions) if self._cautious else executions)

    def _without_suspects(self, kind: Kind, executions: Sequence[Execution]) -> Sequence[Execution]:
        """Of executions among which are some whose workers have died, hand back what there is no free slot for.

        One of them may have killed its worker; the others were only leased ahead by it. Held ahead again, they would
        count as having died with this worker, too.
        """
        known = [execution.task for execution in list(self._in_flight) if execution.task is not None]
        under_way = sum(kind_of(task) == kind for task in known)
        free = max(0, self._executors[kind].slots - (under_way - len(executions)))
        self._hand_back(executions[free:])
        return executions[:free]

    def _collect(self) -> None:
        """Wait until something has ended or may have begun, and take all that has ended."""
        first = self._next(self._patience())
        self._let_gather()
        ended = self._take_ended(first)
        self._measure(len(ended))
        for execution in ended:
            self._conclude(execution)
            self._in_flight.discard(execution)  # after that, lest it be counted as neither for a moment
        self._free_hostages()

    def _let_gather(self) -> None:
        """Let results gather while the executors work off half of what was leased ahead: fewer, larger exchanges."""
        half = self._backlog() // 2
        end = time.monotonic() + GATHER_SECONDS
        while self._backlog() > half and time.monotonic() < end:
            time.sleep(GATHER_SECONDS / 10)

    def _next(self, patience: float) -> Execution | None:
        try:
            return self._inbox.get(timeout=patience)
        except queue.Empty:
            return None

    def _take_ended(self, first: Execution | None) -> list[Execution]:
        ended = [] if first is None else [first]
        for _ in range(self._inbox.qsize()):
            execution = self._inbox.get_nowait()
            if execution is not None:
                ended.append(execution)
        return ended

    def _conclude(self, execution: Execution) -> None:
        """Note the outcome for the next exchange, and tell those who listen."""
        self._unsettled.append(execution.settlement())
        self.processed += 1
        kind, facts = _OUTCOME_EVENTS[type(execution.outcome)]
        if self._events.wanted(kind):
            self._events.emit(_event(kind, execution, **facts(execution.outcome)))
        elif isinstance(execution.outcome, Fail):
            error = execution.outcome.error
            log.error("job %s (%s) failed: %s: %s", execution.lease.id, execution.task_name, error.type, error.message)

    # -- how much to lease ------------------------------------------------------------------------------------

    def _room(self) -> int:
        """Return how many jobs to lease: the free slots, and as many ahead as take `READ_AHEAD_SECONDS`.

        None ahead where the last ones were suspects (see `_without_suspects`).
        """
        ahead = (
            0
            if self._cautious
            else min(READ_AHEAD_JOBS, int(self._rate * max(READ_AHEAD_SECONDS, 2 * self._exchange_seconds)))
        )
        free = self._slots - len(self._in_flight)
        if free + ahead < ahead // 2 and free <= 0:
            return 0  # half the read-ahead is still there: a larger batch later is cheaper
        return self._allowed(free + ahead)

    def _allowed(self, room: int) -> int:
        """Return how many of so many jobs may still be leased, as `max_jobs` says."""
        if self._options.max_jobs is not None:
            room = min(room, self._options.max_jobs - self.processed - len(self._in_flight))
        return max(0, room)

    def _measure(self, ended: int) -> None:
        if not ended:
            return
        now = time.monotonic()
        rate = ended / max(1e-5, now - self._last_end)
        self._rate = rate if self._rate == 0.0 else (self._rate + rate) / 2
        self._last_end = now

    def _backlog(self) -> int:
        return sum(executor.backlog() for executor in self._executors.values())

    def _free_hostages(self) -> None:
        """Hand back jobs that were leased ahead, where those that run take longer than was thought."""
        backlog = self._backlog()
        silent = time.monotonic() - self._last_end > HOSTAGE_SECONDS
        slow = 0.0 < self._rate < backlog  # more than a second's work
        if not backlog or not (silent or slow):
            return
        self._rate = 0.0
        self._hand_back(self._withdrawn())

    def _withdrawn(self) -> list[Execution]:
        """Take back what was leased ahead and has not begun."""
        return [execution for executor in self._executors.values() for execution in executor.withdraw()]

    def _hand_back(self, executions: Sequence[Execution]) -> None:
        for execution in executions:
            self._in_flight.discard(execution)
            self._unsettled.append(execution.hand_back())

    def _queues_in_turn(self) -> Sequence[str]:
        """Return the queues, another one first each time, so that none starves."""
        queues = self._options.queues
        if len(queues) == 1:
            return queues
        self._turn_of_queue = (self._turn_of_queue + 1) % len(queues)
        return queues[self._turn_of_queue :] + queues[: self._turn_of_queue]

    # -- waiting ------------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Return for how long to wait where the inbox stays silent."""
        if self._unsettled or (self._work_expected and self._room()):
            return 0.0
        return HOSTAGE_SECONDS if self._backlog() else SILENCE_SECONDS

    def _watch_if_idle(self) -> None:
        if not (self._work_expected or self._watching or self._is_full()):
            self._watching = True
            self._watch_requests.put(True)

    def _is_full(self) -> bool:
        return len(self._in_flight) >= self._slots

    def _watch(self) -> None:
        """Wait until there may be work, lease it, and tell the pump (a thread of its own)."""
        while self._watch_requests.get():
            if not self._lease_when_due():
                self._work_expected = True
            elif not self._work_expected:
                time.sleep(FIRST_STEP_SECONDS)
            self._watching = False
            self._inbox.put(None)

    def _lease_when_due(self) -> bool:
        """Wait for work and lease for the free slots; return whether that was done, or is left to the pump.

        To wake the pump for it would take longer than to start a job. A worker that ends once there is nothing left
        has only its pump lease, which has to know.
        """
        if self._at_one_go is None:
            self._wait_for_work()
        if self._options.until_empty:
            return False
        with self._leasing:
            room = self._allowed(self._slots - len(self._in_flight))
            if not room or self._over():
                return False
            try:
                self._lease((), room, waits=True)
            except BrokerError:
                return False
        return True

    def _wait_for_work(self) -> None:
        try:
            self._broker.wait(self._options.queues, self._options.lease / 2)
        except BrokerError:
            self._stopping.wait(1.0)

    def _is_empty(self) -> bool:
        """Whether there is nothing left to do; jobs that their lane holds back are waited for."""
        if self._work_expected or self._in_flight or self._unsettled:
            return False
        try:
            return not self._broker.held_back(self._options.queues)
        except BrokerUnavailable as error:
            self._wait_out(error)
            return False

    def _over(self) -> bool:
        if self._options.max_jobs is not None and self.processed >= self._options.max_jobs:
            self._recycle = True
        return self._stopping.is_set() or self._recycle

    def _wait_out(self, error: BrokerUnavailable) -> None:
        """Wait a little longer each time the broker fails; what has ended is kept and settled later."""
        if not (self._trouble or self._events.wanted(BrokerTrouble)):
            log.warning("%s; trying again until it goes well", error)
        shortest, longest = TROUBLE_SECONDS
        self._trouble = min(longest, max(shortest, self._trouble * 2))
        self._events.emit(BrokerTrouble(str(error), self._trouble))
        self._stopping.wait(self._trouble * random.uniform(0.75, 1.25))  # noqa: S311

    # -- what the keeper needs ----------------------------------------------------------------------------------

    def _abort(self, execution: Execution, reason: Cancel | Snooze) -> None:
        """Make a running execution stop; `reason` becomes its outcome."""
        if execution.abort_reason is None and execution.task is not None:
            execution.abort_reason = reason
            self._executors[kind_of(execution.task)].abort(execution, reason)

    def _end_for_recycling(self) -> None:
        self._recycle = True
        self._inbox.put(None)

    def info(self) -> WorkerInfo:
        """Return this worker as others are to see it."""
        return WorkerInfo(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=tuple(self._options.queues),
            slots=self._slots,
            started=self._started,
            running=min(self._slots, len(self._in_flight)),
            processed=self.processed,
        )

    # -- the end --------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Hand back what has not started, wait for what runs, and hand back what did not end in time."""
        while not self._leasing.acquire(timeout=0.02):
            self._wake()
        self._leasing.release()  # from now on nothing is leased any more
        self._hand_back(self._withdrawn())
        deadline = time.monotonic() + self._options.grace
        while self._in_flight and time.monotonic() < deadline and not self._hurry.is_set():
            self._exchange(0)
            first = self._next(min(0.2, max(0.0, deadline - time.monotonic())))
            for execution in self._take_ended(first):
                self._in_flight.discard(execution)
                self._conclude(execution)
        for execution in list(self._in_flight):
            self._abort(execution, HAND_BACK)
        self._hand_back(list(self._in_flight))
        self._settle_last()

    def _settle_last(self) -> None:
        for _ in range(20):
            if not self._unsettled:
                return
            self._exchange(0)
            if self._unsettled:
                time.sleep(min(0.5, self._trouble))
        log.error("%d outcomes could not be written down; their jobs will be run again", len(self._unsettled))

    def _end(self, helpers: Sequence[threading.Thread]) -> None:
        failed = sys.exception() is not None  # then why is told already
        self._stopping.set()
        self._watch_requests.put(False)
        for executor in self._executors.values():
            executor.stop()
        end = time.monotonic() + 2.0
        while (alive := [helper for helper in helpers if helper.is_alive()]) and time.monotonic() < end:
            self._wake()
            alive[0].join(timeout=0.02)
        if self._beat is not None:
            self._beat.join(max(0.0, end - time.monotonic()))
        try:
            self._broker.goodbye(self.id)
        except BrokerError as error:
            if not failed:
                log.warning("could not sign off: %s", error)
        self._events.emit(WorkerStopped(self.id, self.processed))

    def _wake(self) -> None:
        """Have the watcher come back from the broker; where that cannot be reached, it comes by itself."""
        with contextlib.suppress(BrokerError):
            self._broker.wake()


def _event(kind: type[JobEvent], execution: Execution, **more: Any) -> JobEvent:
    return kind(
        id=execution.lease.id,
        task=execution.task_name,
        attempt=execution.lease.attempt,
        seconds=execution.seconds,
        **more,
    )


def _facts_of_retry(outcome: Retry) -> dict[str, Any]:
    return {"error": outcome.error, "delay": outcome.delay or 0.0}


_OUTCOME_EVENTS: dict[type, tuple[type[JobEvent], Callable[[Any], dict[str, Any]]]] = {
    Done: (JobSucceeded, lambda _: {}),
    Retry: (JobRetried, _facts_of_retry),
    Fail: (JobFailed, lambda outcome: {"error": outcome.error}),
    Snooze: (JobSnoozed, lambda outcome: {"delay": outcome.delay}),
    Cancel: (JobCancelled, lambda outcome: {"reason": outcome.reason}),
}
