"""A schedule: which task is put when, as a broker stores it (pure data).

When it fires is told by cron.py; who puts the jobs is beat.py.
"""

from typing import Literal

import msgspec

Missed = Literal["skip", "once", "all"]
"""What becomes of fire times that passed while no beat ran: nothing, one job for all of them, or one for each."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When to put which job. A tick, one fire time, gives exactly one job, however many beats there are."""

    name: str
    task: str
    every: str
    """A cron line, or an interval as a duration."""
    tz: str = "UTC"
    args: bytes = b"\x80"
    """The arguments by name, as a msgpack map."""
    queue: str = "default"
    priority: int = 0
    missed: Missed = "once"
    most: int = 100
    """How many missed fire times give a job at most, the latest ones."""
    overlap: bool = False
    """Whether a tick may give a job while the one before has not finished."""
    declared: bool = False
    """By the code of an app, not at run time."""
    paused: bool = False
    due: float = 0.0
    """Unix time of the next tick."""
    last: float | None = None
    """Unix time of the last tick that gave a job."""
