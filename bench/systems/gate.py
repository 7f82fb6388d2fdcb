"""The worker's side of a measurement: what the measured tasks call.

It may know nothing of any queue. The tasks of every system call the same few lines, so that the cost of being
measured (one attribute read a job) is the same for all.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO


class Gate:
    """Holds a worker's first jobs until every process of that worker is up and the clock runs.

    A rate then holds neither the interpreter's start nor the wait for a slower second process. A system that
    leases ahead has its first batch in hand when the gate opens; that is 1 % or so of the jobs of a run.
    """

    def __init__(self) -> None:
        self.open = False

    def wait(self) -> None:
        """Say that this process is ready; return when the measuring process has said go."""
        folder = Path(os.environ["BENCH_DIR"])
        (folder / f"ready-{os.getpid()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
        self.open = True


class Counter:
    """Counts calls in one thread and leaves a file with the time at each milestone."""

    def __init__(self) -> None:
        self._calls = 0
        self._ahead = [int(part) for part in os.environ.get("BENCH_MILESTONES", "").split(",") if part]

    def count(self) -> None:
        self._calls += 1
        if self._ahead and self._calls == self._ahead[0]:
            write_whole(Path(os.environ["BENCH_DIR"]) / f"mark-{self._ahead.pop(0)}", str(time.monotonic()))


class Delays:
    """Gathers the time from a stamp taken by the caller to the start of the job that carries it.

    The monotonic clock of Linux is one clock for all processes. A negative stamp asks for the list itself.
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, stamp: float) -> None:
        now = time.monotonic()
        if stamp >= 0:
            self._seconds.append(now - stamp)
        else:
            write_whole(Path(os.environ["BENCH_DIR"]) / "delays", json.dumps(self._seconds))


def write_whole(path: Path, text: str) -> None:
    """Write so that a reader sees either no file or the complete one."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


class Tenants:
    """Counts the jobs of a worker until those of the small tenants are done, and leaves a file with the number."""

    def __init__(self) -> None:
        self._all = 0
        self._left = int(os.environ.get("BENCH_SMALL", "0"))

    def count(self, small: bool) -> None:
        self._all += 1
        self._left -= small
        if small and not self._left:
            write_whole(Path(os.environ["BENCH_DIR"]) / "small-done", f"{self._all} {time.monotonic()}")


class Starts:
    """Notes when jobs start, in a file for each process."""

    def __init__(self) -> None:
        self._file: TextIO | None = None

    def note(self) -> None:
        now = time.monotonic()
        if self._file is None:
            self._file = (Path(os.environ["BENCH_DIR"]) / f"starts-{os.getpid()}").open("a", buffering=1)
        self._file.write(f"{now}\n")


def called_back(results: Iterable[int]) -> None:
    """What a chord's callback does: leave a line with the number of results and the time."""
    got = list(results)
    wrong = got != list(range(len(got)))
    line = f"{len(got)} {time.monotonic()} {int(wrong)}\n"
    with (Path(os.environ["BENCH_DIR"]) / "callbacks").open("a") as file:
        file.write(line)
