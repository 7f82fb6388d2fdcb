"""The command ``worklist up``: workers and a beat as one tree of processes, which is all that one machine needs."""

import sys
from collections.abc import Callable
from typing import Any

import click

from .narrator import Narrator
from .parent import Crew, supervise
from .worker_command import COUNT, as_arguments, chosen_path, serving_options

_TREE = (
    click.option("--workers", type=COUNT, default=1, show_default=True, help="Processes that run jobs."),
    click.option("--no-beat", is_flag=True, help="Start no beat, so that no schedule puts jobs from here."),
)


def tree_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what the tree consists of."""
    for option in reversed(_TREE):
        command = option(command)
    return serving_options(command)


@click.command()
@tree_options
def up(path: str | None, app_path: str | None, workers: int, no_beat: bool, quiet: bool, **options: Any) -> None:
    """Run workers and a beat of an app until stopped, and restart what dies.

    SIGTERM or Ctrl-C stops them gently: running jobs have the --grace time to end. A second one stops them now, a
    third one kills them.
    """
    crews = [Crew("worker", [*as_arguments(options), "--no-beat"], workers)]
    if not no_beat:
        crews.append(Crew("beat"))
    sys.exit(supervise(chosen_path(path, app_path), crews, Narrator(quiet)))
