"""Worklist's lanes, groups, chains and schedules on SQLite, and the measurements that have no peer."""

import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain as joined
from pathlib import Path

from bench.systems.base import Options, System
from bench.systems.commands import BULK, PATIENCE, chunks, open_gate, worker_of
from bench.systems.process import cpu_seconds
from bench.systems.script import main
from bench.systems.worklist import WorklistSystem
from worklist import chain, chord
from worklist.core.outcome import Done
from worklist.core.ports import Filter, LaneChange, Lease, Settlement

QUEUES = ("default",)
RESULT = b"\x00"
LEASE = "2s"
"""Where workers are killed: so long their jobs stay with nobody."""
SMALL, EACH = 99, 10
"""The small tenants, and the jobs of each."""
DUE = 10
"""Of many lanes, so many may be served."""
BURST_SECONDS = 0.02
"""Starts so close together are one burst."""


class Composition(WorklistSystem):
    app_module = "worklist_composition_app"

    def __init__(self, options: Options) -> None:
        os.environ["BENCH_SMALL"] = str(SMALL * EACH)
        if options.kill_every:
            os.environ["WORKLIST_LEASE"] = LEASE
        super().__init__(options)

    def worker(self) -> list[str]:
        """A single process has no parent that would restart it: the measurement does."""
        command = [sys.executable, "-m", "worklist", "worker", f"bench.systems.{self.app_module}:app"]
        many = self.options.processes
        return [*command, "--threads", "1", *(["--processes", str(many)] if many > 1 else [])]

    def put_chains(self, chains: int, steps: int) -> None:
        counted = self._app.counted
        for number in range(chains):
            chain(counted.s(number), *(counted.s() for _ in range(steps - 1))).enqueue()

    def put_chord(self, members: int) -> None:
        member = self._app.member
        end = chord((member.s(number) for number in range(members)), self._app.callback.s()).enqueue()
        ties = self._app.app.environment.codec.decode(self._store.load((end.id,))[0].body).ties
        self._group, self._members = ties.after, members

    def chord_progress(self) -> float:
        return float(self._store.load_groups((self._group,))[0].finished / self._members)

    def callback_jobs(self) -> int:
        return len(self._store.find(Filter(task=self._app.callback.name, limit=1000)))

    def beat(self, number: int) -> list[str]:
        return [sys.executable, "-m", "worklist", "beat", "bench.systems.worklist_beat:app"]

    def ticks(self) -> list[tuple[float, float | None]]:
        """A job's `enqueued` is when it was put, and its `eta` the tick."""
        decode = self._app.app.environment.codec.decode
        return [(it.enqueued, decode(it.body).eta) for it in self._store.find(Filter(limit=100_000))]

    def put_tenants(self, large: int) -> None:
        """One tenant's jobs first, then those of the others."""
        task = self._app.of_tenant
        for chunk in chunks(large, BULK):
            task.enqueue_many(("large", number) for number in chunk)
        task.enqueue_many((f"small {tenant}", number) for tenant in range(SMALL) for number in range(EACH))

    def put_limited(self, jobs: int) -> None:
        self._app.limited.enqueue_many((number,) for number in range(jobs))

    def lease_times(self) -> list[float]:
        """When jobs were taken, which is where the rate is kept."""
        return [it.started for it in self._store.find(Filter(limit=100_000)) if it.started is not None]

    def put_in_lanes(self, lanes: int, jobs: int) -> None:
        """Share jobs out among ten lanes, beside others with a job each that is not due: half by rate, half paused."""
        closed = [f"closed {number}" for number in range(lanes - DUE)]
        self._spend([*closed[::2]])
        for lane in closed[1::2]:
            self._store.change_lane(lane, LaneChange(paused=math.inf))
        for some in chunks(len(closed), BULK):
            self._app.rarely.enqueue_many((closed[number],) for number in some)
        self._app.of_tenant.enqueue_many((f"due {number % DUE}", number) for number in range(jobs))

    def _spend(self, lanes: Sequence[str]) -> None:
        """Have the one job run that the rate of each of these lanes allows in hours."""
        for some in chunks(len(lanes), BULK):
            self._app.rarely.enqueue_many((lanes[number],) for number in some)
        leases = self.exchange((), BULK)
        while leases:
            leases = self.exchange(leases, BULK)

    def exchange(self, leases: Iterable[Lease], limit: int) -> list[Lease]:
        """Settle these and lease the next, as a worker does."""
        done = [Settlement(lease, Done(RESULT)) for lease in leases]
        taken: list[Lease] = self._store.exchange(done, "bench", QUEUES, limit, 60.0)
        return taken


def prepare(system: System) -> dict[str, float]:
    """Fill a queue for `lane-cost`."""
    _own(system).put_in_lanes(system.options.lanes, system.options.jobs)
    return {}


def lane_cost(system: System) -> dict[str, float]:
    """Lease and settle the jobs of a prepared queue through the broker alone: 200 in an exchange, then one by one."""
    composition = _own(system)
    few = system.options.jobs // 5
    composition.exchange(composition.exchange((), 200), 0)  # the file's pages are in memory, and statements prepared
    many = _exchanged(composition, system.options.jobs - 200 - few, 200)
    single = _exchanged(composition, few, 1)
    return {"us": many[0], "cpu_us": many[1], "single_us": single[0], "single_cpu_us": single[1]}


def _exchanged(composition: Composition, jobs: int, limit: int) -> tuple[float, float]:
    """Wall and CPU time of a job, in µs."""
    leases: list[Lease] = []
    left = jobs
    start, cpu = time.perf_counter(), _own_cpu()
    while left > 0:
        leases = composition.exchange(leases, min(limit, left))
        if not leases:
            raise SystemExit(f"{left} jobs were not leased, though their lanes are due")
        left -= len(leases)
    composition.exchange(leases, 0)
    return (time.perf_counter() - start) / jobs * 1e6, (_own_cpu() - cpu) / jobs * 1e6


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def fairness(system: System) -> dict[str, float]:
    """How many jobs a worker has run when the small tenants' last one starts, and how long that took."""
    options = system.options
    began = time.monotonic()
    _own(system).put_tenants(options.jobs)
    put_rate = (options.jobs + SMALL * EACH) / (time.monotonic() - began)
    done = options.dir / "small-done"
    with worker_of(system) as worker:
        start, _ = open_gate(worker, options)
        worker.wait_for(done.exists, "the small tenants", PATIENCE)
    ran, at = done.read_text().split()
    return {"ran": int(ran), "seconds": float(at) - start, "put_rate": put_rate}


def pace(system: System) -> dict[str, float]:
    """Jobs of one lane with a rate, over the time that is given; all are there from the start.

    The rate is kept when jobs are taken; a worker that is late with what it has taken may start them closer together.
    """
    options = system.options
    _own(system).put_limited(options.jobs)
    with worker_of(system) as worker:
        _, cpu_before = open_gate(worker, options)
        time.sleep(options.seconds + 1)
        cpu = cpu_seconds(worker.family()) - cpu_before
    starts = _from_first(map(float, joined.from_iterable(map(_lines, options.dir.glob("starts-*")))), options.seconds)
    leases = _from_first(_own(system).lease_times(), options.seconds)
    windows = _windows(starts, 1.0, options.seconds)
    return {
        "rate": len(starts) / options.seconds,
        "least": min(windows),
        "most": max(windows),
        "burst": max(_windows(starts, BURST_SECONDS, options.seconds)),
        "leased_most": max(_windows(leases, 1.0, options.seconds)),
        "leased_burst": max(_windows(leases, BURST_SECONDS, options.seconds)),
        "cpu_percent": 100 * cpu / (options.seconds + 1),
    }


def _from_first(times: Iterable[float], seconds: float) -> list[float]:
    """Times since the first one, in order, as far as they lie within so many seconds."""
    ordered = sorted(times)
    return [at - ordered[0] for at in ordered if at - ordered[0] < seconds]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _windows(starts: Sequence[float], width: float, seconds: float) -> list[int]:
    """How many starts lie in each window that begins with a start, or just after one, and ends within the time."""
    counts, end = [], 0
    for begin, at in enumerate(starts):
        if at + width > seconds:
            break
        while end < len(starts) and starts[end] < at + width:
            end += 1
        counts.append(end - begin)
        after = end + (end < len(starts) and starts[end] <= at + width)
        counts.append(after - begin - 1)  # just after it: a window without its start
    return counts


def _own(system: System) -> Composition:
    if not isinstance(system, Composition):
        raise SystemExit(f"{type(system).__name__} has no lanes")
    return system


if __name__ == "__main__":
    main(Composition, {"prepare": prepare, "lane-cost": lane_cost, "fairness": fairness, "pace": pace})
