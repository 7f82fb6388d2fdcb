"""Every function of Python's standard library, measured by several worker processes, one of which is killed.

One job for each source file, on one SQLite file in a temporary folder; `worklist worker --processes 3` does them.
Half-way this script kills a worker with SIGKILL. At the end it counts, from the records: no job may be lost.
Then the same library is served as a site on this machine, and crawled.
"""

import argparse
import contextlib
import os
import platform
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from demo_crawl import crawl_library
from demo_screen import Ending, Screen, show_ending, show_failures, show_longest
from rich.console import Console

from worklist import JobHandle, JobState, Worklist
from worklist.core.job import JobId, JobRecord
from worklist.core.ports import Filter, WorkerInfo

if TYPE_CHECKING:
    from stdlib_functions import Findings

HERE = Path(__file__).parent
LIBRARY = Path(sysconfig.get_paths()["stdlib"])
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 180.0
CHUNK = 500
PIPE_WIDTH = 120


def main() -> int:
    """Run the demo; return the exit code."""
    options = arguments()
    signal.signal(signal.SIGTERM, interrupt)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    try:
        with temporary_place():
            return run(console, options)
    except KeyboardInterrupt:
        console.print("\nstopped; the workers have ended and nothing is left behind", style="yellow")
        return 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure every function of the standard library.")
    parser.add_argument("--files", type=int, default=None, help="only so many files (default: all)")
    parser.add_argument("--processes", type=int, default=3, help="worker processes (default: 3)")
    return parser.parse_args()


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def temporary_place() -> Iterator[None]:
    """Have the app keep its jobs in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="worklist-demo-") as folder:
        os.environ["WORKLIST_URL"] = f"sqlite:///{folder}/jobs.db"
        yield


def run(console: Console, options: argparse.Namespace) -> int:
    from stdlib_functions import app, longest_functions  # noqa: PLC0415 - it reads $WORKLIST_URL

    files = source_files(options.files)
    title = f"{len(files):,} files of Python {platform.python_version()}'s library, one job each, on one SQLite file"
    with app:
        with Screen(console, title, len(files), options.processes) as screen, workers(options.processes) as fleet:
            handles = longest_functions.enqueue_many((str(file),) for file in files)
            watch(app, fleet, screen, len(handles))
            seconds = screen.seconds
        code = report(console, app, handles, seconds)
    return crawl_library(console, LIBRARY, files) or code


def source_files(limit: int | None) -> list[Path]:
    """Return the library's files in a shuffled order that is always the same, so that the pace is even."""
    outside = {"site-packages", "dist-packages", "__pycache__"}
    files = sorted(file for file in LIBRARY.rglob("*.py") if not outside & set(file.parts))
    random.Random(7).shuffle(files)
    return files[:limit]


# -- the workers --------------------------------------------------------------------------------------------------


class Fleet:
    """The worker processes: a parent that the command line started, and its children."""

    def __init__(self, parent: "subprocess.Popen[str]") -> None:
        self.parent = parent
        self.killed: set[int] = set()
        self.orphans: list[JobId] = []
        """Jobs of the killed worker that still wait for its lease to lapse."""
        self.said: deque[str] = deque()
        """Lines of the parent that nobody has read yet."""

    def listen(self) -> None:
        """Collect what the parent says (a thread of its own)."""
        for line in self.parent.stderr or ():
            self.said.append(line.rstrip())

    def alive(self, app: Worklist) -> list[WorkerInfo]:
        """Return those that serve."""
        return [worker for worker in app.inspector.workers() if worker.pid not in self.killed]

    def kill(self, victim: WorkerInfo, app: Worklist) -> None:
        """Kill a worker without a warning, and note which jobs it held."""
        os.kill(victim.pid, KILL)
        self.killed.add(victim.pid)
        running = app.inspector.find(Filter(state=JobState.RUNNING, limit=10_000))
        self.orphans = [record.id for record in running if record.worker == victim.id]

    def orphans_are_back(self, app: Worklist) -> bool:
        """Return, once, whether all jobs of the killed worker have been taken back from it."""
        if not self.orphans or not all(record and record.lost for record in app.load(self.orphans)):
            return False
        self.orphans = []
        return True


@contextlib.contextmanager
def workers(processes: int) -> Iterator[Fleet]:
    """Run `worklist worker --processes N` for as long as the block lasts."""
    command = [sys.executable, "-m", "worklist", "worker", "stdlib_functions:app", "--threads=1", "--quiet"]
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    parent = subprocess.Popen(
        [*command, f"--processes={processes}"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    fleet = Fleet(parent)
    threading.Thread(target=fleet.listen, daemon=True).start()
    try:
        yield fleet
    finally:
        end(parent)


def end(parent: "subprocess.Popen[str]") -> None:
    """End the parent, which ends its children; a second Ctrl-C cannot keep that from happening."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        parent.terminate()
        parent.wait(timeout=10)
    except subprocess.TimeoutExpired:
        parent.kill()
        parent.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def watch(app: Worklist, fleet: Fleet, screen: Screen, total: int) -> None:
    """Show how it goes until every job has ended; kill one worker half-way."""
    ended = 0
    while ended < total:
        time.sleep(LOOK_SECONDS)
        counts, alive = app.inspector.counts().get("default", {}), fleet.alive(app)
        ended = sum(number for state, number in counts.items() if state.finished)
        screen.update(counts, ended, len(alive))
        while fleet.said:
            screen.tell(fleet.said.popleft().split(maxsplit=2)[-1], "cyan")
        if alive and not fleet.killed and total / 2 <= ended < total:
            kill_one(app, fleet, screen, alive)
        if fleet.orphans_are_back(app):
            screen.tell("its jobs are back in the queue, for the others to do", "cyan")
        if fleet.parent.poll() is not None:
            raise SystemExit("the workers have ended early; " + " ".join(fleet.said))
        if screen.seconds > PATIENCE_SECONDS:
            screen.tell(f"{total - ended} jobs had not ended after {PATIENCE_SECONDS:g} s", "red")
            return


def kill_one(app: Worklist, fleet: Fleet, screen: Screen, alive: Sequence[WorkerInfo]) -> None:
    victim = max(alive, key=lambda worker: worker.processed)
    fleet.kill(victim, app)
    held = f"{len(fleet.orphans)} job" + "s" * (len(fleet.orphans) != 1)
    screen.tell(
        f"killed worker pid {victim.pid} with SIGKILL, {held} in its hands; its lease lapses in {app.lease:g} s",
        "bold red",
    )


# -- the end ------------------------------------------------------------------------------------------------------


def report(console: Console, app: Worklist, handles: "Sequence[JobHandle[Findings]]", seconds: float) -> int:
    """Count from the records what became of every job, and show it; return the exit code."""
    records = [record for start in range(0, len(handles), CHUNK) for record in load(app, handles[start:][:CHUNK])]
    known = [record for record in records if record is not None]
    ending = Ending(
        jobs=len(handles),
        done=sum(record.state is JobState.SUCCEEDED for record in known),
        failed=sum(record.state is JobState.FAILED for record in known),
        redelivered=sum(record.lost > 0 for record in known),
        lost=len(handles) - sum(record.state.finished for record in known),
        seconds=seconds,
    )
    done = {record.id for record in known if record.state is JobState.SUCCEEDED}
    findings = [handle.result(timeout=0) for handle in handles if handle.id in done]
    show_failures(console, [reason_of(app, record) for record in known if record.state is JobState.FAILED])
    show_longest(console, headline(findings), longest_of(findings))
    show_ending(console, ending)
    return 1 if ending.lost else 0


def load(app: Worklist, handles: "Sequence[JobHandle[Findings]]") -> list[JobRecord | None]:
    return app.load([handle.id for handle in handles])


def headline(findings: "Sequence[Findings]") -> str:
    functions, lines = sum(f.functions for f in findings), sum(f.lines for f in findings)
    return f"The ten longest of {functions:,} functions in {lines:,} lines"


def longest_of(findings: "Sequence[Findings]") -> list[tuple[int, str, str]]:
    functions = [function for of_file in findings for function in of_file.longest]
    functions.sort(key=lambda function: (-function.length, function.file))
    return [(f.length, f.name, f"{short(f.file)}:{f.line}") for f in functions[:10]]


def reason_of(app: Worklist, record: JobRecord) -> tuple[str, str]:
    """Return a failed job's file, and what its function raised."""
    job = app.environment.codec.decode(record.body)
    (file,), _ = app.tasks[record.task].signature.decode(job.args)
    error = record.errors[-1]
    return short(file), f"{error.type}: {error.message.replace(str(LIBRARY) + os.sep, '')}"


def short(file: str) -> str:
    return str(Path(file).relative_to(LIBRARY))


if __name__ == "__main__":
    sys.exit(main())
