"""The command ``worklist worker``: one worker in this process, a parent of several, or one that is left on its own.

The parent never imports the app; each of its children is this same command with ``--supervised``. The worker that
`detached` starts is this command with ``--assignment``. The options that say how a worker serves are here for all
commands that start workers.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click
import msgspec

from ..app import Stoppable, Worklist, stop_on_signals
from ..core.errors import ConfigError, WorklistError
from ..core.job import JobState
from ..core.ports import Filter
from ..core.units import seconds, size
from ..core.worker import Worker, kind_of
from ..detached import Assignment, Post, take_post
from ..supervisor import CANNOT_START, RECYCLED, obey_parent
from .job_commands import count_of
from .load import EXPECTED, configured_path, load_app, load_script, refuse_private, refuse_unusable
from .narrator import Narrator
from .parent import Crew, supervise, told_to_parent
from .render import say_error, spelt_seconds


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


def _assignment(_: click.Context, __: click.Parameter, value: str | None) -> Assignment | None:
    return None if value is None else msgspec.json.decode(value, type=Assignment)


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
@click.option("--detach", is_flag=True, help="Leave it running in a process of its own, one for each file.")
@click.option(
    "--idle-exit",
    callback=_checked(seconds),
    metavar="TIME",
    help="With --detach: end when all jobs have finished, after so long without any.",
)
@click.option("--assignment", callback=_assignment, hidden=True)
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--hush", is_flag=True, hidden=True)
def worker(
    path: str | None,
    app_path: str | None,
    processes: int | None,
    quiet: bool,
    detach: bool,
    idle_exit: str | None,
    assignment: Assignment | None,
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
    if detach or idle_exit is not None:
        _refuse_beside_detach(detach, quiet, processes, options)
        sys.exit(_detach(path, idle_exit, options))
    if assignment is not None:
        sys.exit(_serve_at_post(take_post(assignment), path, options, narrator))
    if processes is not None:
        workers = Crew("worker", as_arguments(options), processes)
        sys.exit(supervise(path, [workers], narrator, until_empty=options["until_empty"]))
    with told_to_parent(supervised, hush):
        app, worker = _made(path, options)
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
    refuse_unusable(app)
    others = {name: value for name, value in options.items() if name != "no_beat"}
    return app, app.make_worker(**others, beat=not options["no_beat"])


def _serve(
    app: Worklist,
    worker: Worker,
    path: str,
    options: dict[str, Any],
    narrator: Narrator,
    supervised: bool,
    stoppable: Stoppable | None = None,
) -> int:
    narrator.listen(app)
    show_log(narrator)
    begun = time.monotonic()
    with app, stop_on_signals(stoppable or worker):
        if supervised:
            obey_parent(worker.stop)
        narrator.news("worker", _what_it_serves(app, path, options))
        report = worker.run()
    took = spelt_seconds(time.monotonic() - begun)
    narrator.news("ended", f"pid {os.getpid()} processed {count_of(report.processed)} in {took}")
    return RECYCLED if report.recycle and supervised else 0


# -- a process of its own -----------------------------------------------------------------------------------------


def _refuse_beside_detach(detach: bool, quiet: bool, processes: int | None, options: dict[str, Any]) -> None:
    if not detach:
        raise click.UsageError("--idle-exit goes with --detach; a worker here ends with --until-empty")
    others = {"--processes": processes, "--quiet": quiet}
    others |= {f"--{name.replace('_', '-')}": options[name] for name in ("until_empty", "max_jobs", "max_memory")}
    for name, value in others.items():
        if value:
            hint = "; expected --idle-exit" if name == "--until-empty" else ""
            raise click.UsageError(f"{name} does not go with --detach{hint}")


def _detach(path: str, idle_exit: str | None, options: dict[str, Any]) -> int:
    """Start a worker of its own, or find the one that runs."""
    begun = time.time()
    with load_app(path) as app:
        refuse_private(app)
        names = ("queues", "threads", "concurrency", "children", "grace")
        chosen = {name: options[name] for name in names}
        made = app.start_worker(**chosen, idle_exit=idle_exit, beat=not options["no_beat"])
    already = "" if made.since >= begun else f" since {spelt_seconds(begun - made.since)} ago"
    click.echo(f"pid {made.pid} serves {made.app}{already} on {app.place.shown}; it prints to {made.log}")
    return 0


class _LeavesFirst(NamedTuple):
    """Tells those who look for the worker that it takes no more jobs, before it is stopped."""

    post: Post
    worker: Worker

    def stop(self, now: bool = False) -> None:
        self.post.leave()
        self.worker.stop(now)


def _serve_at_post(post: Post, path: str, options: dict[str, Any], narrator: Narrator) -> int:
    """Be the worker that a starter waits for."""
    try:
        if post.assignment.script is not None:
            load_script(path.partition(":")[0], post.assignment.script)
        app, worker = _made(path, options)
        _refuse_another_file(app, path, post)
    except WorklistError as error:
        say_error(str(error))
        post.refuse(str(error))
        return CANNOT_START
    queues = options["queues"] or app.queues
    try:
        post.keep(lambda: (worker.processed, worker.info().running), lambda: _unfinished(app, queues), worker.stop)
        post.begin(path, tuple(app.tasks), queues)
        return _serve(app, worker, path, options, narrator, False, _LeavesFirst(post, worker))
    finally:
        post.end()


def _refuse_another_file(app: Worklist, path: str, post: Post) -> None:
    file = app.place.file
    if file is None or file.absolute() != post.place.database.absolute():
        raise ConfigError(
            f"{path} has its jobs in {app.place.shown} where the worker imports it, and in "
            f"{post.place.database} in the program that starts the worker; its URL has to be the same in both"
        )


_NOT_FINISHED = (JobState.RUNNING, JobState.QUEUED, JobState.WAITING)


def _unfinished(app: Worklist, queues: Sequence[str]) -> bool:
    """Return whether a job of these queues is still to end, now or later."""
    return any(
        app.inspector.find(Filter(state=state, queue=queue, limit=1)) for state in _NOT_FINISHED for queue in queues
    )


# -- what is said of it -------------------------------------------------------------------------------------------

_SLOTS = {"thread": "threads", "async": "concurrency", "process": "children"}


def _what_it_serves(app: Worklist, path: str, options: dict[str, Any]) -> str:
    kinds = {kind_of(task) for task in app.tasks.values()}
    slots = ", ".join(f"{name} {options[name]}" for kind, name in _SLOTS.items() if kind in kinds)
    queues = ", ".join(options["queues"] or app.queues)
    tasks = f"{len(app.tasks)} task" + "s" * (len(app.tasks) != 1)
    return f"pid {os.getpid()} serves {queues} of {path} ({tasks}) on {app.place.shown} with {slots}"


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
