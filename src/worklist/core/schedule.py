"""A schedule: which job is put when, as a broker stores it (pure data).

When it fires is told by cron.py; who puts the jobs is beat.py.
"""

import datetime as dt
import math
import time
from typing import Literal

import msgspec

from .cron import Timetable, timetable, zone_of
from .job import Job, JobId

Missed = Literal["skip", "once", "all"]
"""What becomes of fire times that passed while no beat ran: nothing, one job for all of them, or one for each."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When to put which job. A tick, one fire time, gives exactly one job, however many beats there are."""

    name: str
    job: Job
    """What is put, but for its id, its key and its time."""
    every: str
    """A cron line, or an interval as a duration."""
    tz: str = "UTC"
    missed: Missed = "once"
    most: int = 100
    """How many missed fire times give a job at most, the latest ones."""
    overlap: bool = False
    """Whether a tick may give a job while the one before has not finished."""
    declared: bool = False
    """By the code of an app, not at run time."""
    paused: bool = False
    due: float = 0.0
    """Unix time of the next tick; infinite while it is paused."""
    last: float | None = None
    """Unix time of the last tick that gave a job."""

    @property
    def task(self) -> str:
        """The name of the task that is put."""
        return self.job.task

    @property
    def timetable(self) -> Timetable:
        """Its fire times. Raises ConfigError where this machine does not know its time zone."""
        return timetable(self.every, self.tz)

    def next_times(self, count: int, after: float | None = None) -> list[dt.datetime]:
        """Return its next fire times after a unix time, by default now, in its time zone; none while it is paused."""
        moment = time.time() if after is None else after
        zone = zone_of(self.tz)
        times = []
        for _ in range(0 if self.paused else count):
            moment = self.timetable.next_after(moment)
            times.append(dt.datetime.fromtimestamp(moment, zone))
        return times

    def started(self, now: float) -> "Schedule":
        """Return it with its next tick after `now`; a paused one has none."""
        return msgspec.structs.replace(self, due=math.inf if self.paused else self.timetable.next_after(now))

    def taking_over(self, stored: "Schedule", now: float) -> "Schedule":
        """Return it in the place of one that is stored: with its history, and its next tick where the times agree."""
        same = (self.every, self.tz) == (stored.every, stored.tz)
        kept = msgspec.structs.replace(self, paused=stored.paused, due=stored.due, last=stored.last)
        return kept if same else kept.started(now)

    def job_of(self, tick: float, id: JobId, now: float) -> Job:
        """Return the job of one fire time. Its key keeps it from meeting the one before, unless it has one already."""
        key = self.job.key or (None if self.overlap else f"schedule:{self.name}")
        return msgspec.structs.replace(self.job, id=id, eta=tick, key=key, created=now)
