"""The measurements of what jobs are tied to: schedules, lanes, groups, chains. One function for each, the same for
every system that has such a thing; what only Worklist has is in `worklist_composition`."""

import itertools
import statistics
import time
from collections.abc import Callable

from bench.systems.base import System
from bench.systems.commands import (
    PATIENCE,
    figures_of,
    mark_of,
    open_gate,
    set_milestones,
    worker_of,
)
from bench.systems.crew import Crew
from bench.systems.process import GaveUpError, cpu_seconds, resident_mib

BEFORE_THE_FIRST = 60.0
"""Seconds that beats or workers may need for their start."""
AFTERWARDS = 1.0
"""Seconds after a callback in which a second one would be seen."""


# -- beats ------------------------------------------------------------------------------------------------------


def beats(system: System) -> dict[str, float]:
    """A schedule every second, some beats, one of them killed and replaced every few seconds; nothing runs the jobs.

    Where jobs know their fire time they are counted for each, else in each second of the clock.
    """
    options = system.options
    with Crew(system.beat, options.processes, options.dir / "beat.log") as crew:
        _until(lambda: len(system.ticks()) >= options.processes, crew, "the first jobs of beats")
        begun = float(int(time.time()) + 1)
        end = begun + options.seconds
        kills = 0
        while (left := end + 1.5 - time.time()) > 0:  # what is late has a little time to come
            time.sleep(min(left, options.kill_every))
            if time.time() < end:
                crew.replace_one()
                kills += 1
    return _ticks(system.ticks(), begun, int(options.seconds)) | {"kills": kills}


def _ticks(put: list[tuple[float, float | None]], begun: float, seconds: int) -> dict[str, float]:
    """What was put for, or in, each of these seconds."""
    found = [(at, tick) for at, tick in sorted(put) if begun <= (tick if tick is not None else at) < begun + seconds]
    counts = [0] * seconds
    for at, tick in found:
        counts[int((tick if tick is not None else at) - begun)] += 1
    figures = {
        "ticks": seconds,
        "jobs": len(found),
        "least": min(counts),
        "most": max(counts),
        "without": counts.count(0),
        "extra": sum(max(0, count - 1) for count in counts),
        "gap_s": max((after - before for (before, _), (after, _) in itertools.pairwise(found)), default=seconds),
    }
    late = [(at - tick) * 1000 for at, tick in found if tick is not None]
    return figures | ({"late_ms": statistics.median(late), "latest_ms": max(late)} if late else {})


# -- chains -----------------------------------------------------------------------------------------------------


def chains(system: System) -> dict[str, float]:
    """Chains and, in the same run, as many jobs that are tied to nothing: both from the first start to the last.

    One worker of one thread. Every job counts itself, so the end is the start of the last job.
    """
    options = system.options
    jobs = options.jobs * options.steps
    plain = _run(system, jobs, lambda: system.put_counted(range(jobs)))
    chained = _run(system, jobs, lambda: system.put_chains(options.jobs, options.steps))
    return {
        "rate": chained["rate"],
        "plain_rate": plain["rate"],
        "share": chained["rate"] / plain["rate"],
        "cpu_us": chained["cpu_us"],
    }


def _run(system: System, jobs: int, put: Callable[[], None]) -> dict[str, float]:
    """Put jobs, and have a worker run them until so many have started."""
    options = system.options
    for path in [*options.dir.glob("ready-*"), options.dir / "go", mark_of(options, jobs)]:
        path.unlink(missing_ok=True)
    put()
    set_milestones(jobs)
    mark = mark_of(options, jobs)
    with worker_of(system) as worker:
        start, cpu_before = open_gate(worker, options)
        worker.wait_for(mark.exists, "the last job", PATIENCE)
        cpu = cpu_seconds(worker.family()) - cpu_before
    return figures_of(jobs, float(mark.read_text()) - start, cpu)


# -- a chord ----------------------------------------------------------------------------------------------------


def chord(system: System) -> dict[str, float]:
    """A chord whose workers are killed and replaced while its members run; how often its callback runs, with what.

    A callback that does not come in the time that is given has not run: that is a result, not a failure.
    """
    options = system.options
    system.put_chord(options.jobs)
    command = system.worker_alone()
    with Crew(lambda _: command, options.processes, options.dir / "worker.log", system.stop_signal) as crew:
        _until(lambda: len(list(options.dir.glob("ready-*"))) >= options.processes, crew, "the workers")
        begun = time.monotonic()
        (options.dir / "go").touch()
        figures = _watch(system, crew, begun)
    return figures | _callbacks(system, begun)


def _watch(system: System, crew: Crew, begun: float) -> dict[str, float]:
    """Kill workers as long as members run, and look at the workers' memory, until the callback has run."""
    options, memory = system.options, {}
    kills, called = 0, options.dir / "callbacks"
    while not called.exists() and time.monotonic() < begun + options.seconds:
        progress = system.chord_progress()
        for name, share in (("early_mib", 0.1), ("late_mib", 0.9)):
            if progress >= share and name not in memory:
                memory[name] = _largest(crew)
        due = begun + (kills + 1) * options.kill_every
        if options.kill_every > 0 and kills < options.kills and progress < 1 and time.monotonic() >= due:
            crew.replace_one()
            kills += 1
        time.sleep(0.05)
    if "early_mib" in memory and called.exists():
        memory["after_mib"] = _largest(crew)
    time.sleep(AFTERWARDS)
    return {"kills": kills, **memory}


def _largest(crew: Crew) -> float:
    return max(resident_mib(family) for family in crew.families())


def _callbacks(system: System, begun: float) -> dict[str, float]:
    path = system.options.dir / "callbacks"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    figures: dict[str, float] = {"callbacks": len(lines), "count": int(lines[0][0]) if lines else 0}
    if any(int(wrong) for *_, wrong in lines):
        raise SystemExit("the callback got other results than those of its members, or in another order")
    jobs = system.callback_jobs()
    if jobs is not None:
        figures["callback_jobs"] = jobs
    if lines:
        figures["rate"] = system.options.jobs / (float(lines[0][1]) - begun)
    return figures


def _until(reached: Callable[[], bool], crew: Crew, what: str) -> None:
    deadline = time.monotonic() + BEFORE_THE_FIRST
    while not reached():
        if time.monotonic() > deadline or crew.has_lost_one():
            raise GaveUpError(f"waiting for {what}: {crew.last_words()}")
        time.sleep(0.02)


COMMANDS: dict[str, Callable[[System], dict[str, float]]] = {"beats": beats, "chains": chains, "chord": chord}
