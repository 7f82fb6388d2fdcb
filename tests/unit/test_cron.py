"""Cron lines and intervals: fire times, across changes of the clocks, and errors that name what is wrong."""

import datetime as dt
import zoneinfo
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worklist import ConfigError
from worklist.core.cron import DAY, NICKNAMES, as_text, latest, timetable, zone_of

T0 = 1_700_000_000.0


def unix(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold).timestamp()


def fire_times(every: str, zone: str, start: str, count: int) -> list[str]:
    """Return the next fire times after a local time, as local times with their offsets."""
    times, moment, found = timetable(every, zone), unix(start, zone), []
    for _ in range(count):
        moment = times.next_after(moment)
        found.append(f"{dt.datetime.fromtimestamp(moment, zone_of(zone)):%d %H:%M:%S%z}")
    return found


# -- plain lines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("* * * * *", "2024-03-01 12:00:00", "2024-03-01 12:01:00"),
        ("*/15 9-17 * * mon-fri", "2024-03-01 17:45:00", "2024-03-04 09:00:00"),
        ("30 */10 * * * *", "2024-03-01 12:00:00", "2024-03-01 12:00:30"),
        ("* * * * * *", "2024-03-01 12:00:00", "2024-03-01 12:00:01"),
        ("0 0 29 2 *", "2024-03-01 00:00:00", "2028-02-29 00:00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"),
        ("0 12 1 jan,jul *", "2024-03-01 00:00:00", "2024-07-01 12:00:00"),
        ("0 12 * * sun", "2024-03-01 00:00:00", "2024-03-03 12:00:00"),
        ("0 12 * * 7", "2024-03-01 00:00:00", "2024-03-03 12:00:00"),
        ("0 12 L * *", "2024-02-01 00:00:00", "2024-02-29 12:00:00"),
        ("0 12 13 * fri", "2024-03-01 13:00:00", "2024-03-08 12:00:00"),
        ("@hourly", "2024-03-01 12:00:00", "2024-03-01 13:00:00"),
        ("@daily", "2024-03-01 12:00:00", "2024-03-02 00:00:00"),
        ("@midnight", "2024-03-01 12:00:00", "2024-03-02 00:00:00"),
        ("@weekly", "2024-03-01 12:00:00", "2024-03-03 00:00:00"),
        ("@monthly", "2024-03-01 12:00:00", "2024-04-01 00:00:00"),
        ("@yearly", "2024-03-01 12:00:00", "2025-01-01 00:00:00"),
    ],
)
def test_lines(line: str, after: str, expected: str) -> None:
    assert timetable(as_text(line)).next_after(unix(after)) == unix(expected)


def test_a_fraction_of_a_second_does_not_hide_a_fire_time() -> None:
    assert timetable("* * * * * *").next_after(T0 - 0.001) == T0
    assert timetable("* * * * * *").next_after(T0) == T0 + 1


def test_shanghai_has_no_summer() -> None:
    assert fire_times("0 2 * * *", "Asia/Shanghai", "2024-03-30 12:00", 3) == [
        "31 02:00:00+0800",
        "01 02:00:00+0800",
        "02 02:00:00+0800",
    ]
    assert timetable("0 2 * * *", "Asia/Shanghai").next_after(unix("2024-03-30 12:00")) == unix("2024-03-30 18:00")


# -- clocks put forward -------------------------------------------------------------------------------------------


def test_a_named_time_in_the_missing_hour_fires_when_it_is_over() -> None:
    assert fire_times("30 2 * * *", "Europe/Berlin", "2024-03-30 00:00", 3) == [
        "30 02:30:00+0100",
        "31 03:00:00+0200",
        "01 02:30:00+0200",
    ]
    assert fire_times("30 2 * * *", "America/New_York", "2024-03-09 12:00", 2) == [
        "10 03:00:00-0400",
        "11 02:30:00-0400",
    ]
    assert fire_times("0 30 2 * * *", "Europe/Berlin", "2024-03-30 12:00", 1) == ["31 03:00:00+0200"]


def test_two_named_times_that_meet_at_the_end_of_the_missing_hour_are_one() -> None:
    assert fire_times("0,30 2,3 * * *", "Europe/Berlin", "2024-03-31 00:00", 3) == [
        "31 03:00:00+0200",
        "31 03:30:00+0200",
        "01 02:00:00+0200",
    ]


def test_what_follows_the_clock_does_not_fire_in_the_missing_hour() -> None:
    assert fire_times("*/30 * * * *", "Europe/Berlin", "2024-03-31 01:00", 3) == [
        "31 01:30:00+0100",
        "31 03:00:00+0200",
        "31 03:30:00+0200",
    ]
    assert fire_times("*/20 2 * * *", "Europe/Berlin", "2024-03-30 02:40", 1) == ["01 02:00:00+0200"]


def test_half_an_hour_that_is_missing() -> None:
    zone = "Australia/Lord_Howe"
    assert fire_times("15 2 * * *", zone, "2024-10-06 00:00", 2) == ["06 02:30:00+1100", "07 02:15:00+1100"]
    assert fire_times("*/15 * * * *", zone, "2024-10-06 01:30", 2) == ["06 01:45:00+1030", "06 02:30:00+1100"]
    assert fire_times("*/15 3 * * *", zone, "2024-10-06 00:00", 1) == ["06 03:00:00+1100"]


def test_a_midnight_that_is_missing() -> None:
    assert fire_times("0 0 * * *", "Africa/Cairo", "2024-04-25 12:00", 2) == ["26 01:00:00+0300", "27 00:00:00+0300"]
    assert fire_times("*/30 0 * * *", "Africa/Cairo", "2024-04-25 12:00", 1) == ["27 00:00:00+0300"]


def test_a_day_that_is_missing() -> None:
    assert fire_times("0 12 * * *", "Pacific/Apia", "2011-12-29 06:00", 3) == [
        "29 12:00:00-1000",
        "31 00:00:00+1400",
        "31 12:00:00+1400",
    ]


# -- clocks put back ----------------------------------------------------------------------------------------------


def test_a_named_time_in_the_doubled_hour_fires_once() -> None:
    assert fire_times("30 2 * * *", "Europe/Berlin", "2024-10-26 12:00", 2) == ["27 02:30:00+0200", "28 02:30:00+0100"]
    assert fire_times("30 1 * * *", "America/New_York", "2024-11-02 12:00", 2) == [
        "03 01:30:00-0400",
        "04 01:30:00-0500",
    ]
    assert fire_times("30 1 * * *", "Europe/London", "2024-10-26 12:00", 2) == ["27 01:30:00+0100", "28 01:30:00+0000"]


@pytest.mark.parametrize("minute", [0, 15, 30, 45, 59])
def test_asked_within_the_second_of_the_doubled_hours_a_named_time_is_not_behind(minute: int) -> None:
    moment = unix(f"2024-10-27 02:{minute:02}", "Europe/Berlin", fold=1)
    assert timetable("45 2 * * *", "Europe/Berlin").next_after(moment) == unix("2024-10-28 02:45", "Europe/Berlin")


def test_what_follows_the_clock_fires_in_both_of_the_doubled_hours() -> None:
    assert fire_times("*/30 * * * *", "Europe/Berlin", "2024-10-27 01:30", 6) == [
        "27 02:00:00+0200",
        "27 02:30:00+0200",
        "27 02:00:00+0100",
        "27 02:30:00+0100",
        "27 03:00:00+0100",
        "27 03:30:00+0100",
    ]
    assert fire_times("0 * * * *", "America/New_York", "2024-11-03 00:30", 3) == [
        "03 01:00:00-0400",
        "03 01:00:00-0500",
        "03 02:00:00-0500",
    ]


def test_half_an_hour_that_is_doubled() -> None:
    zone = "Australia/Lord_Howe"
    assert fire_times("*/15 * * * *", zone, "2024-04-07 01:15", 5) == [
        "07 01:30:00+1100",
        "07 01:45:00+1100",
        "07 01:30:00+1030",
        "07 01:45:00+1030",
        "07 02:00:00+1030",
    ]
    assert fire_times("*/30 3 * * *", zone, "2024-04-07 01:45", 2) == ["07 03:00:00+1030", "07 03:30:00+1030"]


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Asia/Shanghai",
    "Africa/Casablanca",
)
LINES = ("*/20 * * * *", "0 * * * *", "*/7 1-3 * * *", "0 */5 * * *", "*/25 30 * * * *", "*/15 0 * * sun")


def matching_seconds(start: float, end: float, zone: str, fits: Iterable[tuple[int, int]]) -> list[float]:
    fits = set(fits)
    local = ((at, dt.datetime.fromtimestamp(at, zoneinfo.ZoneInfo(zone))) for at in range(int(start) + 1, int(end) + 1))
    return [float(at) for at, shown in local if shown.second == 0 and (shown.hour, shown.minute) in fits]


@pytest.mark.parametrize("zone", ZONES)
def test_what_follows_the_clock_is_what_the_clock_shows(zone: str) -> None:
    """Go through every second around the changes of 2024 and compare."""
    fits = [(hour, minute) for hour in (0, 1, 2, 3) for minute in range(0, 60, 7)]
    for day in ("2024-03-10", "2024-03-31", "2024-04-07", "2024-04-26", "2024-10-06", "2024-10-27", "2024-11-03"):
        start = unix(day) - 0.3 * DAY
        times, moment, found = timetable("*/7 0-3 * * *", zone), start, []
        while (moment := times.next_after(moment)) <= start + DAY:
            found.append(moment)
        assert found == matching_seconds(start, start + DAY, zone, fits)


@settings(max_examples=300, deadline=None)
@given(
    line=st.sampled_from([*LINES, "30 2 * * *", "0 0 * * *", "15,45 1-3 * * mon", "0 12 29 2 *"]),
    zone=st.sampled_from(ZONES),
    moment=st.floats(1.5e9, 2e9),
    ahead=st.floats(0, 90_000),
)
def test_fire_times_are_the_same_wherever_one_begins_to_ask(line: str, zone: str, moment: float, ahead: float) -> None:
    times = timetable(line, zone)
    at = times.next_after(moment)
    assert at > moment
    between = min(moment + ahead, at - 0.001)
    assert times.next_after(max(between, moment)) == at, "a fire time lies between, or none does any more"


# -- intervals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "text", "step"),
    [
        ("30s", "30s", 30),
        (90, "90s", 90),
        (90.0, "90s", 90),
        (1.5, "1.5s", 1.5),
        (dt.timedelta(hours=2), "7200s", 7200),
        ("1h 30m", "1h 30m", 5400),
        ("45", "45", 45),
    ],
)
def test_intervals_are_counted_from_the_beginning_of_unix_time(every: float | str, text: str, step: float) -> None:
    assert as_text(every) == text
    times = timetable(text)
    first = times.next_after(T0)
    assert 0 < first - T0 <= step
    assert first % step == 0
    assert times.next_after(first) == first + step
    assert times.next_after(first - 0.001) == first


@given(st.integers(1000, 10**8), st.floats(0, 4e9))
def test_every_interval_moves_on(milliseconds: int, moment: float) -> None:
    step = milliseconds / 1000
    after = timetable(as_text(step)).next_after(moment)
    assert moment < after <= moment + step + 0.001


# -- looking back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3, 1000])
@pytest.mark.parametrize("line", ["*/5 * * * *", "0 12 * * mon", "30s", "*/20 1 * * *"])
def test_the_latest_fire_times(line: str, most: int) -> None:
    times = timetable(line, "Europe/Berlin" if "*" in line else "UTC")
    first = times.next_after(unix("2024-03-29 12:00"))
    until = first + 3 * DAY
    every, at = [first], times.next_after(first)
    while at <= until:
        every.append(at)
        at = times.next_after(at)
    assert latest(times, first, until, most) == every[-most:]


def test_looking_back_over_years_is_quick() -> None:
    assert latest(timetable("* * * * * *"), 1e9, 1.7e9, 3) == [1.7e9 - 2, 1.7e9 - 1, 1.7e9]


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "tz", "words"),
    [
        ("61 * * * *", "UTC", "'61 * * * *' has '61' as its minute; expected 0 to 59"),
        ("0 24 * * *", "UTC", "'24' as its hour; expected 0 to 23"),
        ("0 0 32 * *", "UTC", "'32' as its day of month; expected 1 to 31"),
        ("0 0 * foo *", "UTC", "'foo' as its month; expected 1 to 12 or jan to dec"),
        ("0 0 * * fri-mon", "UTC", "'fri-mon' as its day of week"),
        ("0 0 * * 1#2/3", "UTC", "'1#2/3' as its day of week"),
        ("*/0 * * * *", "UTC", "'*/0' as its minute"),
        ("99 0 * * * *", "UTC", "'99' as its second"),
        ("0 0 30 2 *", "UTC", "never fires: none of its months has that day"),
        ("0 0 31 4,6 *", "UTC", "never fires"),
        ("* * * *", "UTC", "has 4 fields; expected 5 (minute, hour, day of month, month, day of week), or 6"),
        ("1 2 3 4", "UTC", "has 4 fields"),
        ("@dayly", "UTC", "every is '@dayly' (did you mean '@daily'?)"),
        ("@reboot", "UTC", "of those with @, known are @annually"),
        ("nightly", "UTC", "every is 'nightly'; expected an interval such as '30s' or '1h', or a cron line"),
        ("0s", "UTC", "expected an interval from a second to ten years"),
        ("500ms", "UTC", "expected an interval from a second to ten years"),
        ("999999d", "UTC", "expected an interval from a second to ten years"),
        ("30s", "Asia/Shanghai", "has no time zone; for an hour of the day in Asia/Shanghai, use a cron line"),
        ("0 0 * * *", "Asia/Shanghia", "no time zone 'Asia/Shanghia' (did you mean 'Asia/Shanghai'?)"),
        ("0 0 * * *", "../etc/passwd", "no time zone '../etc/passwd'"),
        ("0 0 * * *", "", "no time zone ''"),
    ],
)
def test_errors(every: str, tz: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        timetable(as_text(every), tz)
    assert words in str(caught.value)


@pytest.mark.parametrize("every", [True, None, [], -5, float("nan"), float("inf"), dt.timedelta(0), 0])
def test_what_is_no_timetable_at_all(every: object) -> None:
    with pytest.raises(ConfigError):
        timetable(as_text(every))  # type: ignore[arg-type]


def test_nicknames_are_lines() -> None:
    for name, line in NICKNAMES.items():
        assert timetable(name).next_after(T0) == timetable(line).next_after(T0)
