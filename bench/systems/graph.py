"""What every contender searches and simulates: the same grid, the same queue. Standard library only."""

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

Grid = dict[int, list[int]]
WORKERS = 50
SERVICE = 0.3
UTILISATION = 0.9
GAP = SERVICE / (WORKERS * UTILISATION)
"""Seconds from one arrival to the next, on average."""


def grid(nodes: int) -> Grid:
    """Return a square grid of about so many nodes, each with its neighbours."""
    side = int(nodes**0.5)
    return {
        y * side + x: [
            v * side + u for u, v in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)) if 0 <= u < side and 0 <= v < side
        ]
        for y in range(side)
        for x in range(side)
    }


def run(commands: dict[str, Callable[[int], Callable[[], float]]]) -> None:
    """Read the command line, prepare, and print the figures of one command as a line of JSON.

    A command is given the size and returns what to measure; that returns a figure by which to see that it was done.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=commands)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--jobs", type=int, required=True)
    arguments = parser.parse_args()
    measured = commands[arguments.command](arguments.jobs)
    gc.collect()
    began, began_cpu = time.perf_counter(), time.process_time()
    check = measured()
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mib": _peak_mib(), "check": check}))


def _peak_mib() -> float:
    """Return the most memory this process has held; getrusage would count that of the parent before the start, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
