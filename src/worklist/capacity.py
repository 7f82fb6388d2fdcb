"""How many workers, for how many jobs, within which wait: a queue simulated, with confidence intervals.

One line, served first come first served by workers that are alike (G/G/c). Pure mathematics on numpy, which the extra
``worklist[plan]`` brings; it knows nothing of jobs, brokers or the rest of the project. All times are in seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Kind = Literal["exponential", "constant", "lognormal", "observed"]

FEWEST_JOBS, MOST_JOBS = 300_000, 3_000_000
"""How many jobs are simulated where nobody says: the more, the closer the workers are to being always busy."""
SEARCH_JOBS = 300_000
CURVE_JOBS = 200_000
WARM_UP = 0.1
"""The share of the jobs that is not counted, since the simulation begins with nobody waiting."""
BATCHES = 20
STUDENT = 2.093
"""Student's t for 95 % and 19 degrees of freedom: batches less one."""
BLOCK = 100
"""Recorded times are drawn in runs of so many, so that what came in bursts still does."""
BUSIEST = 0.995
LARGEST = 100_000
"""Workers. More than that is no longer a question about one queue."""


class Overloaded(ValueError):
    """More work comes in than the workers can do. `workers` is the least number that could."""

    def __init__(self, rate: float, service: float, workers: int) -> None:
        self.workers = math.floor(rate * service * (1 + 1e-9)) + 1
        there = "the 1 worker there is" if workers == 1 else f"the {workers:,} workers there are"
        super().__init__(
            f"this queue never empties: {rate:,.4g} jobs a second of {service:,.4g} s each keep "
            f"{rate * service:,.4g} workers busy, which is not less than {there}; you need at least {self.workers:,}"
        )


class Estimate(NamedTuple):
    """A value, and how far from it the true one may be, with a confidence of 95 %."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Times:
    """A distribution of times: how long jobs take, or how long it is from one arrival to the next."""

    kind: Kind
    mean: float
    cv: float
    """The coefficient of variation: standard deviation over mean."""
    observed: Floats | None = None

    def draw(self, chance: np.random.Generator, number: int) -> Floats:
        """Return so many times, whose average is exactly the mean: the load simulated is the load that was asked for.

        What is drawn from equal generators differs only by the ratio of the means.
        """
        drawn = self._draw(chance, number)
        average = float(drawn.mean())
        return drawn * (self.mean / average) if average else drawn

    def _draw(self, chance: np.random.Generator, number: int) -> Floats:
        if self.kind == "exponential":
            return chance.standard_exponential(number) * self.mean
        if self.kind == "lognormal":
            sigma = math.sqrt(math.log1p(self.cv**2))
            return chance.lognormal(math.log(self.mean) - sigma**2 / 2, sigma, number)
        if self.observed is not None:
            return _in_blocks(self.observed, chance, number)
        return np.full(number, self.mean)

    def with_mean(self, mean: float) -> "Times":
        """Return the same shape, stretched to another mean."""
        stretched = None if self.observed is None else self.observed * (mean / self.mean)
        return replace(self, mean=mean, observed=stretched)


def exponential(mean: float) -> Times:
    """Return times without memory: arrivals at random (a Poisson process), or service of very different lengths."""
    return Times("exponential", _positive(mean), 1.0)


def constant(mean: float) -> Times:
    """Return times that are all the same."""
    return Times("constant", _positive(mean), 0.0)


def lognormal(mean: float, cv: float) -> Times:
    """Return times most of which are short and some very long, as those of web requests and files are."""
    if not 0 <= cv < math.inf:
        raise ValueError(f"the coefficient of variation is {cv:g}; expected 0 or more")
    return Times("lognormal", _positive(mean), float(cv))


def observed(times: Sequence[float] | Floats) -> Times:
    """Return the times that were seen, to be drawn again in runs. Raises ValueError for none, or negative ones."""
    seen = np.asarray(times, dtype=np.float64)
    if not seen.size or not np.all(np.isfinite(seen)) or seen.min() < 0:
        raise ValueError(f"there are {seen.size} observed times; expected some, none of them negative")
    mean = _positive(float(seen.mean()))
    return Times("observed", mean, float(seen.std()) / mean, seen)


def _positive(mean: float) -> float:
    if not 0 < mean < math.inf:
        raise ValueError(f"the average time is {mean:g} s; expected more than 0")
    return float(mean)


def _in_blocks(seen: Floats, chance: np.random.Generator, number: int) -> Floats:
    """Draw runs of neighbours (a circular block bootstrap: Politis and Romano, 1992)."""
    length = min(BLOCK, seen.size)
    starts = chance.integers(seen.size, size=-(-number // length))
    places = (starts[:, None] + np.arange(length)) % seen.size
    drawn: Floats = seen[places.ravel()[:number]]
    return drawn


# -- the queue itself ---------------------------------------------------------------------------------------------


def waits(arrivals: Floats, service: Floats, workers: int) -> Floats:
    """Return how long each job waits for a worker.

    `arrivals` are moments, in order; `service` how long each job then takes. O(n log workers); of one worker O(n),
    without a loop in Python. Sources: D. V. Lindley, The theory of queues with a single server (1952); J. Kiefer and
    J. Wolfowitz, On the theory of queues with many servers (1955), the sorted vector kept as a heap.
    """
    if workers == 1:
        walk = np.concatenate(([0.0], np.cumsum(service[:-1] - np.diff(arrivals))))
        return walk - np.minimum.accumulate(walk)
    free_at = [-math.inf] * workers
    starts = []
    for arrival, length in zip(arrivals.tolist(), service.tolist(), strict=True):
        free = free_at[0]
        start = free if free > arrival else arrival
        heapreplace(free_at, start + length)
        starts.append(start)
    return np.array(starts) - arrivals


class Load(NamedTuple):
    """What waiting is like at one load."""

    rate: float
    """Arrivals a second."""
    utilisation: float
    """The share of their time that the workers are busy, from 0 to 1."""
    wait: Estimate
    """On average."""
    tail: Estimate
    """At the percentile: so many per cent of the jobs wait no longer."""
    delayed: Estimate
    """The share of the jobs that wait at all."""
    jobs: int
    """How many were simulated."""

    @property
    def sound(self) -> bool:
        """Whether enough jobs were simulated for the intervals to be trusted."""
        return self.jobs >= _enough(self.utilisation)


def simulate(
    gaps: Times, service: Times, workers: int, *, percentile: float = 95, jobs: int | None = None, seed: int = 1
) -> Load:
    """Return what waiting is like: jobs arrive `gaps` apart and take `service`.

    The first tenth of the run is dropped, the rest cut into 20 batches, whose means give the intervals; as the load
    of the whole run is exact and that of a batch is not, they are rather too wide than too narrow. The same
    seed draws the same jobs, so that runs of other rates or numbers of workers can be compared.
    Raises Overloaded where the workers cannot keep up, ValueError for figures that make no sense.
    """
    _check(workers, percentile, jobs)
    rate = 1 / gaps.mean
    utilisation = rate * service.mean / workers
    if utilisation >= 1:
        raise Overloaded(rate, service.mean, workers)
    number = jobs or min(max(math.ceil(_enough(utilisation)), 50 * workers, FEWEST_JOBS), MOST_JOBS)
    for_gaps, for_service = np.random.default_rng(seed).spawn(2)
    arrivals = np.cumsum(gaps.draw(for_gaps, number))
    waited = waits(arrivals, service.draw(for_service, number), workers)
    counted = waited[int(number * WARM_UP) :]
    batches = counted[counted.size % BATCHES :].reshape(BATCHES, -1)
    return Load(
        rate,
        utilisation,
        _estimate(float(counted.mean()), batches.mean(axis=1)),
        _estimate(float(np.percentile(counted, percentile)), np.percentile(batches, percentile, axis=1)),
        _estimate(float((counted > 0).mean()), (batches > 0).mean(axis=1)),
        number,
    )


def _enough(utilisation: float) -> float:
    """Return how many jobs make batches of some twenty relaxation times, in which waits forget one another."""
    return 800 * utilisation / max(1 - utilisation, 1e-9) ** 2


def _estimate(value: float, batches: Floats) -> Estimate:
    return Estimate(value, STUDENT * float(batches.std(ddof=1)) / math.sqrt(BATCHES))


def _check(workers: int, percentile: float, jobs: int | None) -> None:
    if not 1 <= workers <= LARGEST:
        raise ValueError(f"the number of workers is {workers:,}; expected 1 to {LARGEST:,}")
    if not 0 < percentile < 100:
        raise ValueError(f"the percentile is {percentile:g}; expected more than 0 and less than 100")
    if jobs is not None and jobs < 1000:
        raise ValueError(f"{jobs} jobs are to be simulated; expected at least 1,000")


# -- questions ------------------------------------------------------------------------------------------------------


def most_arrivals(
    gaps: Times, service: Times, workers: int, wait: float, *, percentile: float = 95, seed: int = 1
) -> Estimate:
    """Return how many jobs may arrive in a second, so that at the percentile they wait no longer than `wait`.

    `gaps` gives the shape of the arrivals, whatever its mean. Halves the interval eleven times: with the same seed a
    wait only grows with the rate. The error is that of the wait, divided by how steeply it grows.
    Never more than 99.5 % of the capacity.
    """
    capacity = workers / service.mean

    def tail(utilisation: float) -> Estimate:
        slower = gaps.with_mean(1 / (capacity * utilisation))
        jobs = max(SEARCH_JOBS, 10 * workers)
        return simulate(slower, service, workers, percentile=percentile, jobs=jobs, seed=seed).tail

    low, high = 0.0, BUSIEST
    if tail(high).value <= wait:
        return Estimate(high * capacity, 0.0)
    for _ in range(11):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle).value <= wait else (low, middle)
    step = min(0.01, (1 - low) / 2, low / 2)
    above, below = tail(low + step), tail(low - step)
    slope = (above.value - below.value) / (2 * step)
    error = max(above.error, below.error) / slope if slope else 0.0
    return Estimate(low * capacity, min(error, low) * capacity)


class Staffing(NamedTuple):
    """A number of workers, and what waiting is like with them."""

    workers: int
    load: Load


def fewest_workers(
    gaps: Times, service: Times, wait: float, *, percentile: float = 95, jobs: int | None = None, seed: int = 1
) -> Staffing:
    """Return how many workers it takes so that at the percentile jobs wait no longer than `wait`.

    Doubles the number of workers beyond the least possible one until the wait is short enough, then halves the
    interval: more workers never make anybody wait longer.
    """

    def load(workers: int) -> Load:
        return simulate(gaps, service, workers, percentile=percentile, jobs=jobs, seed=seed)

    least = math.floor(service.mean / gaps.mean * (1 + 1e-9)) + 1
    beyond, found = 1, load(least)
    if found.tail.value <= wait:
        return Staffing(least, found)
    while (found := load(least + beyond)).tail.value > wait:
        beyond *= 2
    low, high = least + beyond // 2, least + beyond
    while high - low > 1:
        middle = (low + high) // 2
        tried = load(middle)
        if tried.tail.value <= wait:
            high, found = middle, tried
        else:
            low = middle
    return Staffing(high, found)


def drain_time(backlog: int, gaps: Times | None, service: Times, workers: int) -> Estimate:
    """Return how long it takes until nobody waits any more, if `backlog` jobs wait now and others go on arriving.

    The length of the queue is taken for a Brownian motion with the drift and the variance of arrivals and service:
    the first time it comes to 0 has a known mean and variance. Good where the backlog is many times the number of
    workers. The error is that of one draining, not of the mean: 19 of 20 end within it.
    Source: D. R. Cox and H. D. Miller, The theory of stochastic processes (1965), section 5.7.
    Raises Overloaded where it never ends.
    """
    rate = 1 / gaps.mean if gaps else 0.0
    speed = workers / service.mean
    if rate >= speed:
        raise Overloaded(rate, service.mean, workers)
    mean = backlog / (speed - rate)
    variance = speed * service.cv**2 + (rate * gaps.cv**2 if gaps else 0.0)
    return Estimate(mean, 1.96 * math.sqrt(backlog * variance / (speed - rate) ** 3))


# -- the curve --------------------------------------------------------------------------------------------------


def curve(
    gaps: Times, service: Times, workers: int, *, percentile: float = 95, points: int = 40, seed: int = 1
) -> list[Load]:
    """Return what waiting is like from an idle queue to one that is nearly always busy."""
    loads = 1 - np.linspace(0.99, 0.14, points) ** 2  # the closer, the steeper the curve
    return [
        simulate(
            gaps.with_mean(service.mean / (workers * float(load))),
            service,
            workers,
            percentile=percentile,
            jobs=max(CURVE_JOBS, 10 * workers),
            seed=seed,
        )
        for load in loads
    ]


def knee(loads: Sequence[Load], service: Times) -> Load:
    """Return the point of a curve beyond which more load costs more waiting than it is worth.

    It is where load over response time (wait and service) is greatest: where a line from the origin touches the
    curve. Source: L. Kleinrock, Power and deterministic rules of thumb for probabilistic problems (1979).
    """
    return max(loads, key=lambda load: load.utilisation / (load.wait.value + service.mean))
