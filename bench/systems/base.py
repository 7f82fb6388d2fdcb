"""What a system under test has to offer, and the options that one measurement is run with."""

import copy
import os
import signal
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """One measurement. The same options reach the worker through the environment, see `settings`."""

    dir: Path
    """A fresh folder; the database and all marks lie in it."""
    jobs: int = 1000
    threads: int = 1
    processes: int = 1
    results: str = "all"
    """Whether what a task returns is kept: all or none."""
    durability: str = "normal"
    """SQLite's synchronous setting, in WAL. Each survives a killed process; a power cut takes nothing with
    full, the last commits with normal, and may spoil the file with off."""
    tuned: bool = True
    """The system's fastest polling and batching; otherwise as installed."""
    behind: int = 0
    """Jobs queued behind those that are measured."""
    delayed: int = 0
    """Jobs that wait for a later hour beside those that are measured."""
    steps: int = 5
    """Jobs in a chain."""
    lanes: int = 10
    """Lanes of a queue that is prepared, of which ten are due."""
    seconds: float = 60.0
    """For how long is looked: at beats, at the pace of a lane; for a callback at most."""
    kill_every: float = 0.0
    """Seconds between two kills (SIGKILL) of a process, which is replaced at once; 0: none is killed."""
    late: bool = False
    """Acknowledge late, where that is a setting."""
    kills: int = 1_000_000
    """How many are killed at most."""
    samples: int = 200
    idle: float = 10.0
    """Seconds over which an idle worker's CPU time is taken; 0: it is not."""
    batch: int = 200
    """Jobs that a worker takes at a time, where that is a setting."""
    pool: str = ""
    """Which kind of worker, where there are several."""
    server: str = ""
    """What it runs on, if not a file: redis, postgresql or rabbitmq. The rest is filled in once that runs."""
    url: str = ""
    results_url: str = ""
    """A database of Redis for results, where they lie apart."""
    server_pids: str = ""

    @property
    def database(self) -> Path:
        return self.dir / "queue.db"

    def publish(self) -> None:
        """Hand the options to the app module, here and in the worker."""
        for name, value in asdict(self).items():
            os.environ[f"BENCH_{name.upper()}"] = str(value)


def settings() -> Options:
    """The options of the measurement that this process belongs to, for an app module."""
    read = os.environ.get
    return Options(
        dir=Path(read("BENCH_DIR", ".")),
        threads=int(read("BENCH_THREADS", "1")),
        results=read("BENCH_RESULTS", "all"),
        durability=read("BENCH_DURABILITY", "normal"),
        tuned=read("BENCH_TUNED", "True") == "True",
        late=read("BENCH_LATE", "False") == "True",
        processes=int(read("BENCH_PROCESSES", "1")),
        batch=int(read("BENCH_BATCH", "200")),
        pool=read("BENCH_POOL", ""),
        server=read("BENCH_SERVER", ""),
        url=read("BENCH_URL", ""),
        results_url=read("BENCH_RESULTS_URL", ""),
    )


class System:
    """A queue, opened in the measuring process. What a system does not override, it is not measured in."""

    stop_signal = signal.SIGTERM

    def __init__(self, options: Options) -> None:
        self.options = options

    def enter_thread(self) -> None:
        """Called in each thread that will put, before the clock runs: open what that thread needs."""

    def put(self, number: int) -> None:
        """Queue one no-op job. Called from several threads at once."""
        raise NotImplementedError

    def put_each(self, numbers: Sequence[int]) -> None:
        """Queue no-op jobs one by one, in a thread or an event loop of a user of this system."""
        for number in numbers:
            self.put(number)

    def put_many(self, numbers: Sequence[int]) -> None:
        """Queue no-op jobs in the system's own way for many; one by one where it has none."""
        for number in numbers:
            self.put(number)

    def put_counted(self, numbers: Sequence[int], delay: float = 0) -> None:
        """Queue jobs that count themselves in the worker, see `gate.Counter`."""
        raise NotImplementedError

    def put_stamp(self, stamp: float) -> None:
        """Queue a job that compares this stamp with its own start, see `gate.Delays`."""
        raise NotImplementedError

    def worker(self) -> list[str]:
        """The command of the system's own worker."""
        raise NotImplementedError

    def worker_alone(self) -> list[str]:
        """The command of a worker that is one process, of which the measurement starts as many as it wants."""
        alone = copy.copy(self)
        alone.options = replace(self.options, processes=1)
        return alone.worker()

    def settled(self) -> int:
        """How many jobs have reached their end in the database. Asked every 5 ms, so it has to be cheap."""
        raise NotImplementedError

    def check_settled(self) -> None:
        """Called after the clock: raise SystemExit if what `settled` took for the end was none."""

    def put_chains(self, chains: int, steps: int) -> None:
        """Queue chains of jobs that count themselves."""
        raise NotImplementedError

    def put_chord(self, members: int) -> None:
        """Queue a chord of jobs that return their number; its callback is `gate.called_back`."""
        raise NotImplementedError

    def chord_progress(self) -> float:
        """How much of the chord has ended, from 0 to 1; 0 throughout where that cannot be seen from outside."""
        return 0.0

    def callback_jobs(self) -> int | None:
        """How many jobs of the callback were ever put, where that can be seen."""
        return None

    def beat(self, number: int) -> list[str]:
        """The command of the beat that is started as the n-th; its schedule has a job every second."""
        raise NotImplementedError

    def ticks(self) -> list[tuple[float, float | None]]:
        """The jobs that beats have put: when, and for which time where they know it; unix seconds."""
        raise NotImplementedError

    def take_all(self) -> int:
        """Raw queues have no worker: take and acknowledge every job here; how many there were."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what was opened."""


class Reader:
    """A connection that only looks, for `System.settled`. Opens at the first look, when the file is there."""

    def __init__(self, database: Path) -> None:
        self._database = database

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        place = f"file:{self._database}?mode=ro"
        return sqlite3.connect(place, uri=True, isolation_level=None, timeout=10)

    def number(self, query: str) -> int:
        """The one number that the query asks for; 0 if it finds no row."""
        row = self._connection.execute(query).fetchone()
        return int(row[0] or 0) if row else 0
