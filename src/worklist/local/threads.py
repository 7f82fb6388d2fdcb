"""TaskQueue: functions run by a few threads of this process, for work that the caller need not wait for.

It lives in memory: what has not run when the process is killed is gone. It knows nothing of jobs and brokers, and
nothing of the rest of the project.
"""

import _thread
import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.thread import BrokenThreadPool
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Function = Callable[..., object]
Call = tuple[Function, tuple[Any, ...], dict[str, Any]]
OnError = Callable[[BaseException, Function, tuple[Any, ...], dict[str, Any]], object]

LOG = logging.getLogger("worklist")


class TaskQueue(Executor):
    """Hand functions to `num_workers` threads and go on.

    `add_task` is for work whose result nobody waits for; `submit` and `map` are those of `concurrent.futures.Executor`,
    so a TaskQueue fits wherever an executor does. Tasks start in the order in which they were added. Threads start
    when there is work for them, and all work is done before `close`, a `with` block or the interpreter ends.

    - `num_workers`: threads, at least 1.
    - `maxsize`: tasks that may wait for a thread; the next `add_task` or `submit` waits until there is room. 0: any
      number. A task that adds tasks to its own queue never waits, or all threads could wait for one another.
    - `thread_name_prefix`: names the threads.
    - `initializer`, `initargs`: called in each thread before its first task. If it raises, the queue is broken: what
      waits and what comes gets BrokenThreadPool.
    - `on_error`: called as `on_error(error, function, args, kwargs)` in the worker's thread when a task of `add_task`
      raised. Without it, the error is logged on the logger "worklist". (An error of `submit` is in its future.)

    Raises ValueError for a number that makes no sense.
    """

    def __init__(
        self,
        num_workers: int = 5,
        maxsize: int = 0,
        *,
        thread_name_prefix: str = "TaskQueue",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        on_error: OnError | None = None,
    ) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers={num_workers}: a TaskQueue needs at least 1 thread to run its tasks")
        if maxsize < 0:
            raise ValueError(f"maxsize={maxsize}: give the number of tasks that may wait, or 0 for no limit")
        for name, hook in (("initializer", initializer), ("on_error", on_error)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} has to be a function, not {hook!r}")
        self._pool = _Pool(_Options(num_workers, maxsize, thread_name_prefix, initializer, initargs, on_error))
        self._put = self._pool.put
        # A queue that is dropped without `close` must not leave its threads behind.
        weakref.finalize(self, _close_dropped, self._pool).atexit = False

    def add_task(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `function(*args, **kwargs)` in a worker thread, some time. O(1).

        Waits while `maxsize` tasks wait. Raises RuntimeError after `close`; but tasks may add tasks to their own queue
        until the last one has ended.
        """
        self._put((function, args, kwargs))

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Do as `add_task` does, and return a future of the result. It costs about five times as much."""
        future: Future[R] = Future()
        self._put((_fulfil, (future, fn, args, kwargs), {}))
        return future

    def join(self, timeout: float | None = None) -> None:
        """Wait until every task that was added has ended, those added by tasks too. The queue stays open.

        Raises TimeoutError after `timeout` seconds; RuntimeError inside a task of this queue, which would wait for
        itself.
        """
        self._pool.join(timeout)

    def close(self) -> None:
        """Take no more tasks, do what was added, and end the threads."""
        self.shutdown()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close as `concurrent.futures` does: without `wait`, return at once and let the threads finish.

        With `cancel_futures`, what no thread has begun is not run: futures are cancelled, and tasks of `add_task`
        are dropped; their number is logged.
        """
        self._pool.close("this TaskQueue is closed; add tasks before close() or before the end of its with block")
        if cancel_futures:
            self._pool.cancel()
        if wait:
            for thread in tuple(self._pool.threads):
                thread.join()

    def qsize(self) -> int:
        """Return how many tasks wait for a thread; those that run are not counted."""
        return len(self._pool.tasks)

    def __repr__(self) -> str:
        options = self._pool.options
        return f"<TaskQueue of {options.num_workers} threads, {self.qsize()} tasks wait>"


@dataclass(frozen=True)
class _Options:
    num_workers: int
    maxsize: int
    thread_name_prefix: str
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    on_error: OnError | None


class _Pool:
    """The tasks and the threads, without the queue that the user holds, so that dropping that one can be noticed.

    A thread is busy, parked (it waits for its own lock to be released), or has ended. Busy threads take tasks off the
    deque without any lock; everything else happens under `lock`. A task is only ever added under the lock, and a
    parked thread is made busy by taking its lock off `parked`. So under the lock, "no task waits and no thread is
    busy" is exact, and no task has to be counted.
    """

    def __init__(self, options: _Options) -> None:
        self.options = options
        self.tasks: deque[Call] = deque()
        self.threads: list[threading.Thread] = []
        self.blocked = 0
        """Callers that wait for room."""
        self._maxsize = options.maxsize
        self._refusal: Exception | None = None
        """Why no more tasks are taken, once that is so."""
        self._finished = False
        """The threads are to end."""
        self._reset()
        _POOLS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._parked: list[threading.Lock] = []
        self._ended = 0

    def put(self, call: Call) -> None:
        with self._lock:
            if self._maxsize or self._refusal:
                self._admit()
            if self._parked:
                self._parked.pop().release()
            elif len(self.threads) < self.options.num_workers and not self._refusal:
                self._start_thread()
            self.tasks.append(call)  # last: had no thread been started, nothing would have been added

    def _admit(self) -> None:
        """Wait for room; raise if no tasks are taken. The queue's own threads pass until they are to end."""
        if threading.current_thread() in self.threads:
            if self._refusal and self._finished:
                raise _again(self._refusal)
            return
        while self._maxsize and len(self.tasks) >= self._maxsize and not self._refusal:
            self.blocked += 1
            try:
                self._room.wait()
            finally:
                self.blocked -= 1
        if self._refusal:
            raise _again(self._refusal)

    def make_room(self) -> None:
        with self._lock:
            self._room.notify()

    def _start_thread(self) -> None:
        own = threading.Lock()
        own.acquire()
        name = f"{self.options.thread_name_prefix}_{len(self.threads)}"
        thread = threading.Thread(target=_serve, args=(self, own), name=name, daemon=False)
        thread.start()
        self.threads.append(thread)

    def rest(self, own: threading.Lock) -> bool:
        """Park a thread that found no task until there may be one; return False if it is to end."""
        with self._lock:
            if self.tasks:
                return True
            if self._refusal and len(self._parked) + self._ended + 1 == len(self.threads):
                self._finish()  # the others rest too, so no task can come any more
            if self._finished:
                self._end()
                return False
            self._parked.append(own)
            self._tell_if_idle()
        own.acquire()
        return True

    def _end(self) -> None:
        self._ended += 1
        self._tell_if_idle()

    def _finish(self) -> None:
        self._finished = True
        while self._parked:
            self._parked.pop().release()

    def _is_idle(self) -> bool:
        return not self.tasks and len(self._parked) + self._ended == len(self.threads)

    def _tell_if_idle(self) -> None:
        if self._is_idle():
            self._idle.notify_all()

    def join(self, timeout: float | None) -> None:
        if threading.current_thread() in self.threads:
            raise RuntimeError("a task cannot join() its own TaskQueue: it would wait for itself to end")
        with self._lock:
            if not self._idle.wait_for(self._is_idle, timeout):
                raise TimeoutError(f"the TaskQueue still has work after {timeout} s; {len(self.tasks)} tasks wait")

    def close(self, reason: str) -> None:
        """Take no more tasks from outside. The last thread to rest lets all of them end."""
        with self._lock:
            self._refuse(RuntimeError(reason))
            if self._is_idle():
                self._finish()

    def _refuse(self, error: Exception) -> None:
        self._refusal = self._refusal or error
        self._room.notify_all()

    def cancel(self) -> None:
        """Cancel the futures that no thread has begun, and drop the other tasks."""
        dropped = 0
        for function, args, _ in self._withdraw():
            if function is _fulfil:
                args[0].cancel()
            else:
                dropped += 1
        if dropped:
            LOG.warning("a TaskQueue was shut down with cancel_futures: %d tasks were not run", dropped)

    def _withdraw(self) -> list[Call]:
        """Take back every task that no thread has begun."""
        taken = []
        with self._lock, contextlib.suppress(IndexError):
            while True:
                taken.append(self.tasks.popleft())
        with self._lock:
            self._room.notify_all()
            self._tell_if_idle()
        return taken

    def initialize(self) -> bool:
        """Call the initializer; if it raises, break the queue and return False."""
        initializer = self.options.initializer
        if initializer is None:
            return True
        try:
            initializer(*self.options.initargs)
        except BaseException:
            LOG.critical("the initializer of a TaskQueue raised; the queue is broken", exc_info=True)
            self._break(BrokenThreadPool("the initializer of this TaskQueue raised; its threads have ended"))
            return False
        return True

    def _break(self, error: BrokenThreadPool) -> None:
        with self._lock:
            self._refusal = None
            self._refuse(error)
            self._finish()
        for function, args, kwargs in self._withdraw():
            if function is _fulfil:
                args[0].set_exception(_again(error))
            else:
                self.report(_again(error), function, args, kwargs)
        with self._lock:
            self._end()

    def report(self, error: BaseException, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell of a task that raised and has no future to say so."""
        if self.options.on_error is None:
            LOG.error("a task of a TaskQueue raised: %s", _name(function), exc_info=error)
            return
        try:
            self.options.on_error(error, function, args, kwargs)
        except BaseException:
            LOG.error("on_error of a TaskQueue raised, for the task %s", _name(function), exc_info=True)

    def forget(self) -> None:
        """In a child process after a fork: the threads were the parent's, and so are the tasks."""
        self._reset()
        self.tasks.clear()
        self.threads.clear()
        self._finished = True
        self._refusal = RuntimeError(
            "this TaskQueue was made before the fork; its threads are the parent's. Make one here"
        )


def _serve(pool: _Pool, own: threading.Lock) -> None:
    """Run tasks in a thread until there will be no more. The path of every task: no lock is taken."""
    if not pool.initialize():
        return
    take = pool.tasks.popleft
    function: Function = _serve
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while True:
        try:
            function, args, kwargs = take()
        except IndexError:
            function, args, kwargs = _serve, (), {}  # a resting thread keeps nothing alive
            if pool.rest(own):
                continue
            return
        if pool.blocked:
            pool.make_room()
        try:
            function(*args, **kwargs)
        except BaseException as error:
            pool.report(error, function, args, kwargs)


def _fulfil(future: Future[R], fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run a call into its future, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:
        future.set_exception(error)
        del future  # the error's traceback holds this frame; the frame must not hold the future that holds the error
    else:
        future.set_result(result)


def _again(error: Exception) -> Exception:
    """Return a copy: an error that is raised many times would gather the tracebacks of all, and what they hold."""
    return type(error)(*error.args)


def _name(function: Function) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


_POOLS: weakref.WeakSet[_Pool] = weakref.WeakSet()
"""Every pool of this process, for its end and for forks."""


def _close_dropped(pool: _Pool) -> None:
    """Close a pool whose queue was dropped; the garbage collector may call this in a thread that holds the lock."""
    if pool.threads:
        with contextlib.suppress(RuntimeError):  # at the end of the interpreter, which closes the pools itself
            _thread.start_new_thread(pool.close, ("this TaskQueue was dropped",))


def _close_all() -> None:
    for pool in tuple(_POOLS):
        pool.close("the interpreter is exiting; this TaskQueue takes no more tasks")


def _forget_all() -> None:
    for pool in tuple(_POOLS):
        pool.forget()


# What concurrent.futures uses as well: called when the main thread has ended, before the other threads are waited for.
# `atexit` would be too late, since it comes after that wait.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]  # noqa: SLF001
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
