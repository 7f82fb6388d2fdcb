"""The command ``worklist beat``: a beat without a worker, for where no worker carries one."""

import os

import click

from ..app import Worklist, stop_on_signals
from ..core.beat import Beat
from ..supervisor import obey_parent
from .load import load_app, refuse_unusable
from .narrator import Narrator
from .parent import told_to_parent
from .worker_command import chosen_path, show_log


@click.command()
@click.argument("path", required=False, metavar="[MODULE:APP]")
@click.option("--app", "app_path", metavar="MODULE:APP", help="The same, as an option.")
@click.option("--quiet", is_flag=True, help="Say nothing but trouble.")
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--hush", is_flag=True, hidden=True)
def beat(path: str | None, app_path: str | None, quiet: bool, supervised: bool, hush: bool) -> None:
    """Put the jobs of the schedules of an app until stopped.

    Every worker does so too, unless it was started with --no-beat. Any number of beats may run: a tick gives one job.
    """
    path = chosen_path(path, app_path)
    narrator = Narrator(quiet)
    with told_to_parent(supervised, hush):
        app, made = _made(path)
    _serve(app, made, path, narrator, supervised)


def _made(path: str) -> tuple[Worklist, Beat]:
    app = load_app(path)
    refuse_unusable(app)
    return app, app.make_beat()


def _serve(app: Worklist, made: Beat, path: str, narrator: Narrator, supervised: bool) -> None:
    narrator.listen(app)
    show_log(narrator)
    with app, stop_on_signals(made):
        if supervised:
            obey_parent(made.stop)
        number = len(app.schedules)
        schedules = f"{number} schedule" + "s" * (number != 1)
        narrator.news("beat", f"pid {os.getpid()} puts {schedules} of {path} on {app.place.shown}")
        made.run()
    narrator.news("ended", f"pid {os.getpid()} puts no more")
