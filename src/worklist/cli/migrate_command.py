"""`worklist migrate`: make or bring up to date the tables of a server, ahead of the workers that would do it."""

from typing import Any

import click

from ..app import Worklist
from .load import with_app
from .program import EXIT_FAILED


@click.command()
@with_app
@click.option("--check", is_flag=True, help="Only tell whether there is anything to do: exit code 1 if so.")
def migrate(app: Worklist, check: bool) -> int:
    """Bring the tables of the jobs up to date.

    Workers do so by themselves when they begin; this is for those whose workers may not make tables.
    """
    store: Any = app.store
    if not hasattr(store, "migrate"):
        click.echo(f"{app.place.shown} is up to date: it is brought so whenever it is opened")
        return 0
    found, wanted = store.versions()
    if found >= wanted:
        store.now()  # refuses what is newer
        click.echo(f"{app.place.shown} is up to date: version {found}")
        return 0
    if check:
        click.echo(f"{app.place.shown} has {_version(found)}, and version {wanted} is to come")
        return EXIT_FAILED
    store.migrate()
    click.echo(f"{app.place.shown} had {_version(found)}, and has version {wanted} now")
    return 0


def _version(number: int) -> str:
    return f"version {number}" if number else "no tables"
