"""Durations and sizes as people write them."""

import contextlib
import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist import ConfigError
from worklist.core.units import seconds, size, spell


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (30, 30.0),
        (0.25, 0.25),
        ("30", 30.0),
        ("0.5", 0.5),
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("7D", 604800.0),
        ("2w", 1209600.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        (timedelta(minutes=2), 120.0),
    ],
)
def test_a_duration_is_seconds_however_it_is_written(written, meant):
    assert seconds(written, "delay") == pytest.approx(meant)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "5x",
        "1h5",
        "-5s",
        "5 s m",
        -1,
        -0.001,
        "nan",
        math.nan,
        timedelta(seconds=-1),
        None,
        True,
        [5],
        b"5s",
    ],
)
def test_what_is_no_duration_is_refused_by_name(written):
    with pytest.raises(ConfigError, match="the delay"):
        seconds(written, "the delay")


@given(st.integers(min_value=2**1025))
def test_a_duration_beyond_all_numbers_is_refused(written):
    with pytest.raises(ConfigError, match="too large"):
        seconds(written, "delay")


@given(days=st.integers(0, 999), hours=st.integers(0, 23), minutes=st.integers(0, 59), ms=st.integers(0, 10**6))
def test_the_parts_of_a_duration_add_up(days, hours, minutes, ms):
    meant = timedelta(days=days, hours=hours, minutes=minutes, milliseconds=ms)
    assert seconds(f"{days}d{hours}h{minutes}m{ms}ms", "delay") == pytest.approx(meant.total_seconds())


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert seconds(text, "delay") >= 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1, 1),
        ("4096", 4096),
        ("64KB", 65536),
        ("64 kb", 65536),
        ("1MB", 1 << 20),
        ("2g", 2 << 30),
        ("1.5k", 1536),
        ("9B", 9),
    ],
)
def test_a_size_is_bytes_however_it_is_written(written, meant):
    assert size(written, "max_payload") == meant


@pytest.mark.parametrize("written", [0, -1, "", "many", "1TBs", True, 1.5, None])
def test_what_is_no_size_is_refused_by_name(written):
    with pytest.raises(ConfigError, match="max_payload"):
        size(written, "max_payload")


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0.4, "0.4 s"), (12, "12 s"), (200, "3m20s"), (7500, "2h05m"), (604800, "7d"), (59.9, "60 s"), (3600, "1h00m")],
)
def test_seconds_are_said_as_people_say_them(amount, said):
    assert spell(amount) == said
