"""A registered function: calling it is a plain call, `enqueue` puts a call of it in a queue.

All options live in one frozen TaskOptions; `using` makes a copy with some of them changed. It knows the app only
as a Client.
"""

import datetime as dt
import hashlib
import importlib
import inspect
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar

import msgspec

from .errors import ArgumentError, ConfigError, PayloadTooLarge, did_you_mean
from .handle import JobHandle, Records
from .job import FOREVER, Job, JobId, new_job_id
from .outcome import Backoff, BackoffRule, as_backoff
from .ports import Capabilities, ResultsPolicy
from .signature import Signature
from .units import Duration, seconds

P = ParamSpec("P")
R = TypeVar("R")

KeyRule = str | bool | Callable[..., str]
"""A fixed key, True for "the same arguments", or a function of the call's arguments, which it gets by name."""
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
    overrides: dict[str, Any] | None = None
    """The run-time options that a call changed; they travel with the job."""

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
_MAY_BE_NONE = {"retries", "timeout", "key", "expires", "eta"}
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
}
_PLAIN: dict[str, type] = {"replace": bool, "process": bool}


class Client(Records, Protocol):
    """What a task needs of its app."""

    @property
    def capabilities(self) -> Capabilities:
        """What the app's broker can do."""

    @property
    def max_payload(self) -> int:
        """The largest size of a job's arguments, in bytes."""

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the broker."""

    async def aput(self, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs from a coroutine."""

    def check_queue(self, queue: str) -> None:
        """Raise ConfigError where no task declares this queue."""


class Call(Generic[P, R]):
    """A task with the options of its next jobs; what ``task.using(...)`` returns."""

    def __init__(self, task: "Task[P, R]", options: TaskOptions) -> None:
        self._task = task
        self._options = options

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Put one call in its queue and return its handle. Raises ArgumentError, or BrokerError when it cannot."""
        job = self.job(args, kwargs)
        ids = self._task.client.put((job,))
        return JobHandle(ids[0], self._task.client, self._task.returns, self._options.results)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Do what `enqueue` does, from a coroutine; calls made at the same time travel together."""
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
            handles += self._handles(self._task.client.put(chunk))
        return handles

    def job(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Job:
        """Return the job that this call would put, without putting it."""
        options = self._options
        data = self._task.signature.encode(args, kwargs)
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
            None if options.key is None else self._unique_key(options.key, data, args, kwargs),
            options.hold,
            options.replace,
            options.expires,
            options.redeliveries,
            time.time(),
            options.overrides,
        )

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

    def _unique_key(self, rule: KeyRule, data: bytes, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        if callable(rule):
            key: Any = rule(**self._task.signature.by_name(args, kwargs))
            if not isinstance(key, str):
                raise ArgumentError(f"{self._task.name}(): its key function returned {key!r}; expected a string")
        else:
            key = hashlib.blake2b(data, digest_size=16).hexdigest() if rule is True else rule
        return f"{self._task.name}:{key}"

    def _handles(self, ids: Sequence[JobId]) -> list[JobHandle[R]]:
        client, returns, results = self._task.client, self._task.returns, self._options.results
        return [JobHandle(id, client, returns, results) for id in ids]


class Task(Call[P, R]):
    """A registered function. Call it to run it here; `enqueue` it to have a worker run it."""

    def __init__(self, client: Client, name: str, function: Callable[P, Any], options: TaskOptions) -> None:
        self.client = client
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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    def using(self, **settings: Any) -> Call[P, R]:
        """Return this task with other options for the jobs enqueued through it (see CallSettings).

        Raises ConfigError for an option that is unknown or means nothing.
        """
        who = f"{self.name}.using()"
        options = self.options.changed(settings, who, CallSettings.__annotations__)
        self._refuse_key_function(options.key, who)
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
        self._refuse_key_function(self.options.key, who)
        _refuse_unsupported(self.options, who, self.client.capabilities)

    def _refuse_key_function(self, key: KeyRule | None, who: str) -> None:
        if callable(key) and not self.signature.accepts(key):
            raise ConfigError(
                f"{who}: its key function cannot be called with the task's arguments by name; write one such as "
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
    }
    for name, wanted in asked.items():
        if wanted and not getattr(can, name):
            raise ConfigError(f"{who}: this broker cannot do {name}; use a SQL or Redis URL for it")
