"""The command ``worklist worker``: one worker in this process, or a parent of several.

The parent never imports the app; each of its children is this same command with ``--supervised``. The options that
say how a worker serves are here for all commands that start workers.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from ..app import Worklist, stop_on_signals
from ..core.errors import ConfigError, WorklistError
from ..core.units import seconds, size
from ..core.worker import Worker, kind_of
from ..supervisor import CANNOT_START, RECYCLED, obey_parent
from .job_commands import count_of
from .load import EXPECTED, configured_path, load_app, refuse_private
from .narrator import Narrator
from .parent import Crew, supervise
from .render import say_error, spelt_seconds, without_password


def _checked(convert: Callable[[Any, str], float]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that checks a duration or a size, and leaves it as a person wrote it."""

    def checked(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if value is not None:
                convert(value, parameter.opts[0])
        except ConfigError as error:
            raise click.UsageError(str(error), context) from None
        return value

    return checked


def _names(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return the names in a text with commas."""
    names = tuple(name.strip() for name in value.split(",")) if value is not None else ()
    if not all(names):
        raise click.UsageError(f"{parameter.opts[0]} is {value!r}; expected names with commas between, such as a,b", _)
    return names


COUNT = click.IntRange(min=1)


_SERVING = (
    click.argument("path", required=False, metavar="[MODULE:APP]"),
    click.option("--app", "app_path", metavar="MODULE:APP", help="The same, as an option."),
    click.option("--queues", callback=_names, metavar="A,B", help="Queues to serve.  [default: all of the app]"),
    click.option("--threads", type=COUNT, default=8, show_default=True, help="Plain functions that run at once."),
    click.option("--concurrency", type=COUNT, default=100, show_default=True, help="Async functions that run at once."),
    click.option("--children", type=COUNT, default=2, show_default=True, help="Processes for tasks with process=True."),
    click.option(
        "--grace",
        callback=_checked(seconds),
        metavar="TIME",
        default="30s",
        show_default=True,
        help="For jobs to end in.",
    ),
    click.option("--max-jobs", type=COUNT, help="End after so many jobs; from a parent, a fresh worker follows."),
    click.option(
        "--max-memory", callback=_checked(size), metavar="SIZE", help="End when so much memory is used, such as 500MB."
    ),
    click.option("--quiet", is_flag=True, help="Say nothing of single jobs, only of trouble."),
)


def serving_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the app, and the options that say how a worker serves it."""
    for option in reversed(_SERVING):
        command = option(command)
    return command


@click.command()
@serving_options
@click.option("--processes", type=COUNT, help="Run so many workers, each a process, and restart what dies.")
@click.option("--until-empty", is_flag=True, help="End when no job is due.")
@click.option("--no-beat", is_flag=True, help="Put no jobs of schedules; beats elsewhere do.")
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
    path = chosen_path(path, app_path)
    narrator = Narrator(quiet)
    if processes is not None:
        workers = Crew("worker", as_arguments(options), processes)
        sys.exit(supervise(path, [workers], narrator, until_empty=options["until_empty"]))
    try:
        app, worker = _made(path, options)
    except WorklistError as error:
        if not supervised:
            raise
        if not hush:
            say_error(str(error))
        sys.exit(CANNOT_START)
    sys.exit(_serve(app, worker, path, options, narrator, supervised))


def chosen_path(path: str | None, app_path: str | None) -> str:
    """Return where the app is: as the argument, the option or pyproject.toml say. Raises UsageError where none does."""
    if path is not None and app_path is not None and path != app_path:
        raise click.UsageError(f"two apps were named, {path} and {app_path}; expected one")
    chosen = path or app_path or configured_path()
    if chosen is None:
        raise click.UsageError(f"no app was named; {EXPECTED}, or app = ... under [tool.worklist] in pyproject.toml")
    return chosen


def as_arguments(options: dict[str, Any]) -> list[str]:
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


def _made(path: str, options: dict[str, Any]) -> tuple[Worklist, Worker]:
    app = load_app(path)
    refuse_private(app)
    others = {name: value for name, value in options.items() if name != "no_beat"}
    return app, app.make_worker(**others, beat=not options["no_beat"])


def _serve(
    app: Worklist, worker: Worker, path: str, options: dict[str, Any], narrator: Narrator, supervised: bool
) -> int:
    narrator.listen(app)
    show_log(narrator)
    begun = time.monotonic()
    with app, stop_on_signals(worker):
        if supervised:
            obey_parent(worker.stop)
        narrator.news("worker", _what_it_serves(app, path, options))
        report = worker.run()
    took = spelt_seconds(time.monotonic() - begun)
    narrator.news("ended", f"pid {os.getpid()} processed {count_of(report.processed)} in {took}")
    return RECYCLED if report.recycle and supervised else 0


_SLOTS = {"thread": "threads", "async": "concurrency", "process": "children"}


def _what_it_serves(app: Worklist, path: str, options: dict[str, Any]) -> str:
    kinds = {kind_of(task) for task in app.tasks.values()}
    slots = ", ".join(f"{name} {options[name]}" for kind, name in _SLOTS.items() if kind in kinds)
    queues = ", ".join(options["queues"] or app.queues)
    tasks = f"{len(app.tasks)} task" + "s" * (len(app.tasks) != 1)
    return f"pid {os.getpid()} serves {queues} of {path} ({tasks}) on {without_password(app.url)} with {slots}"


class _LogLines(logging.Handler):
    """Shows what the worker logs as lines like the others."""

    def __init__(self, narrator: Narrator) -> None:
        super().__init__(logging.WARNING)
        self._narrator = narrator

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        more = f": {type(error).__name__}: {error}" if error else ""
        self._narrator.say(record.levelname.lower(), record.getMessage() + more, "yellow")


def show_log(narrator: Narrator) -> None:
    """Show Worklist's own log, unless the app has set logging up itself."""
    log = logging.getLogger("worklist")
    if not log.hasHandlers():
        log.addHandler(_LogLines(narrator))
