"""The schedules of an app, as a mapping from their names: those that its code declares, and those made at run time.

It checks and changes; a beat (core/beat.py) makes them fire.
"""

import datetime as dt
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, Protocol, TypedDict, Unpack, get_args
from zoneinfo import ZoneInfo

import msgspec

from .core.cron import Interval, as_text, timetable
from .core.errors import ConfigError, ScheduleUnknown, did_you_mean
from .core.handle import JobHandle
from .core.job import Job, JobId, new_job_id
from .core.ports import Capabilities, Store
from .core.schedule import Missed, Schedule
from .core.task import Task, cannot
from .core.units import Duration

MOST = 10_000
"""How many missed fire times may give a job at most."""
LONGEST_NAME = 200


class ScheduleSettings(TypedDict, total=False):
    """What a schedule can be told. docs/reference/tasks.md says what each means."""

    tz: str | ZoneInfo
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    queue: str
    priority: int
    missed: Missed
    most: int
    overlap: bool


class App(Protocol):
    """What schedules need of their app."""

    tasks: dict[str, Task[..., Any]]

    @property
    def store(self) -> Store:
        """The broker, opened at first use."""

    @property
    def capabilities(self) -> Capabilities:
        """What the app's broker can do."""

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the broker."""

    def job(self, id: JobId) -> JobHandle[Any]:
        """Return the handle of a job."""


class Schedules(Mapping[str, Schedule]):
    """``app.schedules``. Looking at it reads the store each time; changes hold for every beat within about a second."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._declared: dict[str, Schedule] = {}

    # -- looking ----------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Schedule:
        """Return a schedule. Raises ScheduleUnknown where there is none of this name."""
        return self._known(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def values(self) -> ValuesView[Schedule]:
        """Return all schedules, by name, as they are at one moment."""
        return self._all().values()

    def items(self) -> ItemsView[str, Schedule]:
        """Return names and schedules, as they are at one moment."""
        return self._all().items()

    def next_times(self, name: str, count: int = 1) -> list[dt.datetime]:
        """Return the next fire times of a schedule, in its time zone; none while it is paused."""
        return self[name].next_times(count, self._store.now())

    @property
    def declared(self) -> list[Schedule]:
        """The schedules that the code of this app declares."""
        return list(self._declared.values())

    @property
    def _store(self) -> Store:
        return self._app.store

    def _all(self) -> dict[str, Schedule]:
        stored = {schedule.name: schedule for schedule in self._store.schedules()}
        fresh = {name: it.started(self._store.now()) for name, it in self._declared.items() if name not in stored}
        return dict(sorted({**stored, **fresh}.items()))

    def _known(self, name: str) -> tuple[Schedule, Schedule | None]:
        """Return a schedule, and what is stored of it: nothing where no beat has run since it was declared."""
        stored = {schedule.name: schedule for schedule in self._store.schedules()}
        if name in stored:
            return stored[name], stored[name]
        if name in self._declared:
            return self._declared[name].started(self._store.now()), None
        names = sorted({*stored, *self._declared})
        listed = f"known are {', '.join(names)}" if names else "there are none"
        raise ScheduleUnknown(f"there is no schedule {name!r}{did_you_mean(name, names)}; {listed}")

    # -- changing ---------------------------------------------------------------------------------------------

    def declare(
        self, task: Task[..., Any], every: Duration, name: str | None = None, **settings: Unpack[ScheduleSettings]
    ) -> Schedule:
        """Note a schedule of the code, for a beat to store when it begins. Raises ConfigError, ArgumentError."""
        made = self._made(name or task.name, task, every, dict(settings))
        if made.name in self._declared:
            raise ConfigError(
                f"a schedule named {made.name!r} is declared already; give this one another name with name=..."
            )
        self._declared[made.name] = msgspec.structs.replace(made, declared=True)
        return self._declared[made.name]

    def add(self, name: str, task: Task[..., Any], every: Duration, **settings: Unpack[ScheduleSettings]) -> Schedule:
        """Add a schedule at run time. Raises ConfigError where there is one of this name, or a setting means nothing.

        Raises ArgumentError where the arguments do not fit the task.
        """
        made = self._made(name, task, every, dict(settings)).started(self._store.now())
        if name in self._declared or not self._store.save_schedule(made, None):
            raise ConfigError(f"there is a schedule {name!r} already; change it, or delete it first")
        return made

    def change(self, name: str, *, every: Duration | None = None, **settings: Unpack[ScheduleSettings]) -> Schedule:
        """Change a schedule; what is not named stays. Its history stays, and its next tick where the times do.

        One that code declares is no longer the code's afterwards, until it is deleted. Raises as `add` does.
        """

        def changed(schedule: Schedule) -> Schedule:
            task = self._task(schedule)
            before = _settings_of(schedule, task, with_arguments=not {"args", "kwargs"} & set(settings))
            if every is not None and _is_interval(every):
                del before["tz"]
            made = self._made(name, task, every if every is not None else schedule.every, {**before, **settings})
            return made.taking_over(schedule, self._store.now())

        return self._replace(name, changed)

    def pause(self, name: str) -> Schedule:
        """Let a schedule not fire until `resume`; what would have been due meanwhile is not made up for."""
        return self._replace(name, lambda it: msgspec.structs.replace(it, paused=True).started(self._store.now()))

    def resume(self, name: str) -> Schedule:
        """Let a paused schedule fire again, at its next fire time from now on."""

        def resumed(schedule: Schedule) -> Schedule:
            if not schedule.paused:
                return schedule
            return msgspec.structs.replace(schedule, paused=False).started(self._store.now())

        return self._replace(name, resumed)

    def delete(self, name: str) -> None:
        """Remove a schedule; its jobs stay. One that code declares comes back when a beat of that code begins."""
        self._known(name)
        self._store.delete_schedule(name)

    def put(self, name: str) -> JobHandle[Any]:
        """Put the job of a schedule now, as a tick would, and leave its times alone. Returns the job's handle."""
        schedule = self[name]
        now = self._store.now()
        (id,) = self._app.put([schedule.job_of(now, new_job_id(), now)])
        return self._app.job(id)

    def _replace(self, name: str, change: Callable[[Schedule], Schedule]) -> Schedule:
        """Store what `change` makes of a schedule; made anew where a tick or somebody else was faster."""
        while True:
            schedule, stored = self._known(name)
            changed = change(schedule)
            if self._store.save_schedule(changed, stored):
                return changed

    def _task(self, schedule: Schedule) -> Task[..., Any]:
        task = self._app.tasks.get(schedule.task)
        if task is None:
            raise ConfigError(
                f"the schedule {schedule.name!r} is for the task {schedule.task!r}, which this app does not have"
                f"{did_you_mean(schedule.task, self._app.tasks)}"
            )
        return task

    def _made(self, name: str, task: Any, every: Duration, settings: dict[str, Any]) -> Schedule:
        """Return a schedule, checked."""
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"a schedule is named {name!r}; expected 1 to {LONGEST_NAME} printable characters")
        who = f"schedule {name!r}"
        if not self._app.capabilities.schedule:
            raise ConfigError(f"{who}: {cannot('schedule', self._app.capabilities)}")
        if not isinstance(task, Task):
            raise ConfigError(f"{who} got {task!r}; expected a task: put @app.task under @app.every")
        _refuse_unknown(who, settings)
        try:
            times = timetable(as_text(every), _zone_name(settings.get("tz", "UTC")))
        except ConfigError as error:
            raise ConfigError(f"{who}: {error}") from None
        call = task.using(**{option: settings[option] for option in ("queue", "priority") if option in settings})
        job = call.job(*_arguments(who, settings))
        return Schedule(
            name=name,
            job=msgspec.structs.replace(job, id="", created=0.0),
            every=times.text,
            tz=times.tz,
            **_checked(who, settings),
        )


def _is_interval(every: Duration) -> bool:
    return isinstance(timetable(as_text(every)), Interval)


def _zone_name(zone: Any) -> str:
    name = zone.key if isinstance(zone, ZoneInfo) else zone
    if not isinstance(name, str):
        raise ConfigError(f"tz is {zone!r}; expected the name of a time zone, such as Asia/Shanghai")
    return name


def _arguments(who: str, settings: dict[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    args, kwargs = settings.get("args", ()), settings.get("kwargs", {})
    if not isinstance(args, tuple | list):
        raise ConfigError(f"{who}: args is {args!r}; expected a tuple or a list of arguments, such as (x,)")
    if not isinstance(kwargs, Mapping):
        raise ConfigError(f"{who}: kwargs is {kwargs!r}; expected a mapping of named arguments")
    return tuple(args), kwargs


def _refuse_unknown(who: str, settings: dict[str, Any]) -> None:
    known = ScheduleSettings.__annotations__
    for option in settings:
        if option not in known:
            raise ConfigError(
                f"{who} has no option {option!r}{did_you_mean(option, known)}; known are every, {', '.join(known)}"
            )


def _checked(who: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the options about ticks, checked."""
    missed, most, overlap = settings.get("missed", "once"), settings.get("most", 100), settings.get("overlap", False)
    policies = get_args(Missed)
    if missed not in policies:
        raise ConfigError(
            f"{who}: missed is {missed!r}{did_you_mean(str(missed), policies)}; expected one of {', '.join(policies)}"
        )
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= MOST:
        raise ConfigError(f"{who}: most is {most!r}; expected a whole number from 1 to {MOST}")
    if not isinstance(overlap, bool):
        raise ConfigError(f"{who}: overlap is {overlap!r}; expected bool")
    if missed == "all" and not overlap:
        raise ConfigError(
            f"{who}: missed='all' puts many jobs at once, and without overlap=True all but the first are dropped; "
            "say overlap=True too, or missed='once'"
        )
    return {"missed": missed, "most": most, "overlap": overlap}


def _settings_of(schedule: Schedule, task: Task[..., Any], with_arguments: bool) -> dict[str, Any]:
    """Return the settings that a schedule was made with."""
    settings: dict[str, Any] = {
        "tz": schedule.tz,
        "queue": schedule.job.queue,
        "priority": schedule.job.priority,
        "missed": schedule.missed,
        "most": schedule.most,
        "overlap": schedule.overlap,
    }
    if with_arguments:
        settings["args"], settings["kwargs"] = task.signature.decode(schedule.job.args)
    return settings
