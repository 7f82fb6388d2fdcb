"""`python -m bench.beats`: a schedule every second, several beats, one of them killed every few seconds; then count.

Worklist runs five. Celery's documentation asks for one beat, so it is shown with one that is started again when it is
killed, and with five. Huey cannot take part: its crontab has no step below a minute, and of its consumers only one may
have a scheduler. What a beat puts is looked at where it lies; nothing runs the jobs.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path

from bench import venvs
from worklist import Worklist
from worklist.core.ports import Filter

WORKLIST = """
import sys
from worklist import Worklist
app = Worklist(f"sqlite:///{sys.argv[1]}/jobs.db")
@app.task(name="tick")
def tick() -> None: ...
app.every("1s", overlap=True)(tick)
app.make_beat().run()
"""
CELERY = """
import sys
from celery import Celery
folder, state = sys.argv[1:]
app = Celery(broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": state}
app.conf.beat_schedule = {"tick": {"task": "tick", "schedule": 1.0}}
app.Beat(schedule=f"{state}/schedule", loglevel="ERROR", quiet=True, no_color=True).run()
"""


@dataclass(frozen=True)
class Figures:
    """What was put in the time that was looked at."""

    seconds: int
    kills: int
    per_second: list[int]
    """Jobs put in each second, or, where jobs know their fire time, for each."""
    late: list[float]
    """How late each was put; empty where a job does not know its fire time."""
    gap: float
    """The longest time without a job."""

    def row(self, name: str) -> str:
        """One line of the table."""
        late = f"{statistics.median(self.late) * 1000:.0f} / {max(self.late) * 1000:.0f}" if self.late else "–"
        none, more = sum(n == 0 for n in self.per_second), sum(max(0, n - 1) for n in self.per_second)
        jobs = sum(self.per_second)
        return f"| {name} | {self.kills} | {self.seconds} | {jobs} | {none} | {more} | {self.gap:.2f} | {late} |"


class Beats:
    """Some beat processes; the oldest is killed and a new one started."""

    def __init__(self, command: Callable[[int], list[str]], count: int) -> None:
        self._command = command
        self._started = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        self._processes.append(subprocess.Popen(self._command(self._started), stdout=subprocess.DEVNULL))
        self._started += 1

    def replace_one(self) -> None:
        self._kill()
        self._start()

    def _kill(self) -> None:
        process = self._processes.pop(0)
        process.kill()
        process.wait()

    def end(self) -> None:
        while self._processes:
            self._kill()


def measure(
    command: Callable[[int], list[str]], count: int, seconds: int, kill_every: float, put: Callable[[], Sized]
) -> tuple[float, int]:
    """Run beats for so long from their first job; return when that was, by their clock, and the number of kills."""
    beats, kills = Beats(command, count), 0
    try:
        patience = time.monotonic() + 60
        while len(put()) < count:
            if time.monotonic() > patience:
                raise SystemExit("the beats put nothing")
            time.sleep(0.05)
        begun = float(int(time.time()) + 1)
        while (left := begun + seconds + 2 - time.time()) > 0:
            time.sleep(min(left, kill_every))
            if time.time() < begun + seconds:
                beats.replace_one()
                kills += 1
    finally:
        beats.end()
    return begun, kills


def worklist(seconds: int, kill_every: float, count: int = 5) -> Figures:
    """Beats on one SQLite file; a job's due time is when it was put, its `eta` the tick."""
    with tempfile.TemporaryDirectory() as folder, Worklist(f"sqlite:///{folder}/jobs.db") as app:
        (Path(folder) / "beat.py").write_text(WORKLIST)

        def put() -> list[tuple[float, float]]:
            records = app.inspector.find(Filter(limit=100_000))
            return sorted((app.environment.codec.decode(it.body).eta or 0.0, it.enqueued) for it in records)

        command = [sys.executable, f"{folder}/beat.py", folder]
        begun, kills = measure(lambda _: command, count, seconds, kill_every, put)
        ticks = [(at, when) for at, when in put() if begun <= at < begun + seconds]
    counts = [sum(at == begun + n for at, _ in ticks) for n in range(seconds)]
    return Figures(seconds, kills, counts, [when - at for at, when in ticks], _gap([when for _, when in ticks]))


def celery(seconds: int, kill_every: float, count: int) -> Figures:
    """Beats on one folder of messages, each with its own file of state, as one on each machine would have."""
    venvs.ensure("celery")
    with tempfile.TemporaryDirectory() as folder:
        messages = Path(folder) / "messages"
        messages.mkdir()
        (Path(folder) / "beat.py").write_text(CELERY)

        def command(number: int) -> list[str]:
            state = Path(folder) / f"state-{number % count}"
            state.mkdir(exist_ok=True)
            return [str(venvs.python_for("celery")), f"{folder}/beat.py", str(messages), str(state)]

        def put() -> list[float]:
            return sorted(file.stat().st_mtime for file in messages.glob("*.msg"))

        begun, kills = measure(command, count, seconds, kill_every, put)
        times = [at for at in put() if begun <= at < begun + seconds]
    counts = [sum(int(at - begun) == n for at in times) for n in range(seconds)]
    return Figures(seconds, kills, counts, [], _gap(times))


def _gap(times: list[float]) -> float:
    return max(after - before for before, after in itertools.pairwise(times))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.beats", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for how long each is looked at (60)")
    parser.add_argument("--kill-every", type=float, default=5.0, help="seconds between two kills (5)")
    arguments = parser.parse_args()
    print("| beats | killed | seconds | jobs | seconds without | too many | longest gap, s | late, median / most, ms |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    print(worklist(arguments.seconds, arguments.kill_every).row("Worklist, 5"), flush=True)
    print(celery(arguments.seconds, arguments.kill_every, 1).row("Celery, 1, started again at once"), flush=True)
    print(celery(arguments.seconds, arguments.kill_every, 5).row("Celery, 5"), flush=True)


if __name__ == "__main__":
    main()
