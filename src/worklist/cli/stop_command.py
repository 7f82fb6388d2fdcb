"""The command ``worklist stop``: ends the worker in a process of its own. Finds and describes it for others."""

import time
from pathlib import Path

import click

from ..app import Worklist
from ..core.errors import ConfigError, WorklistError
from ..core.units import seconds
from ..detached import WorkerProcess, find
from .load import opened
from .render import ago, spelt_seconds


def own_worker(app: Worklist) -> WorkerProcess | None:
    """Return the worker in a process of its own that serves the app's file, None where none does."""
    file = app.place.file
    return None if file is None else find(file)


def in_words(worker: WorkerProcess) -> str:
    """Return what there is to know of it, in one line."""
    began = f"began {ago(worker.since)}"
    return f"detached worker: pid {worker.pid} of {worker.app}, {began}, prints to {shown(worker.log)}"


def shown(file: Path) -> str:
    """Return a path as seen from here, where it is here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


@click.command()
@click.argument("path", required=False, metavar="[MODULE:APP]")
@click.option("--app", "app_path", metavar="MODULE:APP", help="The same, as an option.")
@click.option("--url", metavar="URL", help="Where the jobs are, without the app.")
@click.option("--grace", metavar="TIME", default="30s", show_default=True, help="How long to wait for its end.")
@click.option("--now", is_flag=True, help="Hand running jobs back at once.")
def stop(path: str | None, app_path: str | None, url: str | None, grace: str, now: bool) -> None:
    """Stop the worker that --detach or app.start_worker() started, and wait for its end.

    Running jobs have the time to end that the worker was started with (its --grace); then they are handed back.
    """
    if path is not None and app_path is not None and path != app_path:
        raise click.UsageError(f"two apps were named, {path} and {app_path}; expected one")
    try:
        patience = seconds(grace, "--grace")
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    with opened(path or app_path, url) as app:
        _stop(app, patience, now)


def _stop(app: Worklist, patience: float, now: bool) -> None:
    place = app.place.shown
    worker = own_worker(app)
    if worker is None:
        click.echo(f"no detached worker runs on {place}")
        return
    begun = time.monotonic()
    worker.stop(now)
    if not worker.wait(patience):
        hint = f"`kill -9 {worker.pid}` leaves them to be run again" if now else "--now hands them back at once"
        raise WorklistError(
            f"the worker on {place} (pid {worker.pid}) takes no more jobs, and after {spelt_seconds(patience)} some "
            f"still run; wait longer with --grace, or {hint}"
        )
    click.echo(f"pid {worker.pid} on {place} ended after {spelt_seconds(time.monotonic() - begun)}")
