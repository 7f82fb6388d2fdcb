"""Run executions in a thread, on an event loop or in a child process, and enforce the time limit there.

An executor never touches the broker. It calls `finished` with each execution once its outcome is set.
"""

import asyncio
import contextlib
import ctypes
import functools
import math
import multiprocessing
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from pebble import ProcessExpired, ProcessPool

from .core.errors import ChildDied, JobAborted, TimeLimitExceeded
from .core.execution import Environment, Execution
from .core.job import Job, Progress
from .core.joblog import JobLog
from .core.outcome import Outcome
from .core.ports import Lease
from .core.task import Task

Finished = Callable[[Execution], Any]


def _ignore(_: Execution) -> None:
    """Take the place of `finished` before `start`."""


class ThreadExecutor:
    """Plain functions, in `slots` threads of this process.

    A time limit and a cancellation are exceptions raised inside the thread: they interrupt Python code, and a
    call into C (a sleep, a socket) only when it returns.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._todo: queue.SimpleQueue[Execution | None] = queue.SimpleQueue()
        self._finished: Finished = _ignore
        self._threads: list[_SlotThread] = []
        self._watchdog = _Watchdog()

    def start(self, finished: Finished) -> None:
        """Start the threads."""
        self._finished = finished
        self._threads = [_SlotThread(self._todo, finished, self._watchdog, n) for n in range(self.slots)]
        for thread in self._threads:
            thread.start()

    def submit(self, executions: Sequence[Execution]) -> None:
        """Queue executions for the threads."""
        put = self._todo.put
        for execution in executions:
            put(execution)

    def backlog(self) -> int:
        """Return how many executions no thread has taken yet."""
        return self._todo.qsize()

    def withdraw(self) -> list[Execution]:
        """Take back what no thread has taken yet."""
        taken: list[Execution] = []
        while True:
            try:
                execution = self._todo.get_nowait()
            except queue.Empty:
                return taken
            if execution is not None:
                taken.append(execution)

    def abort(self, execution: Execution, reason: BaseException) -> None:
        """Raise JobAborted inside the thread that runs it."""
        for thread in self._threads:
            thread.strike(execution, JobAborted)

    def stop(self) -> None:
        """End the threads that are idle; one that still runs a job is left behind (they are daemons)."""
        for _ in self._threads:
            self._todo.put(None)
        self._watchdog.stop()
        for thread in self._threads:
            if thread.current is None:
                thread.join(timeout=1)


class _SlotThread(threading.Thread):
    """One thread that runs one execution after another."""

    def __init__(
        self, todo: "queue.SimpleQueue[Execution | None]", finished: Finished, watchdog: "_Watchdog", n: int
    ) -> None:
        super().__init__(name=f"worklist-{n}", daemon=True)
        self._todo = todo
        self._finished = finished
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._struck = False
        self.current: Execution | None = None

    def run(self) -> None:
        while True:
            try:
                if not self._serve():
                    return
            except (
                TimeLimitExceeded,
                JobAborted,
            ) as error:  # it arrived a moment after the function had ended
                if self.current is not None:
                    self.current.fail(error)
                    self._end(self.current)

    def _serve(self) -> bool:
        execution = self._todo.get()
        if execution is None:
            return False
        self.current = execution
        if execution.options.timeout is not None:
            self._watchdog.arm(self, execution, execution.options.timeout)
        execution.run()
        self._end(execution)
        return True

    def _end(self, execution: Execution) -> None:
        with self._lock:
            self.current = None
            if self._struck:
                self._struck = False
                take_back()
        self._finished(execution)

    def strike(self, execution: Execution, error: type[BaseException]) -> None:
        """Raise `error` in this thread if it is running `execution`."""
        with self._lock:
            if self.current is execution:
                self._struck = True
                _raise_in(self.ident, error)


def _raise_in(ident: int | None, error: type[BaseException]) -> None:
    """Raise an exception in a thread at its next bytecode, in the place of one that is pending there."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident or 0), ctypes.py_object(error))


class _Nothing(BaseException):
    """Raised in the place of an exception that comes too late."""


def take_back() -> None:
    """Take back an exception that may be pending in this thread.

    CPython can be told to forget it, but then goes on to look for one for ever, and CPython 3.11 hangs as soon as a
    debugger traces. So another one takes its place, and is caught.
    """
    with contextlib.suppress(_Nothing):
        _raise_in(threading.get_ident(), _Nothing)
        while True:
            pass


class _Watchdog:
    """One thread that strikes executions whose time is over; started by the first that has a limit."""

    def __init__(self) -> None:
        self._armed: dict[_SlotThread, tuple[float, Execution]] = {}
        self._changed = threading.Condition()
        self._next_look = math.inf
        self._thread: threading.Thread | None = None
        self._stopped = False

    def arm(self, slot: _SlotThread, execution: Execution, timeout: float) -> None:
        """Set the one deadline of a slot. Wakes the watchdog only where it would look too late."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._armed[slot] = (deadline, execution)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="worklist-watchdog", daemon=True)
                self._thread.start()
            elif deadline < self._next_look:
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                for slot in [slot for slot, (deadline, _) in self._armed.items() if deadline <= now]:
                    slot.strike(self._armed.pop(slot)[1], TimeLimitExceeded)
                self._next_look = min((deadline for deadline, _ in self._armed.values()), default=math.inf)
                self._changed.wait(min(self._next_look - now, 3600.0))

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()


class AsyncExecutor:
    """Async functions, up to `slots` at a time, on one event loop in a thread of its own."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._waiting: deque[Execution] = deque()
        self._running: dict[Execution, asyncio.Task[None]] = {}
        self._finished: Finished = _ignore
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="worklist-async", daemon=True)

    def start(self, finished: Finished) -> None:
        """Start the loop."""
        self._finished = finished
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, executions: Sequence[Execution]) -> None:
        """Hand executions to the loop, with one wake-up for all."""
        self._waiting.extend(executions)
        self._loop.call_soon_threadsafe(self._fill)

    def _fill(self) -> None:
        while len(self._running) < self.slots:
            try:
                execution = self._waiting.popleft()
            except IndexError:
                return
            task = self._loop.create_task(execution.arun())
            self._running[execution] = task
            task.add_done_callback(functools.partial(self._end, execution))

    def _end(self, execution: Execution, task: "asyncio.Task[None]") -> None:
        del self._running[execution]
        if task.cancelled() or execution.outcome is None:  # cancelled before its first step
            execution.fail(asyncio.CancelledError())
        self._finished(execution)
        if self._waiting:
            self._fill()

    def backlog(self) -> int:
        """Return how many executions wait."""
        return len(self._waiting)

    def withdraw(self) -> list[Execution]:
        """Take back those that wait."""
        taken: list[Execution] = []
        while self._waiting:
            try:
                taken.append(self._waiting.popleft())
            except IndexError:
                break
        return taken

    def abort(self, execution: Execution, reason: BaseException) -> None:
        """Cancel the execution's task."""
        self._loop.call_soon_threadsafe(self._cancel, execution)

    def _cancel(self, execution: Execution) -> None:
        task = self._running.get(execution)
        if task is not None:
            task.cancel()

    def stop(self) -> None:
        """Cancel what still runs and end the loop."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        asyncio.run_coroutine_threadsafe(self._shutdown(), self._loop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _shutdown(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2) if tasks else None
        await self._loop.shutdown_asyncgens()
        self._loop.call_soon(self._loop.stop)


class ProcessExecutor:
    """Tasks declared with ``process=True``, in `slots` child processes that can be killed.

    Children are spawned, never forked, since this process has threads; they import the app's module afresh.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._finished: Finished = _ignore
        self._lock = threading.Lock()
        self._waiting: deque[Execution] = deque()
        self._running: dict[Execution, Future[Any]] = {}
        self._pool: Any = None
        self._reports: Any = None

    def start(self, finished: Finished) -> None:
        """Prepare; the children start with the first job."""
        self._finished = finished

    def submit(self, executions: Sequence[Execution]) -> None:
        """Give executions to idle children, and queue the others."""
        with self._lock:
            self._waiting.extend(executions)
        self._fill()

    def _fill(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or len(self._running) >= self.slots:
                    return
                execution = self._waiting.popleft()
                future = self._schedule(execution)
                self._running[execution] = future
            future.add_done_callback(functools.partial(self._end, execution))

    def _schedule(self, execution: Execution) -> "Future[Any]":
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._reports = context.SimpleQueue()
            threading.Thread(target=self._take_reports, name="worklist-reports", daemon=True).start()
            self._pool = ProcessPool(
                max_workers=self.slots, context=context, initializer=_set_up_child, initargs=(self._reports,)
            )
        try:
            execution.fetch_for_child()
            future: Future[Any] = self._pool.schedule(
                _run_in_child, args=[execution.task, execution.lease], timeout=execution.options.timeout
            )
        except Exception as error:
            future = Future()
            future.set_exception(error)
        return future

    def _end(self, execution: Execution, future: "Future[Any]") -> None:
        with self._lock:
            self._running.pop(execution, None)  # first, so that no late report comes after the last word
        try:
            execution.outcome, execution.seconds, progress, log, execution.followers = future.result()
            execution.hear(progress, log)
        except TimeoutError:
            execution.fail(TimeLimitExceeded())
        except CancelledError:
            execution.fail(JobAborted())
        except ProcessExpired as error:
            execution.fail(ChildDied(f"the child process that ran the job died with exit code {error.exitcode}"))
        except Exception as error:
            execution.fail(ChildDied(f"the job could not be run in a child process: {error}"))
        self._finished(execution)
        self._fill()

    def _take_reports(self) -> None:
        while (report := self._reports.get()) is not None:
            id, number, progress, log = report
            with self._lock:
                for execution in self._running:
                    if (execution.lease.id, execution.lease.number) == (id, number):
                        execution.hear(progress, log)

    def backlog(self) -> int:
        """Return how many executions wait for a child."""
        return len(self._waiting)

    def withdraw(self) -> list[Execution]:
        """Take back those that wait."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken

    def abort(self, execution: Execution, reason: BaseException) -> None:
        """Kill the child that runs it."""
        future = self._running.get(execution)
        if future is not None:
            future.cancel()

    def stop(self) -> None:
        """Kill the children."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._reports.put(None)


class _Teller:
    """In a child: tells the parent what its job says, at once and then every `_TELL_SECONDS`, in a thread of its own.

    So the last word before a long silence is heard too, and a pipe that is full holds up no job.
    """

    def __init__(self, reports: Any) -> None:
        self._reports = reports
        self._execution: Execution | None = None
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, execution: Execution | None) -> None:
        """Listen to this one from now on; None: to nobody."""
        self._execution = execution
        if execution is not None:
            execution.report_with(self._note)

    def _note(self) -> None:
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="worklist-teller", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while self._news.wait():
            self._news.clear()
            execution = self._execution
            if execution is not None:
                lease, log = execution.lease, execution.log
                self._reports.put((lease.id, lease.number, execution.progress, log and log.copy()))
            time.sleep(_TELL_SECONDS)


_TELL_SECONDS = 0.2
_teller: _Teller | None = None


def _set_up_child(reports: Any) -> None:
    global _teller
    _teller = _Teller(reports)


_Told = tuple[Outcome | None, float, Progress | None, JobLog | None, list[Job] | None]
"""What a child tells of a job: its outcome, its seconds, its last progress, its log and its followers."""


def _run_in_child(task: Task[..., Any], lease: Lease) -> _Told:
    """Run one job here, in the child."""
    environment: Environment = task.client.environment  # type: ignore[attr-defined]
    execution = Execution(lease, environment)
    if _teller is not None:
        _teller.follow(execution)
    if execution.prepare():
        with environment.capturing():
            execution.run()
    if _teller is not None:
        _teller.follow(None)
    log = execution.log and execution.log.copy()
    return execution.outcome, execution.seconds, execution.progress, log, execution.followers
