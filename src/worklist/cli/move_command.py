"""`worklist move`: carry what is still to do from one place to another."""

import click

from ..adapters import BrokerUrl
from ..app import Worklist
from ..core.errors import ConfigError, WorklistError
from ..core.moving import Moved, move
from .job_commands import count_of
from .program import EXIT_FAILED


@click.command("move")
@click.option("--from", "source", required=True, metavar="URL", help="Where the jobs are.")
@click.option("--to", "target", required=True, metavar="URL", help="Where they are to be.")
def move_command(source: str, target: str) -> int:
    """Carry queued jobs, schedules and lanes from one broker to another.

    The queues of the old place are paused first. It may be interrupted, and run again. Exit code 1 where something
    had to stay.
    """
    with Worklist(source) as old, Worklist(target) as new:
        _refuse(old.place, new.place)
        moved = move(old.store, new.store, old.environment.codec, _tell)
        for line in _in_words(moved, old.place, new.place):
            click.echo(line)
    return EXIT_FAILED if moved.left.total() else 0


def _tell(moved: Moved) -> None:
    click.echo(f"{count_of(moved.jobs)} so far", err=True)


def _refuse(source: BrokerUrl, target: BrokerUrl) -> None:
    for place in (source, target):
        if not place.capabilities.durable:
            raise ConfigError(f"the jobs of {place.shown} live in the process that puts them, where no other sees them")
    if source.url == target.url:
        raise ConfigError(f"--from and --to are both {source.shown}; expected two places")
    if source.file is not None and not source.file.exists():
        raise WorklistError(f"there is no file {source.file} here, so there is nothing to move")
    if not (source.capabilities.inspect and source.capabilities.complete):
        raise ConfigError(f"not all jobs of {source.shown} can be listed; let its workers end them")


def _in_words(moved: Moved, source: BrokerUrl, target: BrokerUrl) -> list[str]:
    what = f"{count_of(moved.jobs)}, {moved.schedules:,} schedules and {moved.lanes:,} lanes"
    lines = [f"moved {what} from {source.shown} to {target.shown}"]
    if moved.joined:
        lines.append(f"{count_of(moved.joined)} had a key that another job holds there")
    for reason, number in moved.left.items():
        if number:
            lines.append(f"{number:,} stayed: {reason}")
    if moved.left.total():
        lines.append(
            f"the queues of {source.shown} are paused: let `worklist resume QUEUE --url ...` and a worker end what "
            "stayed, then move again"
        )
    return lines
