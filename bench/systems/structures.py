"""Worklist's breadth-first search and queue simulation."""

from collections.abc import Callable

import numpy as np

from bench.systems.graph import GAP, SERVICE, WORKERS, grid, run
from worklist import bfs
from worklist.capacity import exponential, simulate, waits


def search(nodes: int) -> Callable[[], float]:
    neighbours = grid(nodes).__getitem__

    def measured() -> float:
        found = 0
        for _ in bfs(0, neighbours):
            found += 1
        return found

    return measured


def queue(jobs: int) -> Callable[[], float]:
    """The drawing of the times, the queue, and the average wait: what simpy is asked for."""

    def measured() -> float:
        chance = np.random.default_rng(1)
        arrivals = np.cumsum(exponential(GAP).draw(chance, jobs))
        return float(waits(arrivals, exponential(SERVICE).draw(chance, jobs), WORKERS).mean())

    return measured


def plan(jobs: int) -> Callable[[], float]:
    """With percentiles and intervals, as `worklist plan` does it."""
    return lambda: simulate(exponential(GAP), exponential(SERVICE), WORKERS, jobs=jobs).wait.value


if __name__ == "__main__":
    run({"search": search, "queue": queue, "plan": plan})
