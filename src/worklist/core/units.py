"""Durations and sizes as people write them: ``30``, ``"90s"``, ``"1h"``, ``timedelta``, ``"1MB"`` (pure)."""

import math
import re
from datetime import timedelta

from .errors import ConfigError

Duration = float | int | str | timedelta
"""Seconds as a number, a string such as ``"90s"``, ``"5m"``, ``"1h30m"`` or ``"7d"``, or a timedelta."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?b?)", re.ASCII | re.IGNORECASE)


def seconds(value: Duration, what: str) -> float:
    """Return `value` in seconds; `what` names it in the error.

    Raises ConfigError for anything that is no duration, is negative, or is not a number.
    """
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, str):
        number = _parse(value, what)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise ConfigError(f"{what} is too large to be a number of seconds") from None
    else:
        raise ConfigError(f"{what} is {value!r}; expected seconds, a timedelta, or a string such as '90s' or '1h30m'")
    if math.isnan(number) or number < 0:
        raise ConfigError(f"{what} is {value!r}; it cannot be negative")
    return number


def _parse(text: str, what: str) -> float:
    compact = text.strip().lower().replace(" ", "")
    parts = _PART.findall(compact)
    if parts and "".join(number + unit for number, unit in parts) == compact:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        return float(compact)
    except ValueError:
        raise ConfigError(f"{what} is {text!r}; expected a duration such as '90s', '5m', '1h30m' or '7d'") from None


_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(.+)", re.ASCII)


def rate(value: float | str, what: str) -> float:
    """Return a number a second from ``10`` or ``"10/s"``, ``"100/m"``, ``"5000/h"``, ``"1/30s"``; `what` names it.

    Raises ConfigError for what is no rate, and for one that never lets anything pass.
    """
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        period = match[2].strip().lower()
        parts = _PART.findall(period if period[:1].isdigit() else f"1{period}")
        whole = "".join(count + unit for count, unit in parts)
        if whole == (period if period[:1].isdigit() else f"1{period}"):
            time = sum(float(count) * _SECONDS[unit] for count, unit in parts)
            number = float(match[1]) / time if time else math.nan
    if math.isnan(number):
        raise ConfigError(
            f"{what} is {value!r}; expected how many in which time, such as '10/s', '100/m', '5000/h' or '1/30s'"
        )
    if not 0 < number < math.inf:
        raise ConfigError(f"{what} is {value!r}; it has to let something pass. To stop a lane, pause it")
    return number


def size(value: int | str, what: str) -> int:
    """Return a number of bytes from ``4096``, ``"64KB"``, ``"1MB"`` or ``"2GB"`` (powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"{what} is {value!r}; expected bytes as a number or a string such as '64KB' or '1MB'")
    unit = match[2].lower()
    return int(float(match[1]) * _BYTES[unit if unit.endswith("b") or not unit else unit + "b"])


def spell(amount: float) -> str:
    """Return seconds as a person would say them: ``0.4 s``, ``12 s``, ``3m20s``, ``2h05m``, ``7d``."""
    if amount < 10:
        return f"{amount:.1f} s"
    if amount < 60:
        return f"{amount:.0f} s"
    minutes, rest = divmod(round(amount), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d"
