"""The simulated queue against the formulas that queueing theory has for it, and the questions that are put to it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist import capacity
from worklist.capacity import (
    Overloaded,
    constant,
    curve,
    drain_time,
    exponential,
    fewest_workers,
    knee,
    lognormal,
    most_arrivals,
    observed,
    simulate,
    waits,
)


def erlang_c(workers, offered):
    """The chance that a job of an M/M/c queue has to wait (by the recursion of Erlang's B)."""
    blocked = 1.0
    for n in range(1, workers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    utilisation = offered / workers
    return blocked / (1 - utilisation * (1 - blocked))


def mmc(workers, utilisation, share=0.95):
    """The chance to wait, the average wait and a quantile of it, in units of the service time."""
    chance = erlang_c(workers, workers * utilisation)
    speed = workers * (1 - utilisation)
    return chance, chance / speed, max(0.0, math.log(chance / (1 - share)) / speed)


def covered(estimate, truth, times=2.0):
    """Whether the truth is within twice the interval of 95 %, which fails once in ten thousand times by chance."""
    return abs(estimate.value - truth) <= times * estimate.error


# -- the queue ------------------------------------------------------------------------------------------------------


def in_turn(arrivals, service, workers):
    """First come first served, spelt out: each job takes the worker that is free first."""
    free, found = [0.0] * workers, []
    for arrival, length in zip(arrivals, service, strict=True):
        first = min(range(workers), key=free.__getitem__)
        start = max(free[first], arrival)
        free[first] = start + length
        found.append(start - arrival)
    return found


@given(jobs=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=50), workers=st.integers(1, 6))
def test_waits_are_those_of_first_come_first_served(jobs, workers):
    arrivals = np.cumsum([gap for gap, _ in jobs])
    service = np.array([length for _, length in jobs])
    assert waits(arrivals, service, workers) == pytest.approx(in_turn(arrivals, service, workers), abs=1e-9)


def test_waits_worked_out_by_hand():
    arrivals, service = np.array([0.0, 1, 2, 3]), np.array([4.0, 4, 4, 4])
    assert waits(arrivals, service, 1).tolist() == [0, 3, 6, 9]
    assert waits(arrivals, service, 2).tolist() == [0, 0, 2, 2]
    assert waits(arrivals, service, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("workers", "utilisation"), [(1, 0.5), (1, 0.9), (2, 0.7), (8, 0.8), (50, 0.9), (200, 0.95)])
def test_random_arrivals_and_exponential_service_are_erlangs(workers, utilisation):
    load = simulate(exponential(1 / (workers * utilisation)), exponential(1.0), workers)
    chance, wait, tail = mmc(workers, utilisation)
    assert load.sound
    assert load.utilisation == pytest.approx(utilisation)
    assert covered(load.delayed, chance)
    assert covered(load.wait, wait)
    assert covered(load.tail, tail)
    assert load.wait.error < 0.4 * wait


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("service", [constant(1.0), lognormal(1.0, 0.5), lognormal(1.0, 2.0)], ids=lambda s: s.kind)
def test_one_worker_is_pollaczeks_and_khinchines(service, utilisation):
    load = simulate(exponential(1 / utilisation), service, 1)
    assert covered(load.wait, utilisation * (1 + service.cv**2) / (2 * (1 - utilisation)))
    assert covered(load.delayed, utilisation)


def test_arrivals_like_clockwork_never_wait_for_service_like_clockwork():
    load = simulate(constant(1.0), constant(2.999), 3)
    assert load.wait == (0, 0)
    assert load.tail == (0, 0)


def test_intervals_hold_the_truth_as_often_as_they_say():
    _, wait, tail = mmc(4, 0.8)
    loads = [simulate(exponential(1 / 3.2), exponential(1.0), 4, jobs=60_000, seed=seed) for seed in range(60)]
    # 95 % of 60 is 57; 51 or less has a chance below one in two hundred
    assert sum(covered(load.wait, wait, 1) for load in loads) >= 52
    assert sum(covered(load.tail, tail, 1) for load in loads) >= 52


def test_more_workers_and_slower_arrivals_never_wait_longer():
    service = lognormal(1.0, 1.5)
    by_workers = [simulate(exponential(0.3), service, workers).tail.value for workers in range(4, 12)]
    by_rate = [simulate(exponential(gap), service, 4, jobs=50_000).tail.value for gap in (0.26, 0.3, 0.4, 0.6)]
    assert by_workers == sorted(by_workers, reverse=True)
    assert by_rate == sorted(by_rate, reverse=True)


# -- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [exponential(3.0), constant(3.0), lognormal(3.0, 0.7), lognormal(3.0, 0)])
def test_distributions_have_their_mean_and_variation(times):
    drawn = times.draw(np.random.default_rng(3), 400_000)
    assert drawn.mean() == pytest.approx(3.0)
    assert drawn.std() / drawn.mean() == pytest.approx(times.cv, abs=0.01)
    again = times.with_mean(6.0).draw(np.random.default_rng(3), 400_000)
    assert np.allclose(again, drawn * 2)


def test_observed_times_are_drawn_in_runs():
    seen = observed(np.arange(1.0, 1001.0))
    drawn = seen.draw(np.random.default_rng(0), 100_050)
    assert drawn.size == 100_050
    assert drawn.mean() == pytest.approx(500.5)
    neighbours = np.diff(drawn)
    assert (abs(neighbours - np.median(neighbours)) < 1e-9).mean() > 0.95
    assert np.allclose(seen.with_mean(1.0).draw(np.random.default_rng(0), 100_050), drawn / 500.5)


def test_bursts_wait_longer_than_an_even_stream_of_the_same_rate():
    gaps = np.zeros(5000)
    gaps[::50] = 50.0  # fifty jobs at once, then a pause
    bursts = simulate(observed(gaps), constant(0.5), 1)
    even = simulate(exponential(1.0), constant(0.5), 1)
    assert bursts.rate == even.rate
    assert bursts.wait.value > 10 * even.wait.value
    assert bursts.wait.value == pytest.approx(12.25, rel=0.1)  # 0.5 s times the 0 to 49 before it


# -- questions ------------------------------------------------------------------------------------------------------


def most_by_formula(workers, wait):
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mmc(workers, middle)[2] <= wait else (low, middle)
    return low * workers


@pytest.mark.parametrize(("workers", "wait"), [(1, 2.0), (8, 0.5), (8, 5.0), (50, 0.1)])
def test_most_arrivals(workers, wait):
    found = most_arrivals(exponential(1.0), exponential(1.0), workers, wait)
    truth = most_by_formula(workers, wait)
    assert abs(found.value - truth) <= 2 * found.error + 0.001 * workers
    assert found.error < 0.05 * workers


def test_most_arrivals_stay_below_the_capacity():
    assert most_arrivals(exponential(1.0), constant(1.0), 4, 1e9).value == pytest.approx(0.995 * 4)


@pytest.mark.parametrize(("rate", "wait"), [(0.5, 0.0), (7.3, 0.25), (20.0, 0.0), (100.0, 0.02), (100.0, 3.0)])
def test_fewest_workers(rate, wait):
    found = fewest_workers(exponential(1 / rate), exponential(1.0), wait)
    assert found.load.tail.value <= wait
    truth = next(n for n in range(math.floor(rate) + 1, 1000) if mmc(n, rate / n)[2] <= wait)
    assert abs(found.workers - truth) <= 1
    if found.workers > rate + 1:
        assert simulate(exponential(1 / rate), exponential(1.0), found.workers - 1).tail.value > wait


@pytest.mark.parametrize("gaps", [None, exponential(0.5), lognormal(0.5, 2.0)], ids=["no arrivals", "random", "uneven"])
@pytest.mark.parametrize(("service", "workers"), [(exponential(1.0), 4), (lognormal(1.0, 1.5), 8)])
def test_a_backlog_is_gone_when_the_formula_says(gaps, service, workers):
    backlog, ends = 2000, []
    said = drain_time(backlog, gaps, service, workers)
    for seed in range(40):
        chance = np.random.default_rng(seed)
        later = np.cumsum(gaps.draw(chance, 50_000)[:6000]) if gaps else np.zeros(0)
        arrivals = np.concatenate([np.zeros(backlog), later])
        waited = waits(arrivals, service.draw(chance, 50_000)[: arrivals.size], workers)
        free = np.flatnonzero(waited[backlog:] == 0)
        ends.append(later[free[0]] if gaps else waited.max())
    assert np.mean(ends) == pytest.approx(said.value, rel=0.03)
    assert np.std(ends) * 1.96 == pytest.approx(said.error, rel=0.35)


def test_the_knee_of_one_worker_is_at_half_its_capacity():
    # of M/M/1, response time is 1 / (1 - load): load * (1 - load) is greatest at a half
    service = exponential(1.0)
    found = knee(curve(exponential(1.0), service, 1), service)
    assert found.utilisation == pytest.approx(0.5, abs=0.1)


def test_more_workers_bend_later():
    service = exponential(1.0)
    few, many = (knee(curve(exponential(1.0), service, n, points=20), service).utilisation for n in (2, 50))
    assert few < many < 1


# -- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "workers", "least"), [(20, 5, 7), (20, 6, 7), (10, 1, 4), (1e4, 10, 3001)])
def test_a_queue_that_never_empties_says_how_many_it_needs(rate, workers, least):
    for ask in (
        lambda: simulate(exponential(1 / rate), constant(0.3), workers),
        lambda: drain_time(5, exponential(1 / rate), constant(0.3), workers),
    ):
        with pytest.raises(Overloaded, match=f"never empties.*you need at least {least:,}$") as caught:
            ask()
        assert caught.value.workers == least


WRONG = [
    (lambda: exponential(0), "average time is 0 s; expected more than 0"),
    (lambda: constant(-1), "average time is -1 s"),
    (lambda: lognormal(1, -0.5), "coefficient of variation is -0.5"),
    (lambda: lognormal(math.inf, 1), "average time is inf s"),
    (lambda: observed([]), "there are 0 observed times"),
    (lambda: observed([1, -1]), "none of them negative"),
    (lambda: observed([0, 0]), "average time is 0 s"),
    (lambda: simulate(exponential(1), constant(0.1), 0), "number of workers is 0; expected 1 to 100,000"),
    (lambda: simulate(exponential(1), constant(0.1), 1, percentile=100), "percentile is 100"),
    (lambda: simulate(exponential(1), constant(0.1), 1, jobs=10), "10 jobs are to be simulated"),
    (lambda: fewest_workers(exponential(1e-9), constant(1.0), 1), "number of workers is 1,000,000,002"),
]


@pytest.mark.parametrize(("ask", "what"), WRONG)
def test_figures_that_make_no_sense_are_refused(ask, what):
    with pytest.raises(ValueError, match=what):
        ask()


def test_too_few_jobs_for_a_load_are_told():
    assert not simulate(exponential(1.02), exponential(1.0), 1, jobs=10_000).sound
    assert capacity.MOST_JOBS > capacity.FEWEST_JOBS
