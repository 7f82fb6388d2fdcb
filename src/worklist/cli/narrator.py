"""What a worker says while it works: one line for each failure, retry and trouble, none for what goes well.

Written straight to stderr, one call a line, so that lines of several processes never mix.
"""

import re
import sys
import threading
import time

from ..app import Worklist
from ..core.errors import did_you_mean
from ..core.events import (
    BrokerTrouble,
    EventBus,
    JobCancelled,
    JobFailed,
    JobRetried,
    JobSnoozed,
    LeaseLost,
)
from ..core.job import ErrorInfo
from .render import console, one_line, spelt_seconds, visible

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
LONGEST_MESSAGE = 300
SAID_SECONDS = 60.0
"""Trouble of one kind is told once in this time, however often it is tried again."""


class Narrator:
    """Prints lines of the form ``12:03:04 failed  what happened``; a quiet one leaves out jobs and good news."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._coloured = console(stderr=True).color_system is not None
        self._lock = threading.Lock()
        self._unknown: set[str] = set()
        self._troubles: dict[str, float] = {}

    def say(self, label: str, text: str, colour: str = "yellow") -> None:
        """Print one line."""
        stamp, label = time.strftime("%H:%M:%S"), f"{label:<9}"
        if self._coloured:
            stamp, label = f"\x1b[2m{stamp}\x1b[0m", f"\x1b[1;{_CODES[colour]}m{label}\x1b[0m"
        with self._lock:
            sys.stderr.write(f"{stamp} {label} {visible(text)}\n")
            sys.stderr.flush()

    def news(self, label: str, text: str, colour: str = "green") -> None:
        """Print one line that a quiet worker leaves out."""
        if not self.quiet:
            self.say(label, text, colour)

    def listen(self, app: Worklist) -> None:
        """Tell what happens in this app's worker."""
        events: EventBus = app.events
        events.on(BrokerTrouble, self._trouble)
        events.on(LeaseLost, self._lease_lost)
        events.on(JobSnoozed, lambda event: self._snoozed(event, app))
        events.on(JobFailed, self._failed)  # the worker logs failures that nobody listens to
        if not self.quiet:
            events.on(JobRetried, self._retried)
            events.on(JobCancelled, self._cancelled)

    def _failed(self, event: JobFailed) -> None:
        self.news("failed", f"{_about(event)}: {describe(event.error)}", "red")

    def _retried(self, event: JobRetried) -> None:
        again = f"again in {spelt_seconds(event.delay)}" if event.delay >= 0.05 else "again at once"
        what = describe(event.error) if event.error else "asked for it"
        self.say("retry", f"{_about(event)}, {again}: {what}", "yellow")

    def _cancelled(self, event: JobCancelled) -> None:
        self.say("cancelled", f"{_about(event)}: {event.reason}", "yellow")

    def _lease_lost(self, event: LeaseLost) -> None:
        self.say("lost", f"{_about(event)}: its lease had lapsed, and another worker may run it now", "yellow")

    def _trouble(self, event: BrokerTrouble) -> None:
        now = time.monotonic()
        self._troubles = {error: told for error, told in self._troubles.items() if now - told < SAID_SECONDS}
        if event.error not in self._troubles:
            self._troubles[event.error] = now
            self.say("trouble", f"{event.error}; trying again until it goes well", "red")

    def _snoozed(self, event: JobSnoozed, app: Worklist) -> None:
        """Say, once for each name, that jobs of a task which nobody registered are waiting."""
        if event.task in app.tasks or event.task in self._unknown:
            return
        self._unknown.add(event.task)
        near = did_you_mean(event.task, app.tasks)
        self.say("unknown", f"no task named {event.task!r} is registered here{near}; its jobs are handed back", "red")


def _about(event: JobFailed | JobRetried | JobCancelled | LeaseLost) -> str:
    return f"{event.task} {event.id}, attempt {event.attempt} after {spelt_seconds(event.seconds)}"


def describe(error: ErrorInfo) -> str:
    """Return an error in one line: its type, its message, and the line of code that raised it."""
    places = _PLACE.findall(error.traceback)
    where = f" ({places[-1][0].replace(chr(92), '/').rsplit('/', 1)[-1]}:{places[-1][1]})" if places else ""
    message = one_line(error.message, LONGEST_MESSAGE)
    return f"{error.type}: {message}{where}" if message else f"{error.type}{where}"
