"""Commands about schedules: list them with their fire times, add, pause, resume, delete, put one now."""

import datetime as dt
from typing import Any

import click
import msgspec

from ..app import Worklist
from ..core.errors import ConfigError, did_you_mean
from ..core.schedule import Schedule
from .load import with_app
from .program import Program
from .render import Cell, Column, ago, show, show_json, table

_name = click.argument("name")


@click.group(cls=Program, invoke_without_command=True)
@click.option("--app", "path", metavar="MODULE:APP", help="The app whose schedules these are.")
@click.option("--url", metavar="URL", help="Where the schedules are, to look without the app.")
@click.option("--next", "count", type=click.IntRange(1, 1000), metavar="N", help="Show the next N fire times of each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def schedules(context: click.Context, /, **options: Any) -> None:
    """List what is put again and again, and when next; or change it."""
    if context.invoked_subcommand is None:
        _list(**options)
    elif any(options.values()):
        raise click.UsageError(f"options stand behind the command: worklist schedules {context.invoked_subcommand} ...")


@with_app
def _list(app: Worklist, count: int | None, as_json: bool) -> None:
    found = list(app.schedules.values())
    if as_json:
        show_json([_as_data(app, schedule, count or 1) for schedule in found])
    elif not found:
        click.echo("there are no schedules", err=True)
    elif count is None:
        show(_table(found, app.store.now()))
    else:
        show(_fire_times(app, found, count))


def _table(found: list[Schedule], now: float) -> Any:
    columns = [Column(title) for title in ("name", "task", "when", "zone", "next", "last")]
    return table(columns, [_row(schedule, now) for schedule in found])


def _row(schedule: Schedule, now: float) -> list[Cell]:
    upcoming: Cell = ("paused", "yellow") if schedule.paused else f"{_local(schedule)}  ({ago(schedule.due, now)})"
    return [schedule.name, schedule.task, schedule.every, schedule.tz, upcoming, ago(schedule.last, now)]


def _local(schedule: Schedule) -> str:
    at = schedule.next_times(1, after=schedule.due - 0.001)[0]
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _fire_times(app: Worklist, found: list[Schedule], count: int) -> Any:
    rows = [
        (schedule.name, f"{at:%a %Y-%m-%d %H:%M:%S %Z}")
        for schedule in found
        for at in app.schedules.next_times(schedule.name, count)
    ]
    return table([Column("name"), Column("fires")], rows)


def _as_data(app: Worklist, schedule: Schedule, count: int) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "task": schedule.task,
        "arguments": msgspec.msgpack.decode(schedule.job.args),
        "queue": schedule.job.queue,
        "priority": schedule.job.priority,
        "every": schedule.every,
        "tz": schedule.tz,
        "missed": schedule.missed,
        "most": schedule.most,
        "overlap": schedule.overlap,
        "declared": schedule.declared,
        "paused": schedule.paused,
        "last": None if schedule.last is None else dt.datetime.fromtimestamp(schedule.last, dt.UTC),
        "next": schedule.next_times(count, app.store.now()),
    }


@schedules.command()
@with_app
@_name
def pause(app: Worklist, name: str) -> None:
    """Let NAME not fire until it is resumed; nothing is made up for."""
    app.schedules.pause(name)
    click.echo(f"{name} is paused; worklist schedules resume {name} lets it fire again")


@schedules.command()
@with_app
@_name
def resume(app: Worklist, name: str) -> None:
    """Let NAME fire again."""
    schedule = app.schedules.resume(name)
    click.echo(f"{name} fires next at {_local(schedule)} {schedule.tz}")


@schedules.command()
@with_app
@_name
def delete(app: Worklist, name: str) -> None:
    """Remove NAME; its jobs stay. One that code declares comes back when a beat of that code begins."""
    declared = app.schedules[name].declared
    app.schedules.delete(name)
    back = "; the code that declares it brings it back at the next start" if declared else ""
    click.echo(f"{name} is deleted{back}")


@schedules.command()
@with_app
@_name
def put(app: Worklist, name: str) -> None:
    """Put the job of NAME now, as a tick would."""
    click.echo(app.schedules.put(name).id)


@schedules.command()
@with_app
@_name
@click.option("--task", "task_name", required=True, metavar="NAME", help="The task whose jobs are put.")
@click.option("--every", required=True, metavar="WHEN", help="An interval such as 30s, or a cron line in quotes.")
@click.option("--tz", metavar="ZONE", help="The time zone of a cron line, such as Asia/Shanghai.  [default: UTC]")
@click.option("--args", "arguments", metavar="JSON", help="The arguments: an array, or an object of named ones.")
@click.option("--queue", metavar="NAME", help="Another queue than the task's.")
@click.option("--priority", type=int, metavar="N", help="Another priority than the task's.")
@click.option("--missed", metavar="POLICY", help="Of fire times that nobody was there for: skip, once or all.")
@click.option("--most", type=int, metavar="N", help="With --missed all: this many at most.")
@click.option("--overlap", is_flag=True, default=None, help="Also while the job before has not finished.")
def add(app: Worklist, name: str, task_name: str, every: str, arguments: str | None, **options: Any) -> None:
    """Add a schedule NAME for a task of the app."""
    task = app.tasks.get(task_name)
    if task is None:
        raise ConfigError(f"the app has no task {task_name!r}{did_you_mean(task_name, app.tasks)}; name it with --app")
    settings = {option: value for option, value in options.items() if value is not None}
    schedule = app.schedules.add(name, task, every, **_arguments(arguments), **settings)
    click.echo(f"{name} fires next at {_local(schedule)} {schedule.tz}")


def _arguments(text: str | None) -> dict[str, Any]:
    """Return the arguments as the app takes them."""
    try:
        value = msgspec.json.decode(text) if text is not None else []
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--args is {text!r}, which is no JSON ({error})") from None
    if not isinstance(value, list | dict):
        raise click.UsageError(
            f'--args is {text!r}; expected a JSON array such as [1, 2] or an object such as {{"n": 1}}'
        )
    return {"args": value} if isinstance(value, list) else {"kwargs": value}
