"""PostgreSQL dies, stops, is cut off or falls silent under real workers; every job is settled all the same."""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers.ports import free_port
from tests.servers.postgres import Database, Server, postgres_server  # noqa: F401 - a fixture
from tests.servers.proxy import Proxy
from worklist import Worklist
from worklist.core.errors import BrokerUnavailable

from .conftest import Place, eventually

JOBS = 4000
TASK = """
@app.task(redeliveries=50)
def work(n: int) -> int:
    note(n)
    time.sleep(0.002)
    return n
"""


class Fleet:
    """A schema on the server, jobs in it, and workers, perhaps behind a proxy."""

    def __init__(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.database = Database(server.url_of())
        self.proxy = Proxy(server.port)
        timeout = "&timeout=3"
        self.direct = self.database.url + timeout
        self.url = self.direct.replace(f":{server.port}/", f":{self.proxy.port}/")
        self.place = Place(folder, monkeypatch, TASK, self.url)

    def put(self, jobs: int = JOBS) -> list[Any]:
        return self.place.tasks.work.enqueue_many([(n,) for n in range(jobs)])  # type: ignore[no-any-return]

    def worker(self, **options: Any) -> subprocess.Popen[str]:
        return self.place.worker(**{"threads": 8, **options})

    def begun(self, jobs: int) -> None:
        """Wait until so many jobs have run."""
        eventually(lambda: sum(self.place.runs().values()) >= jobs)

    def check(self, handles: list[Any]) -> None:
        """Check that all jobs end, each with its own result, and that the workers serve on."""
        jobs = len(handles)
        eventually(lambda: self.succeeded() == jobs, 90)
        assert set(self.place.runs()) == set(range(jobs)), "a job was lost"
        results = self.fetch("SELECT count(*), count(DISTINCT result) FROM @.jobs WHERE state = 3")
        assert results == (jobs, jobs)
        assert self.fetch("SELECT (SELECT count(*) FROM @.ready) + (SELECT count(*) FROM @.bundles)") == (0,)
        assert self.place.tasks.work.enqueue(jobs).result(timeout=30) == jobs

    def succeeded(self) -> int:
        with contextlib.suppress(psycopg.OperationalError):
            return int(self.fetch("SELECT count(*) FROM @.jobs WHERE state = 3")[0])
        return -1

    def fetch(self, statement: str) -> tuple[Any, ...]:
        with psycopg.connect(self.server.url_of(), autocommit=True) as admin:
            row = admin.execute(statement.replace("@.", f'"{self.database.schema}".')).fetchone()  # type: ignore[call-overload]
            assert row is not None
            return row  # type: ignore[no-any-return]

    def terminate_backends(self) -> None:
        with psycopg.connect(self.server.url_of(), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = 'test' AND pid <> pg_backend_pid() AND application_name = 'worklist'"
            )

    def end(self) -> None:
        self.place.end()
        self.proxy.close()
        self.database.admin.close()
        with psycopg.connect(self.server.url_of(), autocommit=True) as admin:
            admin.execute(f'DROP SCHEMA IF EXISTS "{self.database.schema}" CASCADE')  # type: ignore[call-overload]


@pytest.fixture
def fleet(postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:  # noqa: F811
    fleet = Fleet(postgres_server, tmp_path, monkeypatch)
    yield fleet
    fleet.end()


def test_the_server_is_killed_and_started_again(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.worker()
    for share in (1, 2):
        fleet.begun(share * JOBS // 4)
        fleet.server.kill()
        fleet.server.start()
    fleet.check(handles)


def test_the_server_is_stopped_for_a_while(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.begun(JOBS // 4)
    fleet.server.stop()
    time.sleep(5)
    fleet.server.start()
    fleet.check(handles)


def test_connections_are_cut(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.worker()
    for share in range(1, 9):
        fleet.begun(share * JOBS // 10)
        fleet.proxy.cut()
    fleet.check(handles)


def test_connections_fall_silent(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.begun(JOBS // 4)
    fleet.proxy.freeze()
    time.sleep(1)
    fleet.proxy.thaw()
    thawed = time.monotonic()
    known = sum(fleet.place.runs().values())
    eventually(lambda: sum(fleet.place.runs().values()) > known + 500)
    assert time.monotonic() - thawed < 15
    fleet.check(handles)


def test_every_backend_is_terminated_again_and_again(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.worker()
    for share in range(1, 9):
        fleet.begun(share * JOBS // 10)
        fleet.terminate_backends()
    fleet.check(handles)


def test_workers_are_killed(fleet: Fleet) -> None:
    handles = fleet.put()
    worker = fleet.worker()
    for share in range(1, 6):
        fleet.begun(share * JOBS // 8)
        worker.kill()
        worker.wait()
        worker = fleet.worker()
    fleet.check(handles)


def test_a_frozen_worker_loses_its_jobs_and_serves_on(fleet: Fleet) -> None:
    handles = fleet.put()
    frozen = fleet.worker(lease=1.0)
    other = fleet.worker(lease=1.0)
    fleet.begun(JOBS // 4)
    frozen.send_signal(signal.SIGSTOP)
    eventually(lambda: fleet.succeeded() == JOBS)
    frozen.send_signal(signal.SIGCONT)
    other.terminate()
    other.wait()
    fleet.check(handles)


def test_serialization_failures_and_deadlocks_are_tried_again(fleet: Fleet) -> None:
    """Somebody locks jobs that are about to be leased, in an order of his own."""
    handles = fleet.put(2000)
    fleet.worker()
    fleet.worker()
    ended = threading.Event()

    def disturb() -> None:
        schema = fleet.database.schema
        with psycopg.connect(fleet.server.url_of(), autocommit=True) as other:
            other.execute("SET deadlock_timeout = '10s'")  # so that it is the workers' transactions that fail
            while not ended.is_set():
                bundled = f'SELECT unnest(jobs) FROM "{schema}".bundles'
                query = f'SELECT seq FROM "{schema}".ready UNION ALL {bundled} ORDER BY seq LIMIT 20'
                ahead = [seq for (seq,) in other.execute(query)]  # type: ignore[call-overload]
                with contextlib.suppress(psycopg.Error), other.transaction():
                    for seq in ahead[::-1]:
                        update = f'UPDATE "{schema}".jobs SET lost = lost WHERE seq = {seq}'
                        other.execute(update)  # type: ignore[call-overload]
                        time.sleep(0.001)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        eventually(lambda: fleet.succeeded() == 2000, 90)
    finally:
        ended.set()
        thread.join()
    fleet.check(handles)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'test'"
    eventually(lambda: fleet.fetch(deadlocks)[0] > 0, 20)  # else nobody was disturbed


def test_a_worker_waits_for_a_server_that_is_down(fleet: Fleet, capfd: pytest.CaptureFixture[str]) -> None:
    handles = fleet.put(10)
    fleet.server.stop()
    worker = fleet.worker()
    begun = time.monotonic()
    with _client(fleet.direct) as app, pytest.raises(BrokerUnavailable, match="cannot be reached") as told:
        app.store.now()
    assert time.monotonic() - begun < 10
    assert "\n" not in str(told.value)
    time.sleep(3)
    assert worker.poll() is None
    fleet.server.start()
    fleet.check(handles)
    lines = [line for line in capfd.readouterr().err.splitlines() if "cannot be reached" in line]
    assert 1 <= len(lines) <= 4
    assert not any("Traceback" in line for line in lines)


def test_nobody_listens(fleet: Fleet) -> None:
    with _client(f"postgresql://postgres:sesame@127.0.0.1:{free_port()}/test?timeout=2") as app:
        task = app.task(_nothing)
        with pytest.raises(BrokerUnavailable, match="cannot be reached") as told:
            task.enqueue()
        assert "sesame" not in str(told.value)


def _nothing() -> None:
    pass


@contextlib.contextmanager
def _client(url: str) -> Iterator[Worklist]:
    app = Worklist(url)
    try:
        yield app
    finally:
        app.close()
