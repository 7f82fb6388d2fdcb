"""Some processes of one kind, of which one may be killed and replaced at any time. Knows no queue."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from bench.systems.process import descendants, kill_all


class Crew:
    """Processes started on entry and gone on exit. `command` is given how many were started before."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        count: int,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = command
        self._count = count
        self._log = log
        self._stop_signal = stop_signal
        self._processes: list[subprocess.Popen[bytes]] = []
        self.started = 0

    def __enter__(self) -> "Crew":
        for _ in range(self._count):
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + 15
        for process in self._processes:
            process.send_signal(self._stop_signal)
        for process in self._processes:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._kill(process)

    def replace_one(self) -> None:
        """Kill the oldest (SIGKILL) with all its children, and start another one."""
        self._kill(self._processes.pop(0))
        self._start()

    def families(self) -> list[list[int]]:
        """Each process with its descendants, by id."""
        return [[process.pid, *descendants(process.pid)] for process in self._processes]

    def has_lost_one(self) -> bool:
        """Whether one of them has ended by itself."""
        return any(process.poll() is not None for process in self._processes)

    def last_words(self) -> str:
        """The end of what they logged."""
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])

    def _start(self) -> None:
        with self._log.open("ab") as log:
            command = self._command(self.started)
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        self.started += 1

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        kill_all([process.pid, *descendants(process.pid)])
        process.wait()
