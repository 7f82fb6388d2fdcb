"""Commands about jobs: list them, look at one, retry, cancel, remove."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import msgspec

from ..app import Worklist
from ..core.errors import JobUnknown, did_you_mean
from ..core.job import FINISHED, JobId, JobRecord, JobState
from ..core.ports import Change, Filter
from .job_view import as_data, details, rows_of
from .load import with_app
from .queue_commands import check_known
from .render import say_error, show, show_json

BATCH = 1000
_DONE = {"retry": "retried", "cancel": "cancelled"}


def _state_among(states: Sequence[JobState]) -> Callable[[click.Context, click.Parameter, Any], JobState | None]:
    """Return a callback that reads one of these states; a misspelt one is told the nearest."""
    names = [str(state) for state in states]

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> JobState | None:
        if value is None:
            return None
        if value.lower() not in names:
            raise click.UsageError(
                f"{parameter.opts[0]} is {value!r}{did_you_mean(value, names)}; expected one of {', '.join(names)}",
                context,
            )
        return JobState(value.lower())

    return read


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_task = click.option("--task", metavar="NAME", help="Only jobs of this task.")
_queue = click.option("--queue", metavar="NAME", help="Only jobs of this queue.")


@click.command()
@with_app
@click.argument("id", required=False)
@click.option(
    "--state", callback=_state_among(tuple(JobState)), metavar="STATE", help="Only jobs in this state, such as failed."
)
@_task
@_queue
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, the newest first.")
@_json
def jobs(
    app: Worklist,
    id: JobId | None,
    state: JobState | None,
    task: str | None,
    queue: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List jobs, or show all that is known of the one with this ID."""
    if id is not None:
        _show_one(app, id, as_json)
        return
    if queue is not None:
        check_known(app, queue)
    found = app.inspector.find(Filter(state=state, task=task, queue=queue, limit=limit))
    if as_json:
        show_json([as_data(record, app.environment.codec) for record in found])
    elif found:
        show(rows_of(found))
    else:
        say_nothing_found(app, task)


def _show_one(app: Worklist, id: JobId, as_json: bool) -> None:
    record = app.load((id,))[0]
    if record is None:
        raise JobUnknown(f"job {id} is not known: never enqueued here, or its record is no longer kept")
    if as_json:
        show_json(as_data(record, app.environment.codec))
        return
    for part in details(record, app.environment.codec):
        show(part)


def say_nothing_found(app: Worklist, task: str | None) -> None:
    """Say on stderr that no job fits, and whether the task's name may be misspelt."""
    near = did_you_mean(task, app.tasks) if task and task not in app.tasks else ""
    click.echo(f"no such jobs{near}", err=True)


@click.command()
@with_app
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--state", callback=_state_among(sorted(FINISHED)), metavar="STATE", help="All jobs in this state instead."
)
@_task
@_queue
@_json
def retry(
    app: Worklist, ids: tuple[JobId, ...], state: JobState | None, task: str | None, queue: str | None, as_json: bool
) -> None:
    """Queue finished jobs again: those named, or all in a state.

    They have all their attempts again.
    """
    if bool(ids) == (state is not None):
        raise click.UsageError("name the jobs, or say --state failed for all of them; expected one of the two")
    if state is None:
        if task or queue:
            raise click.UsageError("--task and --queue choose among the jobs of a --state; they do not go with IDs")
        _change_named(app, ids, "retry", as_json)
        return
    if queue is not None:
        check_known(app, queue)
    wanted = Filter(state=state, task=task, queue=queue, newest_first=False)
    found = 0
    changed: list[JobId] = []
    for batch in _batches(app, wanted):
        found += len(batch)
        changed += app.change(batch, "retry")
    _report(changed, [], "retry", as_json)
    if found > len(changed) and not as_json:
        click.echo(f"{found - len(changed):,} could not be: their keys are held by other jobs", err=True)


def _batches(app: Worklist, wanted: Filter) -> Iterator[list[JobId]]:
    """Yield the ids of all jobs that fit, each once, though some stay in their state and some come back to it."""
    seen: set[JobId] = set()
    stuck = 0
    while True:
        limit = BATCH + stuck
        ids = [record.id for record in app.inspector.find(msgspec.structs.replace(wanted, limit=limit))]
        fresh = [id for id in ids if id not in seen]
        stuck = len(ids) - len(fresh)
        if fresh:
            seen.update(fresh)
            yield fresh
        elif len(ids) < limit:
            return


@click.command()
@with_app
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_json
def cancel(app: Worklist, ids: tuple[JobId, ...], as_json: bool) -> None:
    """Cancel queued jobs, and ask running ones to stop."""
    _change_named(app, ids, "cancel", as_json)


def _change_named(app: Worklist, ids: Sequence[JobId], change: Change, as_json: bool) -> None:
    ids = tuple(dict.fromkeys(ids))
    before = dict(zip(ids, app.load(ids), strict=True))
    changed = app.change(ids, change)
    refused = [(id, _reason(before[id], change)) for id in ids if id not in changed]
    _report(changed, refused, change, as_json)
    if refused:
        sys.exit(1)


def _reason(record: JobRecord | None, change: Change) -> str:
    """Return why a job could not be changed."""
    if record is None:
        return "is not known: never enqueued here, or its record is no longer kept"
    if change == "retry" and record.state.finished:
        return "has a key that another job holds now"
    return f"is {record.state} already" if change == "retry" else f"has ended already ({record.state})"


def _report(changed: Sequence[JobId], refused: Sequence[tuple[JobId, str]], change: Change, as_json: bool) -> None:
    if as_json:
        show_json({_DONE[change]: changed, "refused": [{"id": id, "reason": reason} for id, reason in refused]})
        return
    if changed or not refused:
        click.echo(f"{_DONE[change]} {count_of(len(changed))}")
    for id, reason in refused:
        say_error(f"job {id} {reason}")


def count_of(number: int) -> str:
    """Return ``1 job``, ``12 jobs``."""
    return f"{number:,} job" + "s" * (number != 1)


_REMOVABLE = tuple(state for state in JobState if state is not JobState.RUNNING)


@click.command()
@with_app
@click.option("--queue", required=True, metavar="NAME", help="Whose jobs to remove.")
@click.option("--state", required=True, callback=_state_among(_REMOVABLE), metavar="STATE", help="Those in this state.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
def purge(app: Worklist, queue: str, state: JobState, yes: bool, as_json: bool) -> None:
    """Remove all jobs of a queue that are in one state, for good."""
    check_known(app, queue)
    number = app.inspector.counts().get(queue, {}).get(state, 0)
    if number and not yes:
        _ask(f"remove {count_of(number)} of {queue} that {'is' if number == 1 else 'are'} {state}?")
    removed = app.inspector.purge(queue, state)
    if as_json:
        show_json({"queue": queue, "state": state, "removed": removed})
    else:
        click.echo(f"removed {count_of(removed)}")


def _ask(question: str) -> None:
    """Ask on the terminal; where there is none, the answer has to be given as --yes."""
    if not _is_answered():
        raise click.UsageError(f"{question} There is nobody to ask; say --yes")
    click.confirm(question, abort=True, err=True)


def _is_answered() -> bool:
    return sys.stdin.isatty()
