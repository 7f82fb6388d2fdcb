"""When a schedule fires: cron lines in a time zone, and intervals, as functions of the time alone (pure).

cronsim parses a line and walks it along a clock on the wall that is never put forward or back. What becomes of the
hour that a zone leaves out, or has twice, is decided here. It knows no job and no clock of its own.
"""

import datetime as dt
import functools
import math
import re
import zoneinfo
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from cronsim import CronSim, CronSimError

from .errors import ConfigError, did_you_mean
from .units import Duration, seconds

DAY = 86400.0
SHORTEST, LONGEST = 1.0, 3652.0 * DAY
"""Seconds: the intervals that may be asked for."""
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of month": "1 to 31, L for the last or LW for the last weekday",
    "month": "1 to 12 or jan to dec",
    "day of week": "0 to 7 or sun to sat (0 and 7 are Sunday), fri#2 for the second one, 5L for the last",
}
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the origin of clocks on walls
_EXAMPLES = "an interval such as '30s' or '1h', or a cron line such as '*/5 9-17 * * mon-fri' or '@daily'"


class Timetable(Protocol):
    """Fire times, as unix seconds."""

    @property
    def text(self) -> str:
        """It, as it is written."""

    @property
    def tz(self) -> str:
        """The name of the time zone that its hours are in."""

    def next_after(self, moment: float) -> float:
        """Return the first fire time after `moment`."""


class Interval:
    """Every so many seconds, counted from the beginning of unix time: whoever asks gets the same fire times."""

    tz = "UTC"

    def __init__(self, text: str, step: float) -> None:
        self.text = text
        self._step = round(step * 1000)  # whole milliseconds, for no rounding error to grow

    def next_after(self, moment: float) -> float:
        """Return the first multiple of the interval after `moment`. Constant time."""
        count = int(moment * 1000) // self._step + 1
        while count * self._step / 1000 <= moment:
            count += 1
        return count * self._step / 1000


class CronLine:
    """A cron line in a time zone.

    A line that names its times, "30 2 * * *", fires once for each of them on each of its days: a time that the zone
    leaves out, when the missing hour is over; one that it has twice, the first time. A line with a ``*`` at the
    beginning of its hours, minutes or seconds, "*/15 * * * *", follows the clock: not at all in a missing hour, in
    both of a doubled one. So is Debian's cron; see its man page, cron(8).
    """

    def __init__(self, text: str, tz: str = "UTC") -> None:
        self.text = text
        self.tz = tz
        self._zone = zone_of(tz)
        self._line = NICKNAMES.get(text, text)
        *times, _day, _month, _weekday = self._line.split()
        self._follows_the_clock = any(field.startswith("*") for field in times)

    def next_after(self, moment: float) -> float:
        """Return the first fire time after `moment`. Raises ConfigError where there is none within 50 years.

        Takes some tens of microseconds; more where the next one is months away, since each day between is looked at
        for a change of the clocks.
        """
        if self._follows_the_clock:
            return self._next_by_the_clock(moment)
        wall = moment + self._offset(moment)
        return next(at for at in map(self._instant, self._walls_after(wall)) if at > moment)

    def _walls_after(self, wall: float) -> Iterator[float]:
        """Yield fire times as a clock on the wall shows them: seconds since 1970 by that clock."""
        for shown in CronSim(self._line, _EPOCH + dt.timedelta(seconds=math.floor(wall))):
            yield (shown - _EPOCH).total_seconds()
        raise ConfigError(f"the cron line {self.text!r} never fires")

    def _instant(self, wall: float) -> float:
        """Return the first moment at which the wall shows this time; where it never does, when it shows a later one."""
        shown = (_EPOCH + dt.timedelta(seconds=wall)).replace(tzinfo=self._zone)
        at = shown.timestamp()
        if at + self._offset(at) == wall:
            return at
        return self._change_between(shown.replace(fold=1).timestamp(), at)

    def _next_by_the_clock(self, moment: float) -> float:
        """Walk from one change of the clocks to the next: between them, wall and time run side by side."""
        start, offset = moment, self._offset(moment)
        while True:
            at = next(self._walls_after(start + offset)) - offset
            change = self._first_change(start, at, offset)
            if change is None:
                return at
            start, offset = change - 1, self._offset(change)

    def _first_change(self, start: float, end: float, offset: float) -> float | None:
        """Return the first moment after `start`, `end` at most, from which the zone has another offset."""
        while start < end:
            stop = min(end, start + DAY)
            if self._offset(stop) != offset:
                return self._change_between(start, stop)
            start = stop
        return None

    def _change_between(self, before: float, after: float) -> float:
        """Return the second at which the offset of `after` begins; `before` has another one."""
        low, high = math.floor(before), math.ceil(after)
        new = self._offset(high)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == new:
                high = middle
            else:
                low = middle
        return float(high)

    def _offset(self, moment: float) -> float:
        shift = dt.datetime.fromtimestamp(math.floor(moment), self._zone).utcoffset()
        return shift.total_seconds() if shift is not None else 0.0


@functools.lru_cache(maxsize=1024)
def timetable(every: str, tz: str = "UTC") -> Timetable:
    """Return the timetable that a text means. Raises ConfigError where it means none."""
    fields = every.split()
    if every.startswith("@") or len(fields) in (5, 6):
        return _cron(every, tz)
    if len(fields) == 1 or re.search("[a-z]", every):
        return _interval(every, tz)
    raise ConfigError(
        f"the cron line {every!r} has {len(fields)} fields; expected 5 (minute, hour, day of month, month, day of "
        "week), or 6 with the second before them"
    )


def as_text(every: Duration) -> str:
    """Return the one way to write a timetable. Raises ConfigError for what cannot be one."""
    if isinstance(every, str):
        return " ".join(every.lower().split())
    step = seconds(every, "every")
    return f"{int(step)}s" if step < LONGEST and step == int(step) else f"{step!r}s"


def latest(times: Timetable, first: float, until: float, most: int) -> list[float]:
    """Return the last fire times from `first`, itself one, to `until`, `most` at most.

    Looks back twice as far each time until there are enough, so the cost does not grow with how long it was.
    """
    back = 2.0
    while True:
        start = until - back
        found: deque[float] = deque([first] if start < first else [], maxlen=most)
        at = times.next_after(max(first, start))
        while at <= until:
            found.append(at)
            at = times.next_after(at)
        if len(found) == most or start < first:
            return list(found)
        back *= 2


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone by its name in the IANA database. Raises ConfigError where there is none of that name."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        known = zoneinfo.available_timezones()
        if not known:
            raise ConfigError("this machine has no time zones; install the package tzdata") from None
        raise ConfigError(
            f"there is no time zone {name!r}{did_you_mean(str(name), known)}; expected a name such as Asia/Shanghai"
        ) from None


def _interval(text: str, tz: str) -> Interval:
    try:
        step = seconds(text, "every")
    except ConfigError:
        raise ConfigError(f"every is {text!r}; expected {_EXAMPLES}") from None
    if not SHORTEST <= step <= LONGEST:
        raise ConfigError(f"every is {text!r}; expected an interval from a second to ten years")
    if tz != "UTC":
        raise ConfigError(
            f"an interval such as {text!r} has no time zone; for an hour of the day in {tz}, use a cron line"
        )
    return Interval(text, step)


def _cron(text: str, tz: str) -> CronLine:
    if text.startswith("@") and text not in NICKNAMES:
        known = ", ".join(sorted(NICKNAMES))
        raise ConfigError(f"every is {text!r}{did_you_mean(text, NICKNAMES)}; of those with @, known are {known}")
    line = NICKNAMES.get(text, text)
    _check_fields(text, line.split())
    made = CronLine(text, tz)
    made.next_after(0.0)  # raises where it never fires
    return made


def _check_fields(text: str, fields: list[str]) -> None:
    """Raise ConfigError that names the field which is wrong, by having each parsed among stars."""
    for index, (name, expected) in enumerate(list(_FIELDS.items())[-len(fields) :]):
        alone = ["*"] * len(fields)
        alone[index] = fields[index]
        if not _parses(" ".join(alone)):
            raise ConfigError(
                f"the cron line {text!r} has {fields[index]!r} as its {name}; expected {expected}, or a list, a range "
                "or a step of them, such as 1,15 or 1-5 or */10"
            )
    if not _parses(" ".join(fields)):
        raise ConfigError(f"the cron line {text!r} never fires: none of its months has that day")


def _parses(line: str) -> bool:
    try:
        CronSim(line, _EPOCH)
    except (CronSimError, ValueError, AssertionError):
        return False
    return True
