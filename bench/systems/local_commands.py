"""The measurements of queues in one machine's memory: one function for each, the same for every system.

A script of a system ends in `main(threads, processes)`, a dictionary each of its kinds of queue by name. It is called
like those of `commands` and prints one line of JSON.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Any, Protocol

BATCH = 100
"""Values in one call of a batch API."""
VALUES: dict[str, Callable[[int], object]] = {"int": lambda n: 12345 + n, "1kib": lambda n: bytes([n]) * 1024}
"""The n-th value of a batch. All differ: a pickle holds an object that comes again only once."""


class Threads(Protocol):
    """Five threads that run functions, started on entry; all work is done on exit."""

    def __enter__(self) -> Callable[[Callable[[], None]], object]:
        """Return the call that hands a function over."""
        ...

    def __exit__(self, *_: object) -> None: ...


class Processes(Protocol):
    """A queue between processes."""

    def put(self, value: object) -> None: ...
    def get(self) -> object: ...
    def put_many(self, values: list[object]) -> None: ...
    def get_many(self) -> list[object]:
        """Take at most BATCH values."""
        ...


def noop() -> None:
    """Stands for the task."""


def run_tasks(kind: Callable[[], Threads], count: int) -> float:
    """No-op tasks, from the first that is handed over until all have ended and the threads too; seconds."""
    start = time.perf_counter()
    with kind() as hand_over:
        for _ in range(count):
            hand_over(noop)
    return time.perf_counter() - start


def pass_values(kind: Callable[[], Processes], count: int, make: Callable[[int], object], batches: bool) -> float:
    """Values from a child process to this one, from the child's first put to the last get here; seconds."""
    queue = kind()
    context = multiprocessing.get_context("fork")
    ready, go = context.Event(), context.Event()
    child = context.Process(target=_put_all, args=(queue, count, make, batches, ready, go))
    child.start()
    ready.wait()
    start = time.perf_counter()
    go.set()
    taken = 0
    while taken < count:
        if batches:
            taken += len(queue.get_many())
        else:
            queue.get()
            taken += 1
    seconds = time.perf_counter() - start
    child.join()
    return seconds


def _put_all(
    queue: Processes, count: int, make: Callable[[int], object], batches: bool, ready: Event, go: Event
) -> None:
    values = [make(number) for number in range(BATCH)]
    ready.set()
    go.wait()
    for _ in range(count // BATCH):
        if batches:
            queue.put_many(values)
        else:
            for value in values:
                queue.put(value)


def main(threads: dict[str, Callable[[], Any]], processes: dict[str, Callable[[], Any]]) -> None:
    """Run one command for one kind of queue and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("tasks", "values"))
    parser.add_argument("--dir", help="not used: nothing is written")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--kind", choices=[*threads, *processes], required=True)
    parser.add_argument("--value", choices=VALUES, default="int")
    parser.add_argument("--batches", action="store_true")
    options = parser.parse_args()
    if options.command == "tasks":
        seconds = run_tasks(threads[options.kind], options.jobs)
    else:
        seconds = pass_values(processes[options.kind], options.jobs, VALUES[options.value], options.batches)
    print(json.dumps({"rate": options.jobs / seconds, "seconds": seconds}))
