"""The beat: puts the job of each schedule when its time has come. Any number may run, on any number of machines.

A beat remembers nothing. What is due stands in the store, and a tick is a compare-and-set there, so a tick gives its
job once whoever makes it, and a beat that dies takes nothing with it. It knows its store as a port, and no task.
"""

import math
import random
import threading
from collections.abc import Sequence

from .cron import latest
from .errors import BrokerError, ConfigError
from .events import BrokerTrouble, EventBus, log
from .job import new_job_id
from .ports import Schedules
from .schedule import Schedule

GRACE = 60.0
"""Seconds: up to this late, every tick gives its job. Later, nobody was there, and the schedule says what then."""
POLL_SECONDS = 1.0
"""For how long a schedule that was made or changed elsewhere may go unseen."""
POLL_SECONDS_WITHOUT = 5.0
"""The same, where there are no schedules at all."""
JITTER_SECONDS = 0.02
"""Beats wake up together; those that do so a little later find the work done, by a look that costs nothing."""
TROUBLE_SECONDS = (0.5, 30.0)
"""First and longest wait between attempts to reach a store that fails."""


class Beat:
    """Puts what is due until it is stopped. `declared` are the schedules of the app's own code."""

    def __init__(self, store: Schedules, events: EventBus, declared: Sequence[Schedule] = ()) -> None:
        self._store = store
        self._events = events
        self._declared = list(declared)
        self._unsaved = True
        self._broken: set[str] = set()
        self._trouble = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Go on until `stop`. Blocks."""
        pause = self.once()
        while not self._stopping.wait(pause):
            pause = self.once()

    def start(self) -> None:
        """Make the first turn here, for what is due to be put before anything else happens; the others in a thread."""
        pause = self.once()
        self._thread = threading.Thread(target=self._run_on, args=(pause,), name="worklist-beat", daemon=True)
        self._thread.start()

    def _run_on(self, pause: float) -> None:
        if not self._stopping.wait(pause):
            self.run()

    def stop(self, now: bool = False) -> None:
        """Make `run` return; `now` makes no difference, since nothing takes long."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait until the thread of `start` has ended, for so many seconds at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def once(self) -> float:
        """Make a turn; return the seconds to the next one. Trouble with the store is told and waited out."""
        try:
            now = self._store.now()
            pause = self.turn(now) - self._store.now()
        except BrokerError as error:
            self._events.emit(BrokerTrouble(str(error), self._after_trouble()))
            return self._trouble
        except Exception:
            log.exception("the beat could not make a turn, and tries again in %g s", self._after_trouble())
            return self._trouble
        self._trouble = 0.0
        return max(0.0, pause) + random.uniform(0.0, JITTER_SECONDS)  # noqa: S311

    def _after_trouble(self) -> float:
        shortest, longest = TROUBLE_SECONDS
        self._trouble = min(longest, max(shortest, 2 * self._trouble))
        return self._trouble

    def turn(self, now: float) -> float:
        """Put what is due at `now`; return the unix time of the next turn. Raises BrokerError where it cannot."""
        schedules = self._store.schedules()
        if self._unsaved:
            self._save_declared(schedules, now)
            self._unsaved = False
            schedules = self._store.schedules()
        poll = POLL_SECONDS if schedules else POLL_SECONDS_WITHOUT
        dues = [schedule.due if schedule.due > now else self._fire(schedule, now) for schedule in schedules]
        return min([now + poll, *dues])

    # -- one tick ---------------------------------------------------------------------------------------------

    def _fire(self, schedule: Schedule, now: float) -> float:
        """Put the jobs of a schedule that is due, unless another beat has; return when it is due next."""
        try:
            ticks = ticks_to_put(schedule, now)
            due = schedule.timetable.next_after(now)
        except ConfigError as error:  # such as a time zone that this machine does not know; another one may
            if schedule.name not in self._broken:
                log.error("the schedule %r cannot fire here: %s", schedule.name, error)
            self._broken.add(schedule.name)
            return math.inf
        jobs = [schedule.job_of(tick, new_job_id(), now) for tick in ticks]
        ids = self._store.tick(schedule, due, ticks[-1] if ticks else schedule.last, jobs)
        for job, id in zip(jobs, ids or (), strict=False):
            if job.id != id:
                log.info("schedule %r: a tick put nothing, since job %s has not finished", schedule.name, id)
        return due

    # -- what the app declares ----------------------------------------------------------------------------------

    def _save_declared(self, stored: Sequence[Schedule], now: float) -> None:
        """Store the schedules of the code where they differ; those that were changed at run time stay as they are."""
        there = {schedule.name: schedule for schedule in stored}
        for schedule in self._declared:
            seen = there.get(schedule.name)
            wanted = schedule.started(now) if seen is None else schedule.taking_over(seen, now)
            if seen is None or (seen.declared and wanted != seen):
                self._store.save_schedule(wanted, seen)  # where another beat was faster, it has saved the same
        names = {schedule.name for schedule in self._declared}
        for name in sorted(name for name, schedule in there.items() if schedule.declared and name not in names):
            log.warning(
                "the schedule %r was declared by an app and is not by this one; it goes on until somebody deletes it "
                "with: worklist schedules delete %s",
                name,
                name,
            )


def ticks_to_put(schedule: Schedule, now: float) -> list[float]:
    """Return the fire times, from when it is due to `now`, that give a job (pure).

    All of them, where the first is not later than GRACE; else what the schedule says of missed ones.
    """
    if now - schedule.due <= GRACE:
        return latest(schedule.timetable, schedule.due, now, int(GRACE) + 1)
    most = {"skip": 0, "once": 1, "all": schedule.most}[schedule.missed]
    return latest(schedule.timetable, schedule.due, now, most) if most else []
