"""The worker's side of a measurement: what the measured tasks call.

It may know nothing of any queue. The tasks of every system call the same few lines, so that the cost of being
measured (one attribute read a job) is the same for all.
"""

import json
import os
import time
from pathlib import Path


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
