"""The answers of ``worklist plan`` and how they look. It asks `capacity` and knows no app."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import capacity
from ..capacity import Estimate, Load, Staffing, Times
from ..core.units import spell
from .plan_history import History
from .render import Cell, Column, table


@dataclass(frozen=True, eq=False)
class Question:
    """What is known of a queue, and what is wanted of it. Times in seconds."""

    gaps: Times | None
    service: Times
    workers: int | None
    wait: float | None
    percentile: float
    per_user: float | None
    """Jobs of one user in a second."""
    backlog: int
    jobs: int | None
    seed: int
    history: History | None


@dataclass(frozen=True, eq=False)
class Answers:
    """What follows. None where the figures for it were not given."""

    question: Question
    workers: int
    capacity: float
    """Jobs a second, if the workers never rest."""
    load: Load | None
    most: Estimate | None
    fewest: Staffing | None
    drained: Estimate | None


def question(
    *,
    arrivals: float | None,
    service: float | None,
    distribution: str | None,
    cv: float | None,
    times: Sequence[float] | None,
    workers: int | None,
    backlog: int | None,
    history: History | None,
    **rest: Any,
) -> Question:
    """Return the question that given figures ask; what is missing is taken from the history."""
    return Question(
        gaps=_gaps(arrivals, history),
        service=_service(service, distribution, cv, times or (history.service if history else ())),
        workers=workers or (history.workers if history else None) or None,
        backlog=backlog if backlog is not None else history.backlog if history else 0,
        history=history,
        wait=rest["wait"],
        percentile=rest["percentile"],
        per_user=rest["per_user"],
        jobs=rest["jobs"],
        seed=rest["seed"],
    )


def _gaps(arrivals: float | None, history: History | None) -> Times | None:
    if arrivals is not None:
        return capacity.exponential(1 / arrivals)
    return capacity.observed(history.gaps) if history else None


def _service(mean: float | None, distribution: str | None, cv: float | None, seen: Sequence[float]) -> Times:
    if mean is None:
        return capacity.observed(seen)
    if distribution == "lognormal":
        return capacity.lognormal(mean, cv or 0.0)
    return capacity.constant(mean) if distribution == "constant" else capacity.exponential(mean)


def answer(asked: Question) -> Answers:
    """Return all that follows. Raises ValueError, of which Overloaded is one, where nothing sensible does."""
    gaps, service, wait = asked.gaps, asked.service, asked.wait
    percentile, seed = asked.percentile, asked.seed
    fewest = load = most = None
    if gaps is not None and wait is not None:
        fewest = capacity.fewest_workers(gaps, service, wait, percentile=percentile, seed=seed)
    workers = asked.workers or (fewest.workers if fewest else 1)
    if gaps is not None:
        load = capacity.simulate(gaps, service, workers, percentile=percentile, jobs=asked.jobs, seed=seed)
    if wait is not None:
        shape = gaps or capacity.exponential(1.0)
        most = capacity.most_arrivals(shape, service, workers, wait, percentile=percentile, seed=seed)
    drained = capacity.drain_time(asked.backlog, gaps, service, workers) if asked.backlog else None
    return Answers(asked, workers, workers / service.mean, load, most, fewest, drained)


# -- for people -----------------------------------------------------------------------------------------------------


def tables(found: Answers) -> Iterator[Any]:
    """Yield what to show: the figures, the answers, and a warning where there is reason for one."""
    yield "\n".join(_premises(found))
    columns = [Column(""), Column("answer", right=True), Column("± (95 %)", right=True)]
    yield table(columns, [*_about_load(found), *_about_limits(found)])
    if found.load is not None and not found.load.sound:
        yield (
            f"\nso close to {found.load.utilisation:.1%} busy, {found.load.jobs:,} simulated jobs are few: "
            "take the figures after ± as too small"
        )


def _premises(found: Answers) -> Iterator[str]:
    asked, history = found.question, found.question.history
    if asked.gaps is not None:
        how = "at random" if asked.gaps.kind == "exponential" else f"as recorded, cv {asked.gaps.cv:.2g}"
        yield f"jobs come in    {per_time(asked.gaps.mean**-1)}, {how}"
    yield f"each takes      {length(asked.service.mean)} on average, {asked.service.kind}, cv {asked.service.cv:.2g}"
    yield f"workers         {found.workers:,}" + ("" if asked.workers else f", the fewest for {_wanted(asked)}")
    if history is not None:
        done, came = len(history.service), len(history.gaps)
        yield f"recorded        {done:,} finished jobs, {came:,} arrivals in {length(history.span)}"
    yield ""


def _about_load(found: Answers) -> Iterator[Sequence[Cell]]:
    load, asked = found.load, found.question
    yield (f"capacity of {_workers(found.workers)}", per_time(found.capacity), "")
    if load is None:
        return
    yield ("busy", f"{load.utilisation:.0%}", "")
    yield ("jobs that wait at all", f"{load.delayed.value:.1%}", f"{load.delayed.error:.1%}")
    yield ("wait, on average", length(load.wait.value), length(load.wait.error))
    style = "" if asked.wait is None else "green" if load.tail.value <= asked.wait else "bold red"
    yield (f"wait, {_percentile(asked)}", (length(load.tail.value), style), length(load.tail.error))


def _about_limits(found: Answers) -> Iterator[Sequence[Cell]]:
    asked = found.question
    if found.fewest is not None:
        yield (f"workers needed for {_wanted(asked)}", f"{found.fewest.workers:,}", "")
    if found.most is not None:
        most = f"most arrivals for {_wanted(asked)}"
        yield (most, per_time(found.most.value), per_time(found.most.error, found.most.value))
        if asked.per_user is not None:
            users, error = (value / asked.per_user for value in found.most)
            yield (f"users, at {per_time(asked.per_user)} each", f"{users:,.0f}", f"{error:,.0f}")
    if found.drained is not None:
        yield (f"backlog of {asked.backlog:,} gone in", length(found.drained.value), length(found.drained.error))


def _workers(number: int) -> str:
    return f"{number:,} worker" + "s" * (number != 1)


def _percentile(asked: Question) -> str:
    return f"p{asked.percentile:g}"


def _wanted(asked: Question) -> str:
    return f"{_percentile(asked)} wait within {length(asked.wait or 0.0)}"


def per_time(rate: float, like: float | None = None) -> str:
    """Return a rate by the second, the minute or the hour, whichever reads best; `like` chooses as for another rate."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if (like or rate) * seconds >= 1:
            return f"{_three_digits(rate * seconds)}/{unit}"
    return f"{_three_digits(rate * 3600)}/h"


def length(seconds: float) -> str:
    """Return a length of time with three digits, or as clocks show it where it is long."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.001:
        return f"{_three_digits(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{_three_digits(seconds * 1e3)} ms"
    return f"{_three_digits(seconds)} s" if seconds < 60 else spell(seconds)


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


# -- for machines ---------------------------------------------------------------------------------------------------


def as_data(found: Answers) -> dict[str, Any]:
    """Return the answers as plain data: seconds, jobs a second, and pairs of value and error."""
    asked = found.question
    return {
        "arrivals": asked.gaps and _shape(asked.gaps),
        "service": _shape(asked.service),
        "workers": found.workers,
        "percentile": asked.percentile,
        "wait": asked.wait,
        "capacity": found.capacity,
        "load": found.load and {**found.load._asdict(), "sound": found.load.sound},
        "fewest_workers": found.fewest and found.fewest.workers,
        "most_arrivals": found.most,
        "users": asked.per_user and found.most and [value / asked.per_user for value in found.most],
        "backlog": asked.backlog,
        "drained_in": found.drained,
    }


def _shape(times: Times) -> dict[str, Any]:
    return {"kind": times.kind, "mean": times.mean, "cv": times.cv}
