"""simpy: a resource with so many places, and a process for each job."""

import random
from collections.abc import Callable, Generator
from typing import Any

import simpy

from bench.systems.graph import GAP, SERVICE, WORKERS, run


def queue(jobs: int) -> Callable[[], float]:
    def measured() -> float:
        chance, waited = random.Random(1), [0.0]
        world = simpy.Environment()
        workers = simpy.Resource(world, WORKERS)

        def job() -> Generator[Any, Any, None]:
            came = world.now
            with workers.request() as turn:
                yield turn
                waited[0] += world.now - came
                yield world.timeout(chance.expovariate(1 / SERVICE))

        def arrivals() -> Generator[Any, Any, None]:
            for _ in range(jobs):
                yield world.timeout(chance.expovariate(1 / GAP))
                world.process(job())

        world.process(arrivals())
        world.run()
        return waited[0] / jobs

    return measured


if __name__ == "__main__":
    run({"queue": queue})
