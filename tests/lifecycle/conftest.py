"""Real worker processes on a real file, to be killed, frozen and stopped."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worklist import Worklist

APP = """
import logging, os, time
from worklist import Worklist, current_job

app = Worklist(os.environ["WORKLIST_URL"], lease=float(os.environ.get("LEASE", "1.5")))
LOG = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(what):
    os.write(LOG, f"{what}\\n".encode())   # one write, so lines of several processes never mix

@app.task
def touch(n: int) -> int:
    note(n)
    return n

@app.task
def nap(n: int, seconds: float) -> int:
    note(n)
    time.sleep(seconds)
    return os.getpid()

@app.task
def until_file(n: int, path: str) -> int:
    note(n)
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()

@app.task
async def anap(n: int, seconds: float) -> int:
    import asyncio
    note(n)
    await asyncio.sleep(seconds)
    return n

@app.task
def stepwise(n: int, folder: str) -> int:
    for step in range(n):
        current_job().progress(step, n)
        logging.getLogger("stepwise").warning("step %d", step)
        while not os.path.exists(f"{folder}/{step}"):   # goes on when somebody has made it
            time.sleep(0.01)
    return n

@app.task(process=True)
def stepwise_in_child(n: int, folder: str) -> int:
    return stepwise(n, folder)

@app.task(process=True)
def crash(n: int) -> int:
    note(n)
    os._exit(3)

if __name__ == "__main__":
    import sys
    options = eval(sys.argv[1]) if len(sys.argv) > 1 else {}
    print("ready", flush=True)
    report = app.work(**options)
    print("processed", report.processed, flush=True)
"""


class Place:
    """A folder with an app, the place of its jobs, and a log with one line per run of a task."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, more_tasks: str = "", url: str | None = None
    ) -> None:
        self.folder = folder
        self.module = f"place_{os.getpid()}_{time.monotonic_ns()}"
        self.script = folder / f"{self.module}.py"
        self.script.write_text(APP.replace("if __name__", f"{more_tasks}\nif __name__"))
        self.url = url or f"sqlite:///{folder}/jobs.db"
        self.runs_file = folder / "runs.log"
        self.environment = {**os.environ, "WORKLIST_URL": self.url, "RUNS": str(self.runs_file)}
        self.processes: list[subprocess.Popen[str]] = []
        monkeypatch.setenv("WORKLIST_URL", self.url)
        monkeypatch.setenv("RUNS", str(self.runs_file))
        monkeypatch.syspath_prepend(str(folder))
        self.tasks = __import__(self.module)
        self.app: Worklist = self.tasks.app

    def worker(self, lease: float = 1.5, **options: object) -> subprocess.Popen[str]:
        """Start a worker process and return it once it is up."""
        process = subprocess.Popen(
            [sys.executable, str(self.script), repr(options)],
            env={**self.environment, "LEASE": str(lease)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def runs(self) -> Counter[int]:
        """How often each number was run."""
        return (
            Counter(int(line) for line in self.runs_file.read_text().split()) if self.runs_file.exists() else Counter()
        )

    def counts(self) -> dict[str, int]:
        return {str(state): n for state, n in self.app.inspector.counts().get("default", {}).items()}

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self.app.close()
        os.close(self.tasks.LOG)
        del sys.modules[self.module]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, monkeypatch)
    yield place
    place.end()


def eventually(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)
