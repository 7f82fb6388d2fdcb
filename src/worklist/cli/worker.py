"""The command ``worklist worker``: one worker in this process, or a parent of several.

The parent never imports the app; each of its children is this same command with ``--supervised``.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..app import Worklist, stop_on_signals
from ..core.errors import ConfigError, WorklistError
from ..core.units import seconds, size
from ..core.worker import Worker, WorkerReport, kind_of
from ..supervisor import CANNOT_START, RECYCLED, Supervisor, obey_parent
from .jobs import count_of
from .load import EXPECTED, configured_path, load_app, refuse_private
from .narrator import Narrator
from .render import spelt_seconds, without_password


class Unit(click.ParamType):
    """A duration or a size, as people write it."""

    def __init__(self, name: str, convert: Callable[[Any, str], float]) -> None:
        self.name = name
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds or bytes."""
        try:
            return self._convert(value, "it")
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class Names(click.ParamType):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        names = value if isinstance(value, tuple) else tuple(name.strip() for name in value.split(","))
        if not all(names):
            self.fail(f"{value!r} holds an empty name; expected names with commas between, such as mail,default")
        return names


_COUNT = click.IntRange(min=1)


@click.command()
@click.argument("path", required=False, metavar="[MODULE:APP]")
@click.option("--app", "app_path", metavar="MODULE:APP", help="The same, as an option.")
@click.option("--queues", type=Names(), default=(), metavar="A,B", help="Queues to serve.  [default: all of the app]")
@click.option("--threads", type=_COUNT, default=8, show_default=True, help="Plain functions that run at once.")
@click.option("--concurrency", type=_COUNT, default=100, show_default=True, help="Async functions that run at once.")
@click.option("--children", type=_COUNT, default=2, show_default=True, help="Processes for tasks with process=True.")
@click.option("--processes", type=_COUNT, help="Run so many workers, each a process, and restart what dies.")
@click.option("--until-empty", is_flag=True, help="End when no job is due.")
@click.option("--grace", type=Unit("duration", seconds), default="30s", show_default=True, help="For jobs to end in.")
@click.option("--max-jobs", type=_COUNT, help="End after so many jobs; with --processes, a fresh worker follows.")
@click.option("--max-memory", type=Unit("size", size), help="End when so much memory is used, such as 500MB.")
@click.option("--quiet", is_flag=True, help="Say nothing of single jobs, only of trouble.")
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--hush", is_flag=True, hidden=True)
def worker(
    path: str | None,
    app_path: str | None,
    processes: int | None,
    quiet: bool,
    supervised: bool,
    hush: bool,
    **options: Any,
) -> None:
    """Run the jobs of an app until stopped.

    SIGTERM or Ctrl-C stops it gently: running jobs have the --grace time to end, and what has not begun is handed
    back at once. A second one stops it now.
    """
    path = _chosen(path, app_path)
    narrator = Narrator(quiet)
    if processes is not None:
        sys.exit(_supervise(path, processes, options, narrator))
    try:
        sys.exit(_serve(path, options, narrator, supervised))
    except WorklistError:
        if hush:
            sys.exit(CANNOT_START)
        raise


def _chosen(path: str | None, app_path: str | None) -> str:
    if path is not None and app_path is not None and path != app_path:
        raise click.UsageError(f"two apps were named, {path} and {app_path}; expected one")
    chosen = path or app_path or configured_path()
    if chosen is None:
        raise click.UsageError(f"no app was named; {EXPECTED}, or app = ... under [tool.worklist] in pyproject.toml")
    return chosen


# -- several processes --------------------------------------------------------------------------------------------


def _supervise(path: str, processes: int, options: dict[str, Any], narrator: Narrator) -> int:
    command = [sys.executable, "-m", "worklist", "worker", path, *_as_arguments(options), "--supervised"]
    if narrator.quiet:
        command.append("--quiet")
    narrator.news("parent", f"pid {os.getpid()} starts {processes} workers of {path}")
    supervisor = Supervisor(
        command, processes, narrator.say, hush=["--hush"], until_empty=options["until_empty"]
    )
    return supervisor.run()


def _as_arguments(options: dict[str, Any]) -> list[str]:
    """Return options as a command line has them."""
    arguments = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(flag)
        elif value not in (None, False, ()):
            arguments.append(f"{flag}={','.join(value) if isinstance(value, tuple) else value}")
    return arguments


# -- one process --------------------------------------------------------------------------------------------------


def _serve(path: str, options: dict[str, Any], narrator: Narrator, supervised: bool) -> int:
    app, worker = _made(path, options, supervised)
    narrator.listen(app)
    _show_log(narrator)
    begun = time.monotonic()
    with app, stop_on_signals(worker):
        if supervised:
            obey_parent(worker.stop)
        narrator.news("worker", _what_it_serves(path, app, worker, options))
        report = worker.run()
    narrator.news("ended", f"pid {os.getpid()} processed {_in_seconds(report, time.monotonic() - begun)}")
    return RECYCLED if report.recycle and supervised else 0
