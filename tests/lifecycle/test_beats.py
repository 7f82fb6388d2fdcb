"""Five beats on one file, killed in turns: each fire time gives one job all the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worklist import Worklist
from worklist.core.codec import Codec
from worklist.core.ports import Filter

from .conftest import eventually

BEAT = """
import sys
from worklist import Worklist

app = Worklist(sys.argv[1])

@app.task(name="tick")
def tick() -> None: ...

app.every("1s", overlap=True)(tick)
beat = app.make_beat()
beat.once()
print("ready", flush=True)
beat.run()
"""
BEATS = 5
LATE = 10.0
"""Seconds, for a machine that is busy with other tests; how late a tick is, bench/composition.py measures."""


class Beats:
    """Beat processes on one file."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "beat.py"
        self.script.write_text(BEAT)
        self.app = Worklist(f"sqlite:///{folder}/jobs.db")
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, str(self.script), self.app.url], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Kill the one that has lived longest."""
        process = self.processes.pop(0)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def ticks(self) -> list[tuple[float, float]]:
        """The fire times of all jobs, with the times at which they were put."""
        records = self.app.inspector.find(Filter(limit=10_000, newest_first=False))
        return sorted((Codec().decode(record.body).eta or 0.0, record.enqueued) for record in records)

    def end(self) -> None:
        while self.processes:
            self.kill()
        self.app.close()


@pytest.fixture
def beats(tmp_path: Path) -> Iterator[Beats]:
    beats = Beats(tmp_path)
    yield beats
    beats.end()


def test_each_tick_gives_one_job_while_beats_are_killed(beats: Beats) -> None:
    for _ in range(BEATS):
        beats.start()
    for kills in range(1, 6):
        eventually(lambda kills=kills: len(beats.ticks()) >= 2 * kills)
        beats.kill()
        beats.start()
    found = beats.ticks()
    times = [at for at, _ in found]
    assert times == [times[0] + n for n in range(len(times))], "a tick was lost, or put twice"
    assert all(0 <= put - at < LATE for at, put in found)


def test_the_last_beat_alive_is_enough(beats: Beats) -> None:
    for _ in range(3):
        beats.start()
    beats.kill()
    beats.processes[0].send_signal(signal.SIGSTOP)
    already = len(beats.ticks())
    eventually(lambda: len(beats.ticks()) >= already + 2)
    beats.processes[0].send_signal(signal.SIGCONT)
    seen: Any = beats.ticks()
    eventually(lambda: len(beats.ticks()) >= len(seen) + 2)
    times = [at for at, _ in beats.ticks()]
    assert times == [times[0] + n for n in range(len(times))], "the one that was frozen put a tick again"
