"""A registered function: calling it is a plain call, `enqueue` puts a call of it in a queue.

All options live in one frozen TaskOptions; `using` makes a copy with some of them changed. It knows the app only
as a Client.
"""

import datetime as dt
import hashlib
import importlib
import inspect
import itertools
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar

import msgspec

from .client import Client
from .errors import ArgumentError, ConfigError, PayloadTooLarge, did_you_mean
from .handle import JobHandle
from .job import FOREVER, Job, JobId, Ties, new_job_id
from .lane import LaneLimits
from .outcome import Backoff, BackoffRule, as_backoff
from .ports import Capabilities, ResultsPolicy
from .signature import Signature
from .units import Duration, rate, seconds
from .workflow import Group, Node, Place, Step

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

KeyRule = str | bool | Callable[..., str]
"""A fixed key, True for "the same arguments", or a function of the call's arguments, which it gets by name."""
LaneRule = str | Callable[..., str]
"""The name of a lane, or a function of the call's arguments, which it gets by name."""
MAX_NAME = 200
CHUNK = 1000
"""How many jobs `enqueue_many` puts in one transaction."""


class TaskSettings(TypedDict, total=False):
    """The options of ``@app.task(...)``. docs/reference/tasks.md says what each means."""

    queue: str
    priority: int
    retries: int | None
    backoff: BackoffRule
    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    fail_on: type[BaseException] | tuple[type[BaseException], ...]
    timeout: Duration | None
    key: KeyRule | None
    hold: Duration
    replace: bool
    expires: Duration | None
    results: ResultsPolicy
    keep_results: Duration
    redeliveries: int
    process: bool
    lane: LaneRule | None
    rate: float | str | None
    burst: int | None
    concurrency: int | None


class CallSettings(TypedDict, total=False):
    """The options of ``task.using(...)``."""

    delay: Duration
    eta: dt.datetime | float | None
    queue: str
    priority: int
    retries: int | None
    backoff: BackoffRule
    timeout: Duration | None
    key: KeyRule | None
    hold: Duration
    replace: bool
    expires: Duration | None
    results: ResultsPolicy
    keep_results: Duration
    redeliveries: int
    lane: LaneRule | None
    connection: Any


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Every option of a task or a call, checked and in one unit: seconds."""

    queue: str = "default"
    priority: int = 0
    delay: float = 0.0
    eta: float | None = None
    retries: int | None = None
    backoff: Any = Backoff()
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    fail_on: tuple[type[BaseException], ...] = ()
    timeout: float | None = None
    key: KeyRule | None = None
    hold: float = 0.0
    replace: bool = False
    expires: float | None = None
    results: ResultsPolicy = "all"
    keep_results: float = 604800.0
    redeliveries: int = 3
    process: bool = False
    lane: LaneRule | None = None
    rate: float | None = None
    burst: int | None = None
    concurrency: int | None = None
    connection: Any = None
    """Of the caller's own, in whose transaction the jobs are put. No part of a job."""
    overrides: dict[str, Any] | None = None
    """The run-time options that a call changed; they travel with the job."""

    @property
    def limits(self) -> LaneLimits | None:
        """What the task declares of its lanes."""
        if self.rate is None and self.concurrency is None:
            return None
        return lane_limits(self.rate, self.burst, self.concurrency)

    def changed(self, settings: Mapping[str, Any], who: str, known: Iterable[str]) -> "TaskOptions":
        """Return a copy with `settings` checked and applied. Raises ConfigError, naming `who` they are for."""
        return msgspec.structs.replace(self, **_checked(settings, who, set(known)))

    def for_run(self, overrides: dict[str, Any] | None) -> "TaskOptions":
        """Return the options that hold for one job. Raises ValueError where its overrides mean nothing."""
        if not overrides:
            return self
        changes = {
            name: check_option(name, overrides[name], name) for name in overrides.keys() & _RUN_TIME - {"backoff"}
        }
        if "backoff" in overrides:
            changes["backoff"] = msgspec.convert(overrides["backoff"], Backoff)
        return msgspec.structs.replace(self, **changes)


_RUN_TIME = {"retries", "backoff", "timeout", "results", "keep_results"}
_MAY_BE_NONE = {"retries", "timeout", "key", "expires", "eta", "lane", "rate", "burst", "concurrency"}
_DURATIONS = {"timeout", "expires", "delay", "keep_results"}
_MAX_ETA = 1e12
"""Unix seconds. Nothing below it is today in milliseconds, so that mistake is noticed."""
_POLICIES = ("all", "failures", "none")


def _checked(settings: Mapping[str, Any], who: str, known: set[str]) -> dict[str, Any]:
    for name in settings:
        if name not in known:
            raise ConfigError(
                f"{who} has no option {name!r}{did_you_mean(name, known)}; known are {', '.join(sorted(known))}"
            )
    return {name: check_option(name, value, f"{who}: {name}") for name, value in settings.items()}


def check_option(name: str, value: Any, what: str) -> Any:
    """Return the value of one option in its one unit; `what` names it in the ConfigError where it means nothing."""
    if value is None and name in _MAY_BE_NONE:
        return None
    if name in _DURATIONS:
        return seconds(value, what)
    special = _CHECKS.get(name)
    if special is not None:
        return special(value, what)
    expected = _PLAIN[name]
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigError(f"{what} is {value!r}; expected {expected.__name__}")
    return value


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000_000:
        raise ConfigError(f"{what} is {value!r}; expected a whole number from 0 to a billion")
    return value


def _positive(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1_000_000_000:
        raise ConfigError(f"{what} is {value!r}; expected a whole number from 1 to a billion")
    return value


def _lane(value: Any, what: str) -> LaneRule:
    if callable(value):
        return value  # type: ignore[no-any-return]
    return lane_name(value, what)


def lane_name(value: Any, what: str) -> str:
    """Return the name of a lane. Raises ConfigError for one that nobody could read in a list."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        shown = f"{value[:40]!r}... of {len(value):,} characters" if len(str(value)) > MAX_NAME else repr(value)
        raise ConfigError(f"{what} is {shown}; expected a printable name of 1 to {MAX_NAME} characters")
    return value


def lane_limits(rate: float | None, burst: int | None, concurrency: int | None) -> LaneLimits:
    """Return limits; without a `burst`, a lane may make up for a tenth of a second in which nobody looked."""
    return LaneLimits(rate, burst or max(1, math.ceil((rate or 0.0) / 10)), concurrency)


def _priority(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 1_000_000:
        raise ConfigError(f"{what} is {value!r}; expected a whole number between -1000000 and 1000000")
    return value


def _queue(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable() or "," in value:
        raise ConfigError(f"{what} is {value!r}; expected a printable name of 1 to 200 characters without a comma")
    return value


def _eta(value: Any, what: str) -> float:
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{what} is {value!r}, which has no time zone; pass an aware datetime")
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_ETA:
        return float(value)
    raise ConfigError(f"{what} is {value!r}; expected an aware datetime or unix seconds (not milliseconds)")


def _exceptions(value: Any, what: str) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise ConfigError(f"{what} is {value!r}; expected an exception class or a tuple of them")
    return kinds


def _key(value: Any, what: str) -> KeyRule:
    if value is True or callable(value) or (isinstance(value, str) and value):
        return value  # type: ignore[no-any-return]
    raise ConfigError(f"{what} is {value!r}; expected a string, True (same arguments), or a function of the arguments")


def _hold(value: Any, what: str) -> float:
    if value in ("finished", "ever"):
        return FOREVER if value == "ever" else 0.0
    return seconds(value, what + " (a duration, 'finished' or 'ever')")


def _results(value: Any, what: str) -> ResultsPolicy:
    if value not in _POLICIES:
        near = did_you_mean(str(value), _POLICIES)
        raise ConfigError(f"{what} is {value!r}; expected one of {', '.join(_POLICIES)}{near}")
    return value  # type: ignore[no-any-return]


def _backoff(value: Any, what: str) -> Any:
    try:
        return as_backoff(value)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None


def _connection(value: Any, what: str) -> Any:
    if isinstance(value, str):
        raise ConfigError(f"{what} is a string; expected an open connection, in whose transaction the jobs are put")
    return value


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "queue": _queue,
    "priority": _priority,
    "retries": _count,
    "redeliveries": _count,
    "backoff": _backoff,
    "retry_on": _exceptions,
    "fail_on": _exceptions,
    "eta": _eta,
    "key": _key,
    "hold": _hold,
    "results": _results,
    "lane": _lane,
    "rate": rate,
    "burst": _positive,
    "concurrency": _positive,
    "connection": _connection,
}
_PLAIN: dict[str, type] = {"replace": bool, "process": bool}


class Call(Generic[P, R]):
    """A task with the options of its next jobs; what ``task.using(...)`` returns."""

    def __init__(self, task: "Task[P, R]", options: TaskOptions) -> None:
        self._task = task
        self._options = options

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Put one call in its queue and return its handle. Raises ArgumentError, or BrokerError when it cannot."""
        job = self.job(args, kwargs)
        ids = self._put((job,))
        return JobHandle(ids[0], self._task.client, self._task.returns, self._options.results)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Do what `enqueue` does, from a coroutine; calls made at the same time travel together."""
        self._refuse_connection("aenqueue()")
        ids = await self._task.client.aput((self.job(args, kwargs),))
        return self._handles(ids)[0]

    def enqueue_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[JobHandle[R]]:
        """Put many calls, each a tuple of arguments or a mapping of named ones, and return their handles in order.

        Every thousand calls go in one transaction, so a generator of any length may be passed. The first call
        whose arguments do not fit raises ArgumentError with its index; the thousands before it are already put.
        """
        handles: list[JobHandle[R]] = []
        numbered = enumerate(calls)
        while chunk := [self._numbered_job(index, call) for index, call in itertools.islice(numbered, CHUNK)]:
            handles += self._handles(self._put(chunk))
        return handles

    def _put(self, jobs: Sequence[Job]) -> list[JobId]:
        if self._options.connection is None:
            return self._task.client.put(jobs)
        return self._task.client.put_within(self._options.connection, jobs)

    def _refuse_connection(self, what: str) -> None:
        if self._options.connection is not None:
            raise ConfigError(
                f"{self._task.name}.using(connection=...) goes with enqueue() and enqueue_many(), not with {what}; "
                "put a job that starts the rest"
            )

    def s(self, *args: Any, **kwargs: Any) -> Step[R]:
        """Return this call as a step of a workflow: after another step, its result becomes the first argument."""
        return Step(self, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Step[R]:
        """Return this call as a step of a workflow that takes no result of the step before."""
        return Step(self, args, kwargs, takes=False)

    def map(self, items: Iterable[Any]) -> Group:
        """Return a group of calls, one for each item, which is its only argument. `items` is read when it is put."""
        return Group(_each(items, lambda item: Step(self, (item,), {})), self.client)

    def starmap(self, calls: Iterable[Sequence[Any]]) -> Group:
        """Return a group of calls, one for each sequence of arguments."""
        return Group(_each(calls, self._starred), self.client)

    def _starred(self, arguments: Any) -> Step[R]:
        if not isinstance(arguments, Sequence) or isinstance(arguments, str | bytes):
            raise ArgumentError(
                f"{self._task.name}.starmap() got {arguments!r}; expected tuples of arguments, such as (x, y)"
            )
        return Step(self, arguments, {})

    def job(self, args: Sequence[Any], kwargs: Mapping[str, Any], place: Place | None = None) -> Job:
        """Return the job that this call would put, without putting it; `place` is where it stands in a workflow."""
        options = self._options
        if place is not None:
            self._refuse_connection("workflows and groups")
        if options.replace and place is not None and place.after is not None:
            raise ConfigError(
                f"{self._task.name}() is declared with replace=True, so as a step that waits for another one it could "
                "replace a job that does not; have a job of its own do that: current_job().put(...)"
            )
        can = self._task.client.capabilities
        if place is not None and not can.group and (place.group or place.after):
            raise ConfigError(f"{self._task.name}() as part of a workflow or a group: {cannot('group', can)}")
        takes = place is not None and place.takes
        signature = self._task.signature.rest if takes else self._task.signature
        data = signature.encode(args, kwargs)
        if len(data) > self._task.client.max_payload:
            raise PayloadTooLarge(
                f"{self._task.name}(): the arguments take {len(data):,} bytes, the limit is "
                f"{self._task.client.max_payload:,}; pass a path or an id, or raise it with Worklist(max_payload=...)"
            )
        return Job(
            new_job_id(),
            self._task.name,
            data,
            options.queue,
            options.priority,
            options.delay,
            options.eta,
            None if options.key is None else self._unique_key(options.key, data, signature, args, kwargs),
            options.hold,
            options.replace,
            options.expires,
            options.redeliveries,
            time.time(),
            options.overrides,
            self._ties(signature, args, kwargs, place),
        )

    def _ties(
        self, signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], place: Place | None
    ) -> Ties | None:
        limits = self._options.limits
        rule = self._options.lane
        if rule is None and limits is None and place is None:
            return None
        lane = self._task.name if rule is None and limits is not None else rule
        if callable(lane):
            lane = lane_name(self._by_rule("lane", lane, signature, args, kwargs), f"the lane of {self._task.name}()")
        if place is None:
            return Ties(lane, limits)
        return Ties(lane, limits, place.group, place.after, place.when, place.takes, place.followed)

    def _numbered_job(self, index: int, call: tuple[Any, ...] | Mapping[str, Any]) -> Job:
        try:
            if isinstance(call, tuple):
                return self.job(call, {})
            if isinstance(call, Mapping):
                return self.job((), call)
        except ArgumentError as error:
            raise type(error)(f"call {index}: {error}") from None
        raise ArgumentError(
            f"call {index} of enqueue_many is {type(call).__name__}; expected a tuple of arguments, such as (x,), "
            "or a mapping of named ones"
        )

    def _unique_key(
        self, rule: KeyRule, data: bytes, signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> str:
        if callable(rule):
            key = self._by_rule("key", rule, signature, args, kwargs)
            if not isinstance(key, str):
                raise ArgumentError(f"{self._task.name}(): its key function returned {key!r}; expected a string")
        else:
            key = hashlib.blake2b(data, digest_size=16).hexdigest() if rule is True else rule
        return f"{self._task.name}:{key}"

    def _by_rule(
        self,
        option: str,
        rule: Callable[..., Any],
        signature: Signature,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Return what a function of the arguments returns, where it can do without the result of a step before."""
        if signature is not self._task.signature and not signature.accepts(rule):
            raise ArgumentError(
                f"{self._task.name}(): its {option} function wants the first argument, which is known only when the "
                f"step before has ended; name the {option} with using({option}=...)"
            )
        return rule(**signature.by_name(args, kwargs))

    def handle(self, id: JobId) -> JobHandle[R]:
        """Return the handle of a job of this call."""
        return JobHandle(id, self._task.client, self._task.returns, self._options.results)

    @property
    def client(self) -> Client:
        """The app."""
        return self._task.client

    def _handles(self, ids: Sequence[JobId]) -> list[JobHandle[R]]:
        client, returns, results = self._task.client, self._task.returns, self._options.results
        return [JobHandle(id, client, returns, results) for id in ids]


class Task(Call[P, R]):
    """A registered function. Call it to run it here; `enqueue` it to have a worker run it."""

    def __init__(self, client: Client, name: str, function: Callable[P, Any], options: TaskOptions) -> None:
        self._client = client
        self.name = name
        self.function = function
        self.options = options
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = Signature(name, function)
        self.returns = self.signature.returns
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.__name__ = getattr(function, "__name__", name)
        self.__qualname__ = getattr(function, "__qualname__", name)
        self.__module__ = function.__module__
        super().__init__(self, options)
        self._refuse_what_cannot_be()

    @property
    def client(self) -> Client:
        """The app."""
        return self._client

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    def using(self, **settings: Any) -> Call[P, R]:
        """Return this task with other options for the jobs enqueued through it (see CallSettings).

        Raises ConfigError for an option that is unknown or means nothing.
        """
        who = f"{self.name}.using()"
        options = self.options.changed(settings, who, CallSettings.__annotations__)
        self._refuse_function("key", options.key, who)
        self._refuse_function("lane", options.lane, who)
        if "queue" in settings:
            self.client.check_queue(options.queue)
        _refuse_unsupported(options, who, self.client.capabilities)
        overrides = {name: getattr(options, name) for name in _RUN_TIME if name in settings}
        if not isinstance(overrides.get("backoff", Backoff()), Backoff):
            raise ConfigError(f"{who}: backoff cannot be a function here, since it travels with the job; name a rule")
        if overrides:
            options = msgspec.structs.replace(options, overrides=msgspec.to_builtins(overrides))
        return Call(self, options)

    def _refuse_what_cannot_be(self) -> None:
        who = f"task {self.name!r}"
        if self.options.process and self.is_async:
            raise ConfigError(f"{who}: process=True is for plain functions; an async one runs on the event loop")
        if self.options.process and "<locals>" in self.__qualname__:
            raise ConfigError(f"{who}: process=True needs a function at the top of a module, so a child can import it")
        self._refuse_function("key", self.options.key, who)
        self._refuse_function("lane", self.options.lane, who)
        if self.options.burst is not None and self.options.rate is None:
            raise ConfigError(f"{who}: burst={self.options.burst} is how far a rate may be exceeded; give a rate, too")
        _refuse_unsupported(self.options, who, self.client.capabilities)

    def _refuse_function(self, option: str, rule: Any, who: str) -> None:
        if callable(rule) and not self.signature.accepts(rule):
            raise ConfigError(
                f"{who}: its {option} function cannot be called with the task's arguments by name; write one such as "
                f"lambda {next(iter(self.signature.names), '')}, **_: ..."
            )

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        return find_task, (self.__module__, self.__qualname__)

    def __repr__(self) -> str:
        return f"<Task {self.name} in queue {self.options.queue}>"


class AsyncTask(Task[P, R]):
    """A registered coroutine function: calling it gives a coroutine to await here."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """Call the function, here and now."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]


def _each(items: Iterable[T], make: Callable[[T], Node]) -> Iterable[Node]:
    """Return what is made of each item: now, where the items are at hand, or as an iterator gives them."""
    return map(make, items) if isinstance(items, Iterator) else [make(item) for item in items]


def find_task(module: str, qualname: str) -> Any:
    """Return the task by where it is defined; how one is pickled for a child process."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _refuse_unsupported(options: TaskOptions, who: str, can: Capabilities) -> None:
    asked = {
        "key": options.key is not None,
        "delay": bool(options.delay or options.eta),
        "priority": options.priority != 0,
        "expires": options.expires is not None,
        "lane": options.lane is not None or options.limits is not None,
        "transaction": options.connection is not None,
    }
    for name, wanted in asked.items():
        if wanted and not getattr(can, name):
            raise ConfigError(f"{who}: {cannot(name, can)}")


def cannot(what: str, can: Capabilities) -> str:
    """Return what to say of something that a broker cannot do."""
    hidden = ("durable", "complete")
    able = ", ".join(name for name in can.__struct_fields__ if getattr(can, name) and name not in hidden)
    urls = "a postgresql:// URL" if what == "transaction" else "a SQL or Redis URL"
    return f"this broker cannot do {what}, only {able}; use {urls} for it, on RabbitMQ as results="
