"""Commands about queues: how full they are and who serves them, and letting them rest."""

from typing import Any

import click

from ..app import Worklist
from ..core.errors import WorklistError, did_you_mean
from ..core.job import JobState
from ..core.ports import WorkerInfo
from ..detached import WorkerProcess
from .load import with_app
from .render import STATE_STYLES, Cell, Column, ago, show, show_json, spelt_seconds, table
from .stop_command import in_words, own_worker

_ALWAYS = (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED)
"""States that have a column also where no job is in them."""
Counts = dict[str, dict[JobState, int]]


@click.command()
@with_app
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(app: Worklist, as_json: bool) -> None:
    """Show the queues, their jobs by state, and the workers."""
    counts, workers, paused = app.inspector.counts(), app.inspector.workers(), set(app.inspector.paused())
    detached = own_worker(app)
    for queue in (*app.queues, *sorted(paused)):
        counts.setdefault(queue, {})
    if as_json:
        show_json(_as_data(app, counts, workers, paused) | {"detached": _about(detached)})
        return
    show(app.place.shown + "\n")
    show(_queue_table(counts, paused))
    show("" if workers else "\nno worker is running")
    if workers:
        show(_worker_table(workers))
    if detached:
        show(f"\n{in_words(detached)}")


def _as_data(app: Worklist, counts: Counts, workers: list[WorkerInfo], paused: set[str]) -> dict[str, Any]:
    queues = [
        {"name": queue, "paused": queue in paused, "jobs": {str(state): of.get(state, 0) for state in JobState}}
        for queue, of in sorted(counts.items())
    ]
    return {"url": app.place.shown, "queues": queues, "workers": workers}


def _about(worker: WorkerProcess | None) -> dict[str, Any] | None:
    if worker is None:
        return None
    return {"pid": worker.pid, "app": worker.app, "since": worker.since, "log": str(worker.log)}


def _queue_table(counts: Counts, paused: set[str]) -> Any:
    states = [state for state in JobState if state in _ALWAYS or any(of.get(state) for of in counts.values())]
    columns = [Column("queue"), *(Column(str(state), right=True) for state in states)]
    rows: list[list[Cell]] = []
    for queue, of in sorted(counts.items()):
        name: Cell = (f"{queue} (paused)", "yellow") if queue in paused else queue
        rows.append([name, *(_count(state, of.get(state, 0)) for state in states)])
    return table(columns, rows)


def _count(state: JobState, number: int) -> Cell:
    return f"{number:,}", STATE_STYLES[state] if number else "dim"


def _worker_table(workers: list[WorkerInfo]) -> Any:
    columns = [
        Column("worker"),
        Column("pid", right=True),
        Column("queues"),
        Column("running", right=True),
        Column("slots", right=True),
        Column("processed", right=True),
        Column("jobs/s", right=True),
        Column("up", right=True),
        Column("seen", right=True),
    ]
    rows = [
        (
            worker.host,
            str(worker.pid),
            ", ".join(worker.queues),
            f"{worker.running:,}",
            f"{worker.slots:,}",
            f"{worker.processed:,}",
            f"{worker.rate:,.1f}",
            spelt_seconds(max(0.0, worker.seen - worker.started)),
            ago(worker.seen),
        )
        for worker in workers
    ]
    return table(columns, rows)


@click.command()
@with_app
@click.argument("queue")
def pause(app: Worklist, queue: str) -> None:
    """Let no job of QUEUE be started; those that run go on."""
    check_known(app, queue)
    app.inspector.pause(queue, True)
    click.echo(f"{queue} is paused; worklist resume {queue} lets it go on")


@click.command()
@with_app
@click.argument("queue")
def resume(app: Worklist, queue: str) -> None:
    """Let the jobs of QUEUE be started again."""
    check_known(app, queue)
    app.inspector.pause(queue, False)
    click.echo(f"{queue} is served again")


def check_known(app: Worklist, queue: str) -> None:
    """Raise WorklistError for a queue that no task declares, that holds no job and that no worker serves."""
    served = (queue for worker in app.inspector.workers() for queue in worker.queues)
    known = sorted({*app.queues, *app.inspector.counts(), *app.inspector.paused(), *served})
    if queue not in known:
        listed = f"known are {', '.join(known)}" if known else "there are none yet"
        raise WorklistError(f"no queue {queue!r}{did_you_mean(queue, known)}; {listed}")
