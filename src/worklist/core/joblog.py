"""What a running job logs: its last lines, and the hook by which Python's logging hands them over.

The hook is there while a worker of this process runs, whatever their number, and asks one question of each record:
which job, if any, made it. It knows no broker and no worker, and changes no logger, handler or level.
"""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .errors import ConfigError, JobAborted, TimeLimitExceeded, did_you_mean
from .outcome import storable

MAX_LINES = 200
"""How many lines of a job are kept, the last ones."""
MAX_LINE = 2_000
"""Characters of a line that are kept, from its beginning."""
MAX_TEXT = 64_000
"""Characters that the lines of a job may have together; the oldest lines beyond that are left out."""
LEVELS = {
    "none": None,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def log_level(value: Any, what: str) -> int | None:
    """Return the number of a level by its name, None for ``"none"``. Raises ConfigError for any other value."""
    if isinstance(value, str) and value.lower() in LEVELS:
        return LEVELS[value.lower()]
    near = did_you_mean(value.lower(), LEVELS) if isinstance(value, str) else ""
    raise ConfigError(f"{what} is {value!r}; expected one of {', '.join(LEVELS)}{near}")


class JobLog:
    """The last lines of one attempt. Any thread may write, and any other read meanwhile."""

    __slots__ = ("_lines", "count")

    def __init__(self, lines: Iterable[str] = (), count: int = 0) -> None:
        self._lines = deque(lines, maxlen=MAX_LINES)  # one that drops its oldest by itself needs no lock
        self.count = count
        """Changes with each entry."""

    def write(self, text: str) -> None:
        """Add an entry: a line, or several, such as a traceback."""
        for line in text.splitlines()[-MAX_LINES:]:
            self._lines.append(storable(line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"))
        self.count += 1

    def lines(self) -> tuple[str, ...]:
        """Return the lines that are kept, oldest first."""
        lines = tuple(self._lines)
        first, room = len(lines), MAX_TEXT
        while first and len(lines[first - 1]) <= room:
            first -= 1
            room -= len(lines[first])
        return lines[first:]

    def copy(self) -> "JobLog":
        """Return one that nobody writes to, to send elsewhere."""
        count = self.count
        return JobLog(self.lines(), count)


def said(text: str, at: float | None = None) -> str:
    """Return an entry: the time (UTC; now where `at` is None), then the text."""
    at = time.time() if at is None else at
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z {text}"


def entry_of(record: logging.LogRecord) -> str:
    """Return a record as an entry: time, level, logger and message, then the traceback where there is one."""
    entry = said(f"{record.levelname} {record.name}: {_message_of(record)}", record.created)
    if record.exc_info and record.exc_info[0] is not None:
        entry += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return f"{entry}\n{record.stack_info}" if record.stack_info else entry


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TimeLimitExceeded, JobAborted):  # raised in this thread from outside, just now
        raise
    except Exception as error:
        return f"{record.msg} (its arguments do not fit: {type(error).__name__})"


class Taker(Protocol):
    """A job that takes the records which its code makes."""

    def take(self, record: logging.LogRecord) -> None:
        """Keep what the record says, or pass it over."""


class _Hook:
    """A factory of log records before another one. Where it could not be taken out again, it only passes on."""

    def __init__(self, make: Callable[..., logging.LogRecord], current: Callable[[], Taker | None]) -> None:
        self.make = make
        self.current: Callable[[], Taker | None] | None = current

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        taker = self.current() if self.current is not None else None
        if taker is not None and isinstance(record.levelno, int):  # logging.makeLogRecord asks for one without a level
            taker.take(record)
        return record


class Capture:
    """Hands each record that is made to the job in whose context that happens. A context manager, nested at will.

    It stands before the factory of log records rather than among the handlers of the root logger. So it sees what
    passes a logger's own level also where that logger does not propagate; ``logging.basicConfig`` still finds a root
    without handlers; and warnings nobody handles still go to stderr.
    """

    def __init__(self, current: Callable[[], Taker | None]) -> None:
        self._current = current
        self._lock = threading.Lock()
        self._users = 0
        self._hook = _Hook(logging.LogRecord, current)

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._hook = _Hook(logging.getLogRecordFactory(), self._current)
                logging.setLogRecordFactory(self._hook)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._hook.current = None
            if logging.getLogRecordFactory() is self._hook:  # else somebody wrapped it, and still calls it
                logging.setLogRecordFactory(self._hook.make)
