"""Many jobs on a server, and workers that reach it through a proxy, while something goes wrong.

Two witnesses that are not Worklist's say what became of the jobs: each run adds a line to a file, and the server's own
journal (tests/servers/places.py) has each settle.
"""

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.places import RUN, Place, PostgresPlace, RabbitPlace, RedisPlace
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import virtual_host
from tests.servers.redis import DURABLE, Server
from worklist import Worklist
from worklist.core.errors import BrokerUnavailable

from .conftest import Place as AppPlace
from .conftest import eventually

JOBS = 20_000
LEASE = 5.0
IN_FLIGHT = 500
"""How many jobs a worker may hold: eight that run, up to 400 ahead, and on RabbitMQ what was pushed meanwhile."""
EXTRA = 999_999
"""The number of the jobs that are put beside those that are counted."""
LINE = 29
"""Bytes of a line in the log of runs."""
DRAIN_SECONDS = 240.0
TASK = """
@app.task(redeliveries=50)
def work(n: int, nap: float) -> str:
    run = f"{os.getpid():08d}.{os.urandom(6).hex()}"
    note(f"{n:06d} {run}")
    time.sleep(nap)
    return run
"""


class Fleet:
    """Jobs at a place, and workers that reach it as `url` says: by default through the `proxy`."""

    def __init__(self, place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str | None = None) -> None:
        self.place = place
        self.server = place.server
        self.proxy = Proxy(self.server.port)
        url = url or place.url_at(self.proxy.port)
        self.url = f"{url}{'&' if '?' in url else '?'}timeout=4"
        if place.results is not None:
            monkeypatch.setenv("WORKLIST_RESULTS", f"sqlite:///{place.results}")
        self.app_place = AppPlace(folder, monkeypatch, TASK, self.url)
        self.tasks = self.app_place.tasks
        self.app: Worklist = self.app_place.app
        self.jobs = 0
        self._watched = False
        self._ended = 0
        self.handles: list[Any] = []
        self.workers: list[subprocess.Popen[str]] = []

    def put(self, jobs: int = JOBS, nap: float = 0.002, delays: Sequence[float] = (0.0,), at_once: int = JOBS) -> None:
        """Put jobs that take `nap` seconds each, as many after each of the delays, so many `at_once`."""
        share = jobs // len(delays)
        for n in range(0, jobs, min(share, at_once)):
            some = [(m, nap) for m in range(n, min(n + share, n + at_once))]
            self.handles += self.tasks.work.using(delay=delays[n // share]).enqueue_many(some)
        self.jobs = jobs
        self.watch()

    def watch(self) -> None:
        """Have the server witness settles from now on, where it does not yet."""
        if not self._watched:
            self.place.watch()
            self._watched = True

    def put_extra(self) -> Any:
        """Put a job that is not counted; return its handle."""
        return self.tasks.work.enqueue(EXTRA, 0.0)

    def worker(self, **options: Any) -> subprocess.Popen[str]:
        self.workers.append(self.app_place.worker(**{"threads": 8, "lease": LEASE, **options}))
        return self.workers[-1]

    def begun(self) -> int:
        """Return how many runs have begun."""
        log = self.app_place.runs_file
        return log.stat().st_size // LINE if log.exists() else 0

    def strike(self, share: float, fault: Callable[[], object]) -> None:
        """Do something bad once a share of the jobs has begun, while others remain."""
        assert 0.0 < share < 1.0
        eventually(lambda: self.begun() >= share * self.jobs, DRAIN_SECONDS)
        fault()
        assert self.begun() < self.jobs, "no job was left when it struck"

    def check(self, twice: int) -> None:
        """Check that each job has run and was settled once, with the result of one of its runs; that no more than
        `twice` runs were for nothing; and that every worker that lives serves on."""
        eventually(lambda: self.begun() >= self.jobs and self._all_ended(), DRAIN_SECONDS)
        numbers = {handle.id: n for n, handle in enumerate(self.handles)}
        settled = [(numbers[id], RUN.findall(result)) for id, result in self.place.settled() if id in numbers]
        runs = self.runs()
        assert {n for n, _ in runs} == set(range(self.jobs)), "a job was lost"
        times = Counter(n for n, _ in settled)
        assert set(times) == set(range(self.jobs)), "a job that ran was not settled"
        assert times.most_common(1)[0][1] == 1, "a job was settled twice"
        known = set(runs)
        assert all(len(run) == 1 and (n, run[0].decode()) in known for n, run in settled), "a result is another job's"
        result_of = {n: run[0].decode() for n, run in settled}
        for n in range(0, self.jobs, max(1, self.jobs // 50)):
            assert self.handles[n].result(timeout=10) == result_of[n], "another result than was settled"
        assert len(runs) - self.jobs <= twice, "more jobs ran twice than can have been in flight"
        self._check_workers()

    def _all_ended(self) -> bool:
        """Ask Worklist whether all jobs have ended; those that have are not asked for again."""
        with contextlib.suppress(BrokerUnavailable):
            while self._ended < self.jobs:
                some = self.app.load([handle.id for handle in self.handles[self._ended : self._ended + 500]])
                if not all(record is not None and record.state.finished for record in some):
                    time.sleep(0.1)
                    return False
                self._ended += len(some)
        return self._ended == self.jobs

    def _check_workers(self) -> None:
        living = {worker.pid for worker in self.workers if worker.poll() is None}
        assert living
        served: set[int] = set()
        end = time.monotonic() + 60
        while not living <= served:
            assert time.monotonic() < end, "a worker serves no more"
            more = self.tasks.work.enqueue_many([(EXTRA, 0.02)] * 50)
            served |= {int(handle.result(timeout=60).partition(".")[0]) for handle in more}

    def runs(self) -> list[tuple[int, str]]:
        """Return which job each run was of, and what it returned."""
        lines = self.app_place.runs_file.read_text().splitlines()
        return [(int(n), run) for n, run in map(str.split, lines) if int(n) != EXTRA]

    def end(self) -> None:
        self.app_place.end()
        self.proxy.close()
        if not self.server.runs:  # the test has failed; the next one is not to
            self.server.start()
        self.place.close()


Make = Callable[..., Fleet]


@pytest.fixture
def make_fleet(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Give what makes a fleet for a kind of server."""
    with contextlib.ExitStack() as ends:

        def place_of(kind: str, folder: Path) -> Place:
            if kind == "postgresql":
                return PostgresPlace(request.getfixturevalue("postgres_server"))
            if kind == "redis":
                return RedisPlace(Server(*DURABLE))
            node = request.getfixturevalue("rabbitmq_node")
            return RabbitPlace(ends.enter_context(virtual_host(node.port, node.control)), node, folder)

        def make(kind: str, direct: bool = False) -> Fleet:
            folder = tmp_path / kind
            folder.mkdir()
            place = place_of(kind, folder)
            fleet = Fleet(place, folder, monkeypatch, place.url_at(place.server.port) if direct else None)
            ends.callback(fleet.end)
            return fleet

        yield make
