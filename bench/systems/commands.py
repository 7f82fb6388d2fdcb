"""The measurements themselves: one function for each, the same for every system.

See `script` for how they are called. Times are in the unit that the name says.
"""

import json
import os
import random
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.systems import servers
from bench.systems.base import Options, System
from bench.systems.process import Worker, cpu_seconds, resident_mib

PATIENCE = 300.0
BATCH = 500
"""Jobs in one call of a batch API."""
BULK = 10_000
"""Jobs in one call when a queue is only being filled."""
REST = 3.0
"""Seconds for what a server does by itself after it was filled."""
WARM_UP = 10
"""First samples of latency that are dropped."""


def enqueue(system: System) -> dict[str, float]:
    """Jobs put one by one, each durable when its call returns, by one thread or by several together."""
    options = system.options
    shares = [range(first, options.jobs, options.threads) for first in range(options.threads)]
    ready = threading.Barrier(options.threads + 1)

    def put_share(share: range) -> None:
        system.enter_thread()
        ready.wait()
        system.put_each(share)

    threads = [threading.Thread(target=put_share, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    with _Clock(options.jobs) as clock:
        ready.wait()
        for thread in threads:
            thread.join()
    return clock.figures()


def enqueue_many(system: System) -> dict[str, float]:
    """Jobs put through the batch API, 500 in a call: a batch such as programs really have."""
    with _Clock(system.options.jobs) as clock:
        for chunk in chunks(system.options.jobs, BATCH):
            system.put_many(chunk)
    return clock.figures()


def take(system: System) -> dict[str, float]:
    """Queued jobs taken and acknowledged by the measuring process: raw queues and the floor."""
    _fill(system)
    with _Clock(system.options.jobs) as clock, ServerClock(system.options) as server:
        taken = system.take_all()
    if taken != system.options.jobs:
        raise SystemExit(f"took {taken} of {system.options.jobs} jobs")
    return server.added_to(clock.figures())


def drain(system: System) -> dict[str, float]:
    """Queued no-op jobs run by the system's own worker, from the first job's start to the last one settled.

    The end is seen in the database from outside, every 5 ms. CPU time is that of the worker and its children
    over the same span, so start and stop of the interpreter are in neither figure.
    """
    options = system.options
    _fill(system)
    with worker_of(system) as worker:
        start, cpu_before = open_gate(worker, options)
        with ServerClock(options) as server:
            end = worker.wait_for(lambda: system.settled() >= options.jobs, "the last job", PATIENCE)
        cpu = cpu_seconds(worker.family()) - cpu_before
        system.check_settled()
    return server.added_to(figures_of(options.jobs, end - start, cpu))


def latency(system: System) -> dict[str, float]:
    """From just before the call that queues a job to its first line, on an idle worker in another process.

    The jobs come at random, 10 to 30 ms apart, so that no poll interval is met in step. Then the worker is
    left alone and its CPU time is taken.
    """
    options = system.options
    system.put(0)
    with worker_of(system) as worker:
        open_gate(worker, options)
        for _ in range(WARM_UP + options.samples):
            time.sleep(random.uniform(0.010, 0.030))
            system.put_stamp(time.monotonic())
        system.put_stamp(-1.0)
        written = options.dir / "delays"
        worker.wait_for(written.exists, "the list of delays", PATIENCE)
        idle = _idle_percent(worker, options)
    return delays_of(json.loads(written.read_text())[WARM_UP:]) | idle


def _idle_percent(worker: Worker, options: Options) -> dict[str, float]:
    if not options.idle:
        return {}
    time.sleep(1.0)
    before = cpu_seconds(worker.family())
    time.sleep(options.idle)
    return {"idle_percent": 100 * (cpu_seconds(worker.family()) - before) / options.idle}


def delays_of(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "least_ms": ordered[0] * 1000,
    }


def memory(system: System) -> dict[str, float]:
    """The worker's resident memory when a tenth of the jobs have run and when all have."""
    options = system.options
    for chunk in chunks(options.jobs, BULK):
        system.put_counted(chunk)
    early = options.jobs // 10
    set_milestones(early, options.jobs)
    with worker_of(system) as worker:
        open_gate(worker, options)
        worker.wait_for(mark_of(options, early).exists, "a tenth of the jobs", PATIENCE, pause=0.02)
        early_mib = resident_mib(worker.family())
        worker.wait_for(mark_of(options, options.jobs).exists, "the last job", PATIENCE, pause=0.02)
        late_mib = resident_mib(worker.family())
    return {"early_mib": early_mib, "late_mib": late_mib, "growth_mib": late_mib - early_mib}


def prepare(system: System) -> dict[str, float]:
    """Fill a queue for `backlog`: the jobs to be measured first, then those behind and those for later."""
    options = system.options
    with _Clock(options.jobs + options.behind + options.delayed) as clock:
        for chunk in chunks(options.jobs + options.behind, BULK):
            system.put_counted(chunk)
        for chunk in chunks(options.delayed, BULK):
            system.put_counted(chunk, delay=3600.0)
    return clock.figures()


def backlog(system: System) -> dict[str, float]:
    """The first jobs of a queue that `prepare` filled, until the last of them starts; the rest stays."""
    options = system.options
    set_milestones(options.jobs)
    mark = mark_of(options, options.jobs)
    with worker_of(system) as worker:
        start, cpu_before = open_gate(worker, options)
        with ServerClock(options) as server:
            worker.wait_for(mark.exists, "the last measured job", PATIENCE)
        cpu = cpu_seconds(worker.family()) - cpu_before
    return server.added_to(figures_of(options.jobs, float(mark.read_text()) - start, cpu))


def beside(system: System) -> dict[str, float]:
    """`prepare` and `backlog` in one, for queues whose place cannot be copied."""
    put = prepare(system)
    if system.options.behind + system.options.delayed >= BULK:
        time.sleep(REST)
    return backlog(system) | {"put_rate": put["rate"]}


COMMANDS: dict[str, Callable[[System], dict[str, float]]] = {
    "enqueue": enqueue,
    "enqueue-many": enqueue_many,
    "take": take,
    "drain": drain,
    "latency": latency,
    "memory": memory,
    "prepare": prepare,
    "backlog": backlog,
    "beside": beside,
}


class _Clock:
    """Times its block and the CPU of this process in it."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __enter__(self) -> "_Clock":
        self._cpu = _own_cpu()
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.monotonic() - self._start
        self._cpu = _own_cpu() - self._cpu

    def figures(self) -> dict[str, float]:
        return figures_of(self._jobs, self._seconds, self._cpu)


class ServerClock:
    """Takes the CPU time of a measurement's servers in its block; nothing where it has none."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._seconds = 0.0

    def __enter__(self) -> "ServerClock":
        self._before = cpu_seconds(servers.family(self._options))
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = cpu_seconds(servers.family(self._options)) - self._before

    def added_to(self, figures: dict[str, float]) -> dict[str, float]:
        if not self._options.server:
            return figures
        server = self._seconds / self._options.jobs * 1e6
        return figures | {"server_us": server, "both_us": figures["cpu_us"] + server}


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def figures_of(jobs: int, seconds: float, cpu: float) -> dict[str, float]:
    return {"rate": jobs / seconds, "seconds": seconds, "cpu_us": cpu / jobs * 1e6}


def chunks(jobs: int, size: int) -> Iterator[Sequence[int]]:
    for first in range(0, jobs, size):
        yield range(first, min(first + size, jobs))


def _fill(system: System) -> None:
    for chunk in chunks(system.options.jobs, BULK):
        system.put_many(chunk)


def worker_of(system: System) -> Worker:
    return Worker(system.worker(), system.options.dir / "worker.log", system.stop_signal)


def open_gate(worker: Worker, options: Options) -> tuple[float, float]:
    """Wait until each process holds its first job, then let go; the time and the CPU spent until then."""
    worker.wait_for(
        lambda: len(list(options.dir.glob("ready-*"))) >= options.processes,
        "the worker's processes",
        60,
        pause=0.02,
    )
    cpu = cpu_seconds(worker.family())
    start = time.monotonic()
    (options.dir / "go").touch()
    return start, cpu


def set_milestones(*counts: int) -> None:
    os.environ["BENCH_MILESTONES"] = ",".join(str(count) for count in counts)


def mark_of(options: Options, count: int) -> Path:
    return options.dir / f"mark-{count}"
