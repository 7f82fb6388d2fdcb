"""Lanes as arithmetic, and who is served next: pure functions of numbers and times."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worklist.core.lane import INFINITE, Lane, LaneLimits
from worklist.core.turns import PLAIN, Line, serve

NOW = 1_700_000_000.0
rates = st.floats(1 / 86400, 100_000, allow_nan=False)
bursts = st.integers(1, 10_000)


def a_lane(**limits: float | int | None) -> Lane:
    return Lane(name="a", limits=LaneLimits(**limits))  # type: ignore[arg-type]


# -- what a lane allows ---------------------------------------------------------------------------------------


def test_a_lane_without_limits_is_always_open():
    lane = a_lane()
    lane.spend(1_000_000, NOW)
    assert (lane.room(NOW), lane.opens(NOW), lane.running) == (INFINITE, 0.0, 1_000_000)


def test_a_rate_gives_a_token_in_its_time():
    lane = a_lane(rate=4.0)
    assert lane.room(NOW) == 1
    lane.spend(1, NOW)
    assert (lane.room(NOW), lane.room(NOW + 0.24), lane.room(NOW + 0.25)) == (0, 0, 1)
    assert lane.opens(NOW) == pytest.approx(NOW + 0.25, abs=1e-6)


def test_a_burst_is_what_a_silence_saves_and_no_more():
    lane = a_lane(rate=1.0, burst=3)
    lane.spend(3, NOW)
    assert [lane.room(NOW + after) for after in (0, 1, 2, 3, 1000)] == [0, 1, 2, 3, 3]


def test_a_ceiling_counts_what_runs():
    lane = a_lane(concurrency=2)
    lane.spend(2, NOW)
    assert (lane.room(NOW), lane.opens(NOW)) == (0, INFINITE)
    lane.give_back(1, 0)
    assert (lane.room(NOW), lane.opens(NOW)) == (1, 0.0)


def test_a_ceiling_that_is_lowered_below_what_runs_leaves_no_room():
    lane = a_lane(concurrency=5)
    lane.spend(5, NOW)
    lane.limits = LaneLimits(concurrency=2)
    assert lane.room(NOW) == 0


def test_a_pause_closes_a_lane_until_its_end():
    lane = a_lane()
    lane.paused = NOW + 10
    assert (lane.room(NOW), lane.opens(NOW)) == (0, NOW + 10)
    assert (lane.room(NOW + 10), lane.opens(NOW + 10)) == (INFINITE, 0.0)
    lane.paused = INFINITE
    assert (lane.room(NOW), lane.opens(NOW)) == (0, INFINITE)


def test_of_pause_and_rate_the_later_holds():
    lane = a_lane(rate=1.0)
    lane.spend(1, NOW)
    lane.paused = NOW + 10
    assert lane.opens(NOW) == NOW + 10
    lane.paused = NOW + 0.5
    assert lane.opens(NOW) == NOW + 1


def test_the_token_of_what_had_not_begun_comes_back():
    lane = a_lane(rate=1.0, burst=2)
    lane.spend(2, NOW)
    lane.give_back(2, 1)
    assert (lane.room(NOW), lane.running) == (1, 0)


def test_more_given_back_than_taken_is_no_credit():
    lane = a_lane(concurrency=1)
    lane.give_back(5, 0)
    assert (lane.running, lane.room(NOW)) == (0, 1)


@pytest.mark.parametrize(
    "change",
    [{"running": 1}, {"pinned": True}, {"paused": INFINITE}, {"spent": NOW + 1}, {"weight": 2.0}],
    ids=lambda change: next(iter(change)),
)
def test_a_lane_that_holds_something_is_not_idle(change: dict[str, float]):
    assert Lane(name="a").is_idle(NOW)
    assert not Lane(name="a", **change).is_idle(NOW)  # type: ignore[arg-type]


@settings(deadline=None)
@given(rate=rates, burst=bursts, spent=st.integers(0, 20_000), waits=st.lists(st.floats(0, 100), max_size=5))
def test_a_lane_has_room_exactly_when_it_is_open_and_opens_when_it_says(
    rate: float, burst: int, spent: int, waits: list[float]
):
    lane = a_lane(rate=rate, burst=burst)
    lane.spend(spent, NOW)
    now = NOW
    for wait in [*waits, 0.0]:
        now += wait
        assert (lane.room(now) >= 1) == (lane.opens(now) == 0.0)
        opens = lane.opens(now)
        if opens:
            assert opens > now
            assert lane.room(opens) >= 1
            assert lane.room(opens - 1e-5) == 0 or opens - 1e-5 < now
            now = opens
        assert 0 <= lane.room(now) <= burst
        lane.spend(min(1, int(lane.room(now))), now)


@settings(max_examples=50, deadline=None)
@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 50), steps=st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_in_no_time_do_more_start_than_the_rate_and_one_burst(rate: float, burst: int, steps: list[float]):
    lane = a_lane(rate=rate, burst=burst)
    now, starts = NOW, []
    for step in steps:
        now += step
        taken = int(lane.room(now))
        lane.spend(taken, now)
        starts.append((now, taken))
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            count = sum(taken for _, taken in starts[first : last + 1])
            assert count <= burst + (starts[last][0] - starts[first][0]) * rate + 1e-2


# -- who is served next ---------------------------------------------------------------------------------------


def a_line(
    name: str,
    jobs: int,
    turn: float = 0.0,
    weight: float = 1.0,
    lane: Lane | None = None,
    asked: list[int] | None = None,
) -> Line[str]:
    """Return a line of so many jobs; `asked` notes how many each look asks for."""
    left = iter([f"{name}{n}" for n in range(jobs)])

    def fetch(count: int) -> Sequence[str]:
        if asked is not None:
            asked.append(count)
        return list(itertools.islice(left, count))

    if lane is None and name != PLAIN:
        lane = Lane(name=name, weight=weight)
    return Line(name, turn, lane, NOW, fetch)


def never(job: str) -> bool:
    return False


def names(jobs: Sequence[str]) -> str:
    return "".join(job[:1] for job in jobs)


def test_lines_take_turns_by_name_where_their_turns_are_equal():
    taken, _ = serve([a_line("b", 3), a_line("a", 3)], 10, 0.0, never)
    assert taken == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_no_more_are_taken_than_asked_for():
    line = a_line("a", 10)
    taken, _ = serve([line], 4, 0.0, never)
    assert (len(taken), line.taken) == (4, 4)
    assert not line.is_empty


def test_the_lowest_turn_is_served_first_and_the_turns_go_on_from_there():
    lines = [a_line("a", 9, turn=5.0), a_line("b", 9, turn=3.0)]
    taken, turn = serve(lines, 4, 3.0, never)
    assert names(taken) == "bbab"
    assert (turn, lines[0].turn, lines[1].turn) == (5.0, 6.0, 6.0)


def test_a_line_that_was_away_makes_up_for_nothing():
    lines = [a_line("a", 99, turn=1000.0), a_line("b", 99, turn=2.0)]
    taken, _ = serve(lines, 10, 1000.0, never)
    assert Counter(names(taken)) == {"a": 5, "b": 5}


def test_a_line_that_is_closed_is_not_looked_at():
    full = Lane(name="a", limits=LaneLimits(concurrency=1), running=1)
    line = a_line("a", 3, lane=full)
    taken, _ = serve([line, a_line("b", 2)], 10, 0.0, never)
    assert (names(taken), line.looked_at, line.is_closed) == ("bb", False, True)


def test_a_line_closes_when_its_lane_is_full():
    narrow = Lane(name="a", limits=LaneLimits(concurrency=2))
    line = a_line("a", 9, lane=narrow)
    taken, _ = serve([line, a_line("b", 4)], 10, 0.0, never)
    assert (names(taken), line.is_closed, line.is_empty) == ("ababbb", True, False)


def test_a_line_knows_when_it_has_given_its_last():
    exact, more = a_line("a", 3), a_line("b", 4)
    serve([exact, more], 6, 0.0, never)
    assert (exact.is_empty, more.is_empty, more.jobs_left) == (True, False, ["b3"])


def test_jobs_that_are_too_late_are_passed_over_and_cost_no_turn():
    late: list[str] = []

    def is_late(job: str) -> bool:
        if job in ("a0", "a1"):
            late.append(job)
            return True
        return False

    line = a_line("a", 4)
    taken, _ = serve([line, a_line("b", 2)], 10, 0.0, is_late)
    assert taken == ["a2", "b0", "a3", "b1"]
    assert (late, line.taken) == (["a0", "a1"], 2)


def test_a_line_is_asked_for_its_share_first():
    asked: list[int] = []
    lines = [a_line("a", 1000, asked=asked), *(a_line(name, 1000) for name in "bcd")]
    serve(lines, 40, 0.0, never)
    assert asked == [11]  # a quarter, and one to know whether there are more


@settings(deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=8),
    batches=st.lists(st.integers(1, 30), min_size=5, max_size=30),
)
def test_lines_are_served_in_proportion_to_their_weights_however_small_the_leases(
    weights: list[float], batches: list[int]
):
    lines = [a_line(chr(97 + n), 10_000, weight=weight) for n, weight in enumerate(weights)]
    turn, total = 0.0, 0
    for batch in batches:
        for line in lines:
            line.taken = 0
        taken, turn = serve(lines, batch, turn, never)
        total += len(taken)
    served = [(line.turn) * weight for line, weight in zip(lines, weights, strict=True)]
    assert sum(served) == pytest.approx(total)
    for count, weight in zip(served, weights, strict=True):
        assert abs(count - total * weight / sum(weights)) <= 1 + weight * len(weights)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    limits=st.lists(st.none() | st.integers(1, 5), min_size=8, max_size=8),
    limit=st.integers(1, 60),
)
def test_as_many_as_can_be_are_taken_each_once_and_in_order(sizes: list[int], limits: list[int | None], limit: int):
    lanes = [Lane(name=chr(97 + n), limits=LaneLimits(concurrency=it)) for n, it in enumerate(limits)]
    lines = [a_line(lane.name, size, lane=lane) for lane, size in zip(lanes, sizes, strict=False)]
    taken, _ = serve(lines, limit, 0.0, never)
    can = sum(min(size, math.inf if it is None else it) for size, it in zip(sizes, limits, strict=False))
    assert len(taken) == min(limit, can)
    for line in lines:
        mine = [job for job in taken if job.startswith(line.name)]
        assert mine == [f"{line.name}{n}" for n in range(len(mine))]
    counts = [len([job for job in taken if job.startswith(line.name)]) for line in lines]
    closed = [line.is_closed or line.is_empty for line in lines]
    hungry = [count for count, is_done in zip(counts, closed, strict=True) if not is_done]
    assert not hungry or max(counts) - min(hungry) <= 1  # whoever could have had more has no less than the others
