"""Worklist: registers tasks, opens a URL into adapters, and puts workers together. The only composition root."""

import contextlib
import inspect
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from .adapters import BrokerUrl, ResultsUrl
from .bar import TerminalBar
from .core.awaiting import Watch, Watcher
from .core.batching import Batcher
from .core.beat import Beat
from .core.client import Bar
from .core.codec import Codec
from .core.errors import ConfigError, DuplicateTask, JobUnknown, did_you_mean
from .core.events import EventBus
from .core.execution import Environment
from .core.group import GroupHandle
from .core.handle import JobHandle
from .core.job import GroupId, Job, JobId, JobRecord, When, new_group_id
from .core.joblog import log_level
from .core.keeper import WorkerOptions
from .core.lane import Lane
from .core.lane_handle import LaneHandle
from .core.middleware import Middleware, compose
from .core.ports import (
    Capabilities,
    Change,
    Executor,
    GroupRecord,
    Inspector,
    LaneChange,
    ResultsPolicy,
    Store,
)
from .core.task import AsyncTask, Task, TaskOptions, TaskSettings, check_option, lane_name
from .core.traversal import Traversal, begin
from .core.units import Duration, seconds, size
from .core.watching import DoneAndPending, ReturnWhen, Stream, as_completed, wait
from .core.worker import Kind, Worker, WorkerReport, kind_of
from .core.workflow import Node, Place, check_node, check_when
from .detached import WorkerProcess, variable_of
from .detached import start as start_process
from .executors import AsyncExecutor, ProcessExecutor, ThreadExecutor
from .schedules import Schedules, ScheduleSettings
from .settings import setting
from .simulate import RateMeter
from .testing import InlineWorker

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
AnyTask = TypeVar("AnyTask", bound=Task[..., Any])
MAX_LEASE = 86400.0


_apps: "weakref.WeakSet[Worklist]" = weakref.WeakSet()
_of_the_parent: list[object] = []


def _after_fork() -> None:
    for app in list(_apps):
        app._after_fork()  # noqa: SLF001 - one room


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Register(Protocol):
    """What ``@app.task(...)`` with options returns: turns a function into a Task."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class Worklist:
    """An app: its tasks, and the place where their jobs live.

    `url` is where: by default $WORKLIST_URL, else a SQLite file ``worklist.db`` in the working directory. Nothing
    is opened before the first job is put or looked for. The other settings are described in `worklist.settings`;
    each has an environment variable. `queues` names queues that no task declares but jobs may be put in.

    Raises ConfigError where a setting means nothing.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        results: ResultsPolicy | str | None = None,
        keep: ResultsPolicy | None = None,
        keep_results: Duration | None = None,
        lease: Duration | None = None,
        redeliveries: int | None = None,
        max_payload: int | str | None = None,
        logs: str | None = None,
        secret: str | None = None,
        queues: Sequence[str] = (),
    ) -> None:
        self.place = setting("url", url, BrokerUrl)
        """The URL, parsed."""
        self.url = self.place.url
        self.url_is_fixed = url is not None
        """Whether the code gave it, so that $WORKLIST_URL means nothing."""
        self._codec = Codec(setting("secret", secret, _secret))
        self.max_payload = setting("max_payload", max_payload, size)
        self.lease = setting("lease", lease, _lease_time)
        self._defaults = TaskOptions(
            results=self._policy(setting("results", results, _policy_or_store), setting("keep", keep, _policy)),
            keep_results=setting("keep_results", keep_results, partial(check_option, "keep_results")),
            redeliveries=setting("redeliveries", redeliveries, partial(check_option, "redeliveries")),
        )
        self.tasks: dict[str, Task[..., Any]] = {}
        self.place.queues = lambda: self.queues
        self.schedules = Schedules(self)
        self._queues = set(queues)
        self.environment = Environment(self.tasks, self._codec)
        self.environment.results_of = self.results
        self.environment.log_level = setting("logs", logs, log_level)
        self._middlewares: list[Middleware] = []
        self.events = EventBus()
        self._store: Store | None = None
        self._inline: Callable[[], object] | None = None
        self._started: WorkerProcess | None = None
        self._make_threads_meet()
        _apps.add(self)

    def _policy(self, results: "ResultsPolicy | ResultsUrl | None", keep: ResultsPolicy | None) -> ResultsPolicy:
        """Return what is kept of finished jobs, and see to where: `results` says the one or the other."""
        if isinstance(results, str):
            if keep is not None and results not in ("all", keep):
                raise ConfigError(f"results is {results!r} and keep is {keep!r}; give one of them")
            return keep or results
        self.place.keep_results_in(results)
        return keep or "all"

    def _make_threads_meet(self) -> None:
        """Make what the threads of this process share; a forked child needs its own."""
        self._opening = threading.Lock()
        self._batcher: Batcher[Job, JobId] = Batcher(self._put_now)
        self._watcher = Watcher(self, self._wake)

    def _after_fork(self) -> None:
        """Leave the parent's store alone, and open another when it is needed."""
        _of_the_parent.append(self._store)
        self._store = None
        self._make_threads_meet()

    # -- registering ----------------------------------------------------------------------------------------

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, /, *, name: str | None = None, every: Duration | None = None, **options: Unpack[TaskSettings]
    ) -> _Register: ...
    def task(
        self, function: Any = None, /, *, name: str | None = None, every: Duration | None = None, **options: Any
    ) -> Any:
        """Register a function as a task: ``@app.task`` or ``@app.task(queue="mail", retries=5, ...)``.

        The task's name is ``module.function`` unless `name` says otherwise. With `every` it has a schedule of that
        name, too: see `every`. Raises ConfigError for an option that
        is unknown or means nothing, DuplicateTask where the name is taken.
        """
        if function is None:
            return lambda function: self._register(function, name, options, every)
        if not callable(function):
            raise ConfigError(f"@app.task got {function!r}; expected a function")
        return self._register(function, name, options)

    def _register(
        self,
        function: Callable[..., Any],
        name: str | None,
        options: dict[str, Any],
        every: Duration | None = None,
    ) -> Task[..., Any]:
        name = name or f"{_module_name(function)}.{function.__qualname__}".replace(".<locals>", "")
        if name in self.tasks:
            there = inspect.unwrap(self.tasks[name].function)
            raise DuplicateTask(
                f"a task named {name!r} is already registered ({_place_of(there)}); "
                f'give the one at {_place_of(function)} another name with @app.task(name="...")'
            )
        checked = self._defaults.changed(options, f"task {name!r}", TaskSettings.__annotations__)
        kind = AsyncTask if inspect.iscoroutinefunction(function) else Task
        task: Task[..., Any] = kind(self, name, function, checked)
        if every is not None:
            self.schedules.declare(task, every)
        self.tasks[name] = task
        return task

    def every(
        self, every: Duration, *, name: str | None = None, **settings: Unpack[ScheduleSettings]
    ) -> Callable[[AnyTask], AnyTask]:
        """Put a job of a task again and again: ``app.every("0 2 * * *", tz="Asia/Shanghai")(task)``, or as decorator.

        `every` is an interval ("30s", 90, a timedelta) or a cron line. `name` is the schedule's, by default the
        task's. `args` and `kwargs` are what the task is called with, `queue` and `priority` those of its jobs.
        `missed` says what becomes of fire times that passed while no beat ran: "skip", "once" or "all", `most` at
        most; `overlap`, whether a job may be put while the one before has not finished. Returns the task.

        Raises ConfigError for a timetable or an option that means nothing, ArgumentError where the arguments do not
        fit the task.
        """

        def declare(task: AnyTask) -> AnyTask:
            self.schedules.declare(task, every, name, **settings)
            return task

        return declare

    def middleware(self, function: Middleware) -> Middleware:
        """Register a generator function that runs around every job; the first registered is the outermost."""
        if not inspect.isgeneratorfunction(function):
            raise ConfigError(f"middleware {function!r} is no generator function; it has to yield exactly once")
        self._middlewares.append(function)
        self.environment.around = compose(self._middlewares)
        return function

    def on(self, kind: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
        """Register a listener: ``@app.on(JobFailed)``. It is called in the worker's process with every such event."""

        def register(listener: Callable[[E], object]) -> Callable[[E], object]:
            self.events.on(kind, listener)
            return listener

        return register

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that a task or the app declares, by name."""
        return tuple(sorted(self._queues | {task.options.queue for task in self.tasks.values()}))

    def check_queue(self, queue: str) -> None:
        """Raise ConfigError where nobody declares this queue, since then nobody would serve it."""
        if queue not in self.queues:
            raise ConfigError(
                f"no task declares the queue {queue!r}{did_you_mean(queue, self.queues)}; known are "
                f"{', '.join(self.queues)}; declare it with Worklist(queues=[{queue!r}]) to have it served"
            )

    # -- the store ------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The broker, opened at first use. Raises BrokerError where that cannot be done."""
        if self._store is None:
            with self._opening:
                if self._store is None:
                    self._store = self.place.open(self._codec)
        return self._store

    @property
    def inspector(self) -> Inspector:
        """The read side: counts, find, workers, change."""
        return self.store

    @property
    def capabilities(self) -> Capabilities:
        """What the broker of this URL can do."""
        return self.place.capabilities

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the broker, together with those that other threads put at this moment."""
        ids = self._batcher.call(jobs)
        if self._inline is not None:
            self._inline()
        return ids

    def put_within(self, connection: Any, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the transaction of a connection to the broker's database; they are there with its commit."""
        store: Any = self.store
        ids: list[JobId] = store.put_within(connection, jobs)
        return ids

    async def aput(self, jobs: Sequence[Job]) -> list[JobId]:
        """Do what `put` does without blocking the event loop."""
        if self._inline is not None:
            return self.put(jobs)
        return await self._batcher.acall(jobs)

    def _put_now(self, jobs: list[Job]) -> list[JobId]:
        return self.store.put(jobs)

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of each job."""
        return self.store.load(ids)

    def wait_change(self, seconds: float) -> None:
        """Return when some job may have changed, or after `seconds`."""
        self.store.wait_change(seconds)

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs; return the ids of those that could be changed."""
        return self.store.change(ids, change)

    def watch(self, id: JobId) -> "Future[JobRecord | None]":
        """Return a future of a job's record once it has finished."""
        return self._watcher.result(id)

    def follow(self, ids: Iterable[JobId], watch: Watch) -> None:
        """Show `watch` what is known of these jobs, now and after each change."""
        self._watcher.follow(ids, watch)

    def _wake(self) -> None:
        store = self._store
        if store is not None:
            store.wake()

    def job(self, id: JobId) -> JobHandle[Any]:
        """Return the handle of a job, from anywhere that has its id. Raises JobUnknown where there is none."""
        record = self.store.load((id,))[0]
        if record is None:
            raise JobUnknown(f"job {id} is not known: never enqueued here, or its record is no longer kept")
        task = self.tasks.get(record.task)
        return JobHandle(id, self, task.returns if task else Any)

    # -- groups and lanes -------------------------------------------------------------------------------------

    def group(self, id: GroupId | None = None, *, then: Node | None = None, when: When = "succeeded") -> GroupHandle:
        """Return the handle of a group, of a new one without an `id`.

        A new one is filled in a ``with`` block, which it does not end before: ``with app.group() as g:
        g.add(task.s(1))``. `then` is put exactly once when the last member has ended, and gets their results;
        with ``when="all"`` also where some did not succeed; ``g.callback`` is its handle.
        """
        handle = GroupHandle(id or new_group_id(), self)
        check_when(when)
        if then is not None:
            check_node(then, "then")
            jobs: list[Job] = []
            handle.callback = then.plan(Place(after=handle.id, when=when), jobs).handle
            self.open_group(handle.id)
            self.put(jobs)
        return handle

    def lane(self, name: str) -> LaneHandle:
        """Return the handle of a lane: to look at it, limit it, pause it. It need not have been used before."""
        return LaneHandle(lane_name(name, "the name of the lane"), self)

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes as they are now, all or those of these names."""
        return self.store.lanes(names)

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        self.store.change_lane(name, change)

    def traverse(
        self,
        start: Any,
        task: Task[..., Any],
        *,
        max_depth: int | None = None,
        max_nodes: int | None = None,
    ) -> Traversal:
        """Search breadth-first, spread over workers, from a node, or a list of nodes; return the handle.

        `task` gets a node and returns its neighbours. Each node is visited once, by a job of its own, the near ones
        first, also if workers die. Nodes at `max_depth` steps are visited, and their neighbours are not; with
        `max_nodes` so many nodes are visited at most, and so many neighbours of one looked at. The search has ended
        when ``handle.wait()`` returns; ``handle.visits()`` yields nodes meanwhile. Raises ArgumentError where a node
        does not fit the task.
        """
        starts = start if isinstance(start, list) else [start]
        id, jobs = begin(task, starts, max_depth, max_nodes)
        self.open_group(id, max_nodes)
        with Traversal(id, self, self._codec.decode) as handle:
            self.put(jobs[:max_nodes])
        return handle

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group that does not end before it is sealed, with `most` members at most."""
        self.store.open_group(id, most)

    def seal_group(self, id: GroupId) -> None:
        """Let a group end with its last member."""
        self.store.seal_group(id)
        if self._inline is not None:
            self._inline()

    def load_group(self, id: GroupId) -> GroupRecord | None:
        """Return what is known of a group."""
        return self.store.load_groups((id,))[0]

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members of a group that have ended, in the order of their end."""
        return self.store.members(id, ended_after, limit)

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of a group's members, encoded, in the order in which they were made."""
        return self.store.results(id)

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop."""
        return self.store.call_off(id)

    def progress_bar(self, title: str) -> AbstractContextManager[Bar]:
        """Return a progress bar on stderr, where that is a terminal."""
        return TerminalBar(title)

    def wait(
        self, jobs: Iterable[JobHandle[R]], timeout: float | None = None, return_when: ReturnWhen = "all"
    ) -> DoneAndPending[R]:
        """Wait for jobs as `concurrent.futures.wait` does for futures; return the sets ``(done, pending)``.

        `return_when` is ``"all"`` have ended, the ``"first"`` has, or the first ``"failure"`` (or cancellation, or
        expiry) where there is one, else all. It returns after `timeout` seconds in any case. Jobs that are named
        twice count once; a job that is not known, such as one that keeps no result, has ended. A look at n jobs
        takes n / 500 queries, and there is one only when some job may have changed.
        """
        return wait(self, jobs, timeout, return_when)

    def as_completed(self, jobs: Iterable[JobHandle[R]], timeout: float | None = None) -> Stream[JobHandle[R]]:
        """Iterate over the handles of jobs in the order in which they end, with ``for`` or ``async for``.

        Raises ResultTimeout where not all have ended after `timeout` seconds, when it has yielded those that have.
        Jobs that are named twice come once; a job that is not known, such as one that keeps no result, has ended,
        and its `result()` says so. It asks as rarely as `wait`.
        """
        return as_completed(self, jobs, timeout)

    # -- working --------------------------------------------------------------------------------------------

    def work(
        self,
        *,
        queues: Sequence[str] = (),
        threads: int = 8,
        concurrency: int = 100,
        children: int = 2,
        until_empty: bool = False,
        grace: Duration = 30.0,
        max_jobs: int | None = None,
        max_memory: int | str | None = None,
        beat: bool = True,
    ) -> WorkerReport:
        """Run a worker in this process until it is stopped; blocks.

        `queues`: which to serve (default: all that the app knows). `threads` run plain functions, `concurrency` is
        how many async ones run at once, `children` how many processes run those with process=True. `until_empty`
        ends when no job is due. SIGTERM and SIGINT stop it gently: running jobs get the `grace` time, the others
        are handed back; a second signal stops it now. `max_jobs` and `max_memory` end it early. `beat`: whether it
        also puts the jobs of schedules that are due.
        """
        worker = self.make_worker(
            queues=queues,
            threads=threads,
            concurrency=concurrency,
            children=children,
            until_empty=until_empty,
            grace=grace,
            max_jobs=max_jobs,
            max_memory=max_memory,
            beat=beat,
        )
        with stop_on_signals(worker):
            return worker.run()

    def make_worker(
        self,
        *,
        queues: Sequence[str] = (),
        threads: int = 8,
        concurrency: int = 100,
        children: int = 2,
        until_empty: bool = False,
        grace: Duration = 30.0,
        max_jobs: int | None = None,
        max_memory: int | str | None = None,
        beat: bool = True,
    ) -> Worker:
        """Return a worker as `work` would run it, for those who run it in a thread of their own."""
        self._check_worker(queues, threads=threads, concurrency=concurrency, children=children)
        options = WorkerOptions(
            queues=tuple(queues) or self.queues,
            lease=self.lease,
            grace=seconds(grace, "grace"),
            until_empty=until_empty,
            max_jobs=max_jobs,
            max_memory=None if max_memory is None else size(max_memory, "max_memory"),
        )
        executors = self._executors({"thread": threads, "async": concurrency, "process": children})
        own_beat = self.make_beat() if beat and self.capabilities.schedule else None
        return Worker(self.store, self.environment, executors, options, self.events, own_beat, RateMeter())

    def _check_worker(self, queues: Sequence[str], **slots: int) -> None:
        """Raise ConfigError where no worker can be made of this."""
        for queue in queues:
            self.check_queue(queue)
        for name, number in slots.items():
            if number < 1:
                raise ConfigError(f"{name} is {number}; expected at least 1")
        if not self.tasks:
            raise ConfigError("this app has no tasks; decorate a function with @app.task first")

    def start_worker(
        self,
        *,
        detached: bool = True,
        idle_exit: Duration | None = None,
        queues: Sequence[str] = (),
        threads: int = 8,
        concurrency: int = 100,
        children: int = 2,
        grace: Duration = 30.0,
        beat: bool = True,
    ) -> WorkerProcess:
        """Start a worker in a process of its own, which outlives this program; return its handle once it serves.

        There is at most one for each SQLite file: where one runs already, this returns it, with the options that it
        was started with. With `idle_exit` it ends once all jobs of its queues have finished, nothing has happened
        for that long, and no program that called this is alive any more: until then, it serves what they put. The
        other options are those of `work`. It imports the app from the module that holds it as a variable.

        Raises ConfigError where the app lives in memory or cannot be imported, or an option means nothing;
        WorklistError where the worker cannot start, or the one that runs does not serve the tasks of this app.
        """
        if not detached:
            raise ConfigError(
                "start_worker starts a process of its own; for a worker in this one use app.work(), or the worker of "
                "app.make_worker() in a thread"
            )
        file = self.place.file
        if file is None and self.capabilities.durable:
            raise ConfigError(
                f"start_worker is for the jobs of a file; those of {self.place.scheme}:// are served by "
                "`worklist worker MODULE:APP`, anywhere"
            )
        if file is None:
            raise ConfigError(
                f"the jobs of {self.place.scheme}:// live in the process that puts them, where no other can see them; "
                "use app.work() there, or a URL such as sqlite:///worklist.db"
            )
        self._check_worker(queues, threads=threads, concurrency=concurrency, children=children)
        app, script = variable_of(self, {task.function.__module__ for task in self.tasks.values()})
        arguments = [f"--threads={threads}", f"--concurrency={concurrency}", f"--children={children}"]
        arguments += [f"--grace={seconds(grace, 'grace')}", *([] if beat else ["--no-beat"])]
        arguments += [f"--queues={','.join(queues)}"] if queues else []
        idle = None if idle_exit is None else seconds(idle_exit, "idle_exit")
        started = start_process(file, app, script, arguments, idle, list(self.tasks), queues or self.queues)
        self._let_worker_go()
        self._started = started
        return started

    def _let_worker_go(self) -> None:
        if self._started is not None:
            self._started.let_go()
            self._started = None

    def make_beat(self) -> Beat:
        """Return a beat, which puts the jobs of schedules: `run` it, where no worker of this app carries one."""
        return Beat(self.store, self.events, self.schedules.declared)

    def _executors(self, slots: dict[Kind, int]) -> dict[Kind, Executor]:
        """Return an executor for each kind of task that the app has."""
        makers: dict[Kind, Callable[[int], Executor]] = {
            "thread": ThreadExecutor,
            "async": AsyncExecutor,
            "process": ProcessExecutor,
        }
        kinds = {kind_of(task) for task in self.tasks.values()}
        return {kind: make(slots[kind]) for kind, make in makers.items() if kind in kinds}

    @contextlib.contextmanager
    def inline(self) -> Iterator[None]:
        """Run jobs at once, in this thread, when they are enqueued: for tests of code that enqueues.

        Jobs pass through the same codec and the same decisions as in a worker, on a broker of their own in memory;
        delays and retries are not waited for.
        """
        inline = InlineWorker(self.environment, self._codec)
        store, self._store = self._store, inline.store
        self._inline = inline.run
        try:
            yield
        finally:
            self._store, self._inline = store, None

    def close(self) -> None:
        """Give back files and connections. The app may be used again.

        A worker that `start_worker` started goes on; with `idle_exit` it does not wait for this app any more.
        """
        self._let_worker_go()
        self._batcher.close()
        self._watcher.close()
        self._watcher = Watcher(self, self._wake)
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def __enter__(self) -> "Worklist":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Worklist on {self.place.scheme} with {len(self.tasks)} tasks>"


def _policy(value: Any, what: str) -> ResultsPolicy | None:
    return None if value is None else check_option("results", value, what)


def _policy_or_store(value: Any, what: str) -> "ResultsPolicy | ResultsUrl | None":
    """Return what is kept, or where; None: in the queues of those who have put the jobs."""
    if value == "rpc":
        return None
    if isinstance(value, str) and "://" in value:
        return ResultsUrl(value, what)
    try:
        return _policy(value, what)
    except ConfigError as error:
        raise ConfigError(f"{error}, or a place for results such as redis://HOST, or 'rpc'") from None


def _secret(value: Any, what: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ConfigError(f"{what} is empty or no text; expected a long random string")


def _lease_time(value: Any, what: str) -> float:
    lease = seconds(value, what)
    if not 0.5 <= lease <= MAX_LEASE:
        raise ConfigError(
            f"{what} is {lease:g} s; expected at least half a second, for it to be renewed in time, and a day at most"
        )
    return lease


def _module_name(function: Callable[..., Any]) -> str:
    """Return the name that other processes import the function's module by, also where it runs as a script."""
    if function.__module__ not in ("__main__", "__mp_main__"):
        return function.__module__
    main = sys.modules[function.__module__]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"


def _place_of(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


class Stoppable(Protocol):
    """A worker, a beat, or what stands for one."""

    def stop(self, now: bool = False) -> None:
        """End, gently or `now`."""


@contextlib.contextmanager
def stop_on_signals(worker: Stoppable) -> Iterator[None]:
    """Stop a worker gently at the first SIGTERM or SIGINT, and now at the second; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        worker.stop(now=asked)
        asked = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
