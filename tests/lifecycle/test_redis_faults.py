"""Redis dies, stops, is cut off, falls silent or hands over under real workers; every job is settled all the same."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers.ports import free_port
from tests.servers.proxy import Proxy
from tests.servers.redis import Sentinel, Server, make_cluster, needs_redis
from worklist import Worklist
from worklist.core.errors import BrokerUnavailable
from worklist.core.job import JobState
from worklist.core.ports import Filter

from .conftest import Place, eventually

pytestmark = needs_redis

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
JOBS = 4000
TASK = """
@app.task(redeliveries=50)
def work(n: int) -> int:
    note(n)
    time.sleep(0.002)
    return n
"""


class Fleet:
    """Jobs on a server, and workers that reach it as `url` says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        self.url = url
        self.place = Place(folder, monkeypatch, TASK, f"{url}{'&' if '?' in url else '?'}timeout=2")

    def put(self, jobs: int = JOBS) -> list[Any]:
        return self.place.tasks.work.enqueue_many([(n,) for n in range(jobs)])  # type: ignore[no-any-return]

    def worker(self, **options: Any) -> subprocess.Popen[str]:
        return self.place.worker(**{"threads": 8, **options})

    def begun(self, jobs: int) -> None:
        """Wait until so many jobs have run."""
        eventually(lambda: sum(self.place.runs().values()) >= jobs)

    def succeeded(self) -> int:
        with contextlib.suppress(BrokerUnavailable):
            return self.place.counts().get("succeeded", 0)
        return -1

    def check(self, handles: list[Any]) -> None:
        """Check that all jobs end, each with its own result, and that the workers serve on."""
        jobs = len(handles)
        eventually(lambda: self.succeeded() == jobs, 90)
        assert set(self.place.runs()) == set(range(jobs)), "a job was lost"
        assert [handle.result(timeout=0) for handle in handles] == list(range(jobs))
        assert self.place.counts() == {"succeeded": jobs}
        assert self.place.tasks.work.enqueue(jobs).result(timeout=30) == jobs

    def check_no_worker_was_thought_dead(self) -> None:
        """Check that leases whose answer was lost came to their workers all the same."""
        records = self.place.app.inspector.find(Filter(state=JobState.SUCCEEDED, limit=10 * JOBS))
        assert [record.id for record in records if record.lost] == []


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(*DURABLE)
    yield server
    server.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def make_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Fleet]]:
    made: list[Fleet] = []

    def make(url: str) -> Fleet:
        made.append(Fleet(tmp_path, monkeypatch, url))
        return made[-1]

    yield make
    for fleet in made:
        fleet.place.end()


@pytest.fixture
def fleet(make_fleet: Callable[[str], Fleet], proxy: Proxy) -> Fleet:
    return make_fleet(f"redis://127.0.0.1:{proxy.port}")


def test_the_server_is_killed_and_started_again(fleet: Fleet, server: Server) -> None:
    handles = fleet.put()
    fleet.worker(lease=30.0)
    fleet.worker(lease=30.0)
    for share in (1, 2):
        fleet.begun(share * JOBS // 4)
        server.kill()
        server.start()
    fleet.check(handles)
    fleet.check_no_worker_was_thought_dead()


def test_the_server_is_away_for_a_while(fleet: Fleet, server: Server) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.begun(JOBS // 4)
    server.kill()
    time.sleep(5)
    server.start()
    fleet.check(handles)


def test_connections_are_cut(fleet: Fleet, proxy: Proxy) -> None:
    handles = fleet.put()
    fleet.worker(lease=30.0)
    fleet.worker(lease=30.0)
    for share in range(1, 9):
        fleet.begun(share * JOBS // 10)
        proxy.cut()
    fleet.check(handles)
    fleet.check_no_worker_was_thought_dead()


def test_connections_fall_silent(fleet: Fleet, proxy: Proxy) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.begun(JOBS // 4)
    proxy.freeze()
    time.sleep(1)
    proxy.thaw()
    thawed = time.monotonic()
    known = sum(fleet.place.runs().values())
    eventually(lambda: sum(fleet.place.runs().values()) > known + 500)
    assert time.monotonic() - thawed < 15
    fleet.check(handles)


def test_an_idle_worker_whose_connection_falls_silent_hears_of_jobs_again(fleet: Fleet, proxy: Proxy) -> None:
    fleet.worker()
    fleet.check(fleet.put(1))
    time.sleep(0.5)  # it waits by now
    proxy.freeze()
    time.sleep(0.5)
    proxy.thaw()
    begun = time.monotonic()
    assert fleet.place.tasks.work.enqueue(2).result(timeout=60) == 2
    assert time.monotonic() - begun < 20, "also the one who waits for the result hears again"


def test_scripts_are_forgotten(fleet: Fleet, server: Server) -> None:
    handles = fleet.put()
    fleet.worker()
    for share in range(1, 6):
        fleet.begun(share * JOBS // 8)
        server.client.script_flush()
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


def test_a_worker_waits_for_a_server_that_is_down(
    fleet: Fleet, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    handles = fleet.put(10)
    server.kill()
    worker = fleet.worker()
    begun = time.monotonic()
    app = Worklist(f"redis://127.0.0.1:{server.port}?timeout=2")
    with pytest.raises(BrokerUnavailable, match="cannot be used just now") as told:
        app.store.now()
    app.close()
    assert time.monotonic() - begun < 10
    assert "\n" not in str(told.value)
    time.sleep(3)
    assert worker.poll() is None
    server.start()
    fleet.check(handles)
    told_by_worker = capfd.readouterr().err
    assert "Traceback" not in told_by_worker
    assert 1 <= sum("cannot be used just now" in line for line in told_by_worker.splitlines()) <= 4


def test_nobody_listens() -> None:
    app = Worklist(f"redis://:sesame@127.0.0.1:{free_port()}?timeout=2")

    @app.task
    def nothing() -> None: ...

    with pytest.raises(BrokerUnavailable, match="cannot be used just now") as told:
        nothing.enqueue()
    app.close()
    assert "sesame" not in str(told.value)


def test_a_replica_takes_over(make_fleet: Callable[[str], Fleet], server: Server) -> None:
    """What the master had answered is with the replica, since it answers only while one listens (min-replicas)."""
    replica = Server(*DURABLE, "--replicaof", f"127.0.0.1 {server.port}")
    server.client.config_set("min-replicas-to-write", 1)
    eventually(lambda: server.client.info("replication")["min_slaves_good_slaves"] == 1)
    sentinel = Sentinel(server.port)
    try:
        eventually(lambda: sentinel.client.sentinel_master("mymaster")["num-slaves"] == 1)
        fleet = make_fleet(f"redis+sentinel://127.0.0.1:{sentinel.port}/0")
        handles = fleet.put()
        fleet.worker()
        fleet.begun(JOBS // 4)
        server.client.wait(1, 5000)
        server.kill()
        eventually(lambda: sentinel.client.sentinel_master("mymaster")["port"] == replica.port)
        fleet.check(handles)
    finally:
        sentinel.close()
        replica.close()


def test_a_cluster(make_fleet: Callable[[str], Fleet]) -> None:
    servers = make_cluster(3)
    try:
        fleet = make_fleet(f"redis+cluster://127.0.0.1:{servers[0].port},127.0.0.1:{servers[1].port}")
        handles = fleet.put(500)
        fleet.worker()
        fleet.check(handles)
        assert sum(bool(redis.Redis(port=it.port).dbsize()) for it in servers) == 1, "the keys of an app are together"
    finally:
        for it in servers:
            it.close()
