"""Being the parent of other ``worklist`` processes: which kinds of them there are, and how each is started.

It never imports the app; each of its children is a command of this same program with ``--supervised``.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..core.errors import WorklistError
from ..supervisor import CANNOT_START, Supervisor
from .narrator import Narrator
from .render import say_error


class Crew(NamedTuple):
    """Children of one kind: the command they run with its arguments, and how many; None is one without a number."""

    command: str
    arguments: Sequence[str] = ()
    number: int | None = None

    def places(self) -> list[str]:
        """Return what each of them is called: ``worker 1``, ``worker 2``; ``beat``."""
        return [self.command] if self.number is None else [f"{self.command} {n}" for n in range(1, self.number + 1)]

    def __str__(self) -> str:
        if self.number is None:
            return f"a {self.command}"
        return f"{self.number} {self.command}" + "s" * (self.number != 1)


def supervise(path: str, crews: Sequence[Crew], narrator: Narrator, *, until_empty: bool = False) -> int:
    """Run all of these for the app at `path` until they have ended for good; return the exit code."""
    quiet = ["--quiet"] if narrator.quiet else []
    commands = {
        place: [sys.executable, "-m", "worklist", crew.command, path, *crew.arguments, "--supervised", *quiet]
        for crew in crews
        for place in crew.places()
    }
    narrator.news("parent", f"pid {os.getpid()} starts {' and '.join(map(str, crews))} of {path}")
    return Supervisor(commands, narrator.say, hush=["--hush"], until_empty=until_empty).run()


@contextlib.contextmanager
def told_to_parent(supervised: bool, hush: bool) -> Iterator[None]:
    """In a child: end with `CANNOT_START` where something keeps it from serving, which it says unless to be `hush`."""
    try:
        yield
    except WorklistError as error:
        if not supervised:
            raise
        if not hush:
            say_error(str(error))
        sys.exit(CANNOT_START)
