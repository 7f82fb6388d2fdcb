"""A worker as a process to be started, looked at and stopped. Reads Linux's /proc; knows no queue."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CPU_CLOCK = 2
"""Linux: of the clocks that a process has, the one that counts what the scheduler gave it."""


class GaveUpError(Exception):
    """A measured process did not do what the measurement waits for."""


class Worker:
    """A worker process and its children, started on entry and gone on exit."""

    def __init__(self, command: Sequence[str], log: Path, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self._command = command
        self._log = log
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Worker":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = self.family()
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            kill_all(family)
            self._process.wait()
        if kind is None and b"Traceback" in self._log.read_bytes():
            raise GaveUpError(f"the worker met errors: {self._last_words()}")

    def family(self) -> list[int]:
        """This process and its descendants, by id."""
        return [self._process.pid, *descendants(self._process.pid)]

    def wait_for(self, reached: Callable[[], bool], what: str, seconds: float, pause: float = 0.005) -> float:
        """Look again every `pause` seconds until it is reached; the monotonic time when it was seen."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise GaveUpError(f"waiting for {what}: {self._last_words()}")
            time.sleep(pause)
        return time.monotonic()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        state = self._process.poll()
        return f"{'still running' if state is None else f'exited with {state}'}; log: {lines[-3:]}"


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = read_stat(stat)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(children.get(root, []))
    for pid in found:  # grows while it is walked: breadth first
        found.extend(children.get(pid, []))
    return found


def read_stat(path: Path) -> list[str]:
    """The fields of a stat file after the process's name; none if the process is gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and of their children that have ended."""
    return sum(_own_seconds(pid) + _children_seconds(pid) for pid in pids)


def _own_seconds(pid: int) -> float:
    """To the nanosecond: the ticks in `stat` are 10 ms, which is some per cent of a run of half a second.

    A process's clock has its id as clock_getcpuclockid(3) makes it of the process's.
    """
    try:
        return time.clock_gettime((~pid << 3) | CPU_CLOCK)
    except OSError:  # the process is gone
        return 0.0


def _children_seconds(pid: int) -> float:
    """Of those children that have ended and were waited for, who have no clock any more."""
    return sum(int(field) for field in read_stat(Path(f"/proc/{pid}/stat"))[13:15]) / TICKS_PER_SECOND


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory, added up; pages shared by two processes count twice."""
    pages = 0
    for pid in pids:
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
