"""The classic uses of queues, each against answers that are known."""

import doctest
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist import simulate
from worklist.simulate import RateMeter, RecentCalls, hot_potato, is_palindrome, leaving_order, printer


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(simulate).failed == 0
    assert doctest.testmod(simulate).attempted > 5


# -- recent calls and rates -------------------------------------------------------------------------------------


@given(gaps=st.lists(st.integers(0, 5000)), window=st.integers(0, 4000))
def test_recent_calls_are_those_in_the_window(gaps, window):
    calls, times, now = RecentCalls(window), [], 0
    for gap in gaps:
        now += gap
        times.append(now)
        assert calls.ping(now) == sum(now - window <= t <= now for t in times)


def test_recent_calls_refuse_time_that_goes_back():
    calls = RecentCalls()
    calls.ping(100)
    with pytest.raises(ValueError, match="a call at 99 ms came after one at 100 ms"):
        calls.ping(99)
    with pytest.raises(ValueError, match="at nan ms"):
        calls.ping(math.nan)
    with pytest.raises(ValueError, match="window is -1 ms"):
        RecentCalls(-1)


@given(hits=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=60), slots=st.integers(1, 20))
def test_a_meter_is_wrong_by_less_than_one_slot(hits, slots):
    window, width = 10.0, 10.0 / slots
    meter, seen, now = RateMeter(window, slots), [], 1000.0
    for gap, count in hits:
        now += gap
        meter.hit(now, count)
        seen.append((now, count))
        for later in (now, now + width / 2, now + 3.3):
            probe = RateMeter(window, slots)
            for t, number in seen:
                probe.hit(t, number)
            edge = later - window
            inside = sum(number for t, number in seen if t > edge)
            doubtful = sum(number for t, number in seen if edge - width <= t <= edge + width)
            assert abs(probe.rate(later) * window - inside) <= doubtful + 1e-6
            if later == now:
                assert meter.rate(now) == pytest.approx(probe.rate(now))


def test_a_meter_needs_a_fixed_number_of_slots():
    meter = RateMeter(window=60, slots=60)
    for number in range(100_000):
        meter.hit(number / 10)
    assert len(meter._slots) <= 61
    assert meter.rate(10_000) == pytest.approx(10)
    assert meter.rate(10_030) == pytest.approx(5)
    assert meter.rate(10**9) == 0
    assert len(meter._slots) == 0


def test_a_clock_that_is_set_back_does_no_harm():
    meter = RateMeter(window=10, slots=10)
    meter.hit(1000, 20)
    meter.hit(500, 30)
    assert meter.rate(400) == 5


@pytest.mark.parametrize("arguments", [(0, 1), (-1, 1), (1, 0), (math.nan, 1)])
def test_a_meter_without_a_window_is_refused(arguments):
    with pytest.raises(ValueError, match="expected more than 0 s and at least 1"):
        RateMeter(*arguments)


# -- hot potato ---------------------------------------------------------------------------------------------------


def josephus(n, k):
    """The winner's place by the recurrence of Concrete Mathematics: J(1) = 0, J(n) = (J(n - 1) + k) mod n."""
    place = 0
    for size in range(2, n + 1):
        place = (place + k) % size
    return place


@given(n=st.integers(1, 60), k=st.integers(1, 200))
def test_hot_potato_is_the_problem_of_josephus(n, k):
    assert hot_potato(range(n), k - 1) == josephus(n, k)
    assert sorted(leaving_order(range(n), k - 1)) == list(range(n))


def test_where_josephus_stood():
    assert hot_potato(range(1, 42), 2) == 31  # 41 men, every third dies


def test_the_order_is_that_of_a_circle():
    people, order, place = list("ABCDEFGHIJ"), [], 0
    while people:
        place = (place + 3) % len(people)
        order.append(people.pop(place))
    assert list(leaving_order("ABCDEFGHIJ", 3)) == order


@pytest.mark.parametrize(("names", "num"), [([], 7), (["a"], -1)])
def test_hot_potato_needs_somebody(names, num):
    with pytest.raises(ValueError, match=f"there are {len(names)} names and num is {num}"):
        hot_potato(names, num)


# -- palindromes --------------------------------------------------------------------------------------------------

PALINDROMES = [
    "",
    "a",
    "Radar",
    "Able was I, ere I saw Elba.",
    "Was it a car or a cat I saw?",
    "No 'x' in Nixon",
    "12/3 21",
    "Dammit, I'm mad!",
    "А роза упала на лапу Азора",
    "上海自来水来自海上",
    "Straße, essarts",  # ß folds to ss
    "e\u0301te\u0301",  # the accent is a part of its letter
]


@pytest.mark.parametrize("text", PALINDROMES)
def test_palindromes(text):
    assert is_palindrome(text)


@pytest.mark.parametrize("text", ["ab", "lsdkjfskf", "Radars", "été!e", "never odd or evens"])
def test_no_palindromes(text):
    assert not is_palindrome(text)


@given(text=st.text())
def test_a_text_and_its_mirror_image(text):
    letters = "".join(char for char in text if char.isascii())
    assert is_palindrome(letters + letters[::-1])


# -- the printer --------------------------------------------------------------------------------------------------


def test_one_page_a_second_that_takes_a_second_never_waits():
    report = printer(students=3600, tasks_per_hour=1, most_pages=1, pages_per_minute=60, seconds=1000)
    assert report == (0.0, 1000, 0)


def test_a_printer_of_half_the_speed_falls_behind():
    # the k-th page (from 0) is sent at second k and begun at second 2 k: it waits k
    report = printer(students=3600, tasks_per_hour=1, most_pages=1, pages_per_minute=30, seconds=1000)
    assert report == (statistics.fmean(range(500)), 500, 500)


def test_nobody_prints():
    assert printer(students=0) == (0.0, 0, 0)


@pytest.mark.parametrize(("pages_per_minute", "most_pages"), [(10, 20), (5, 10), (10, 25)])
def test_the_average_wait_is_that_of_the_formula(pages_per_minute, most_pages):
    """Of a queue with one server and one arrival a second with chance p (Geo/G/1): p E[S(S-1)] / 2(1 - p E[S])."""
    chance = 10 * 2 / 3600
    times = [pages * 60 / pages_per_minute for pages in range(1, most_pages + 1)]
    second = statistics.fmean(s * (s - 1) for s in times)
    expected = chance * second / (2 * (1 - chance * statistics.fmean(times)))
    waits = [
        printer(most_pages=most_pages, pages_per_minute=pages_per_minute, seconds=400_000, seed=seed).average_wait
        for seed in range(10)
    ]
    error = statistics.stdev(waits) / math.sqrt(len(waits))
    assert abs(statistics.fmean(waits) - expected) < 4 * error + 0.002 * expected  # the first ones find it empty
    assert error < 0.05 * expected


def test_the_same_seed_gives_the_same_day():
    assert printer(seed=5) == printer(seed=5)
    assert len({printer(seed=seed) for seed in range(20)}) > 15


WRONG = [
    ({"students": -1}, "tasks a second; expected 0 to 1"),
    ({"students": 3601, "tasks_per_hour": 1}, "tasks a second"),
    ({"pages_per_minute": 0}, "pages_per_minute 0"),
    ({"most_pages": 0}, "most_pages is 0"),
    ({"seconds": -1}, "seconds -1"),
    ({"tasks_per_hour": math.nan}, "nan tasks a second"),
]


@pytest.mark.parametrize(("figures", "what"), WRONG)
def test_a_printer_that_cannot_be_is_refused(figures, what):
    with pytest.raises(ValueError, match=what):
        printer(**figures)
