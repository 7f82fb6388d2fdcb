"""RabbitMQ dies, stops, is cut off, falls silent or is out of memory under real workers; every job is settled all the
same, with its result in a store beside it."""

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import Node, VirtualHost, own_node, virtual_host
from worklist import Worklist
from worklist.core.errors import BrokerError, BrokerUnavailable

from .conftest import Place, eventually

JOBS = 4000
TASK = """
@app.task(redeliveries=50)
def work(n: int) -> int:
    note(n)
    time.sleep(0.002)
    return n
"""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = own_node()
    yield node
    node.close()


class Fleet:
    """A virtual host on the node, jobs in it, and workers, perhaps behind a proxy."""

    def __init__(self, host: VirtualHost, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.proxy = Proxy(host.port)
        self.results = folder / "results.db"
        self.url = f"{host.url_at(self.proxy.port)}?timeout=4"
        monkeypatch.setenv("WORKLIST_RESULTS", f"sqlite:///{self.results}")
        self.place = Place(folder, monkeypatch, TASK, self.url)

    def put(self, jobs: int = JOBS) -> list[Any]:
        return self.place.tasks.work.enqueue_many([(n,) for n in range(jobs)])  # type: ignore[no-any-return]

    def worker(self, **options: Any) -> subprocess.Popen[str]:
        return self.place.worker(**{"threads": 8, "lease": 4.0, **options})

    def begun(self, jobs: int) -> None:
        """Wait until so many jobs have run."""
        eventually(lambda: sum(self.place.runs().values()) >= jobs)

    def check(self, handles: list[Any], twice: int | None = None) -> None:
        """Check that all jobs end, each with its own result, and that the workers serve on."""
        jobs = len(handles)
        eventually(lambda: self.succeeded() >= jobs, 60)
        runs = self.place.runs()
        assert set(runs) == set(range(jobs)), "a job was lost"
        if twice is not None:
            assert sum(runs.values()) - jobs <= twice, "more jobs ran twice than can have been in flight"
        assert [handle.result(timeout=5) for handle in handles] == list(range(jobs))
        assert self.place.tasks.work.enqueue(jobs).result(timeout=30) == jobs
        assert self.succeeded() == jobs + 1
        eventually(lambda: not self.place.app.store.held_back(["default"]))

    def succeeded(self) -> int:
        with sqlite3.connect(self.results) as db:
            try:
                return int(db.execute("SELECT count(*) FROM jobs WHERE state = 3").fetchone()[0])
            except sqlite3.OperationalError:
                return 0
            finally:
                db.rollback()

    def end(self) -> None:
        self.place.end()
        self.proxy.close()


@pytest.fixture
def fleet(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with virtual_host(node.port, node.control) as host:
        fleet = Fleet(host, tmp_path, monkeypatch)
        yield fleet
        fleet.end()


def test_the_server_is_killed_and_started_again(fleet: Fleet, node: Node) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.worker()
    fleet.begun(JOBS // 4)
    time.sleep(1.0)  # a queue that is younger than half a second is not found again by RabbitMQ 3.10
    node.kill()
    node.start()
    fleet.check(handles)


def test_the_server_is_stopped_for_a_while(fleet: Fleet, node: Node) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.begun(JOBS // 4)
    node.stop()
    with pytest.raises(BrokerUnavailable, match=r"RabbitMQ at 127\.0\.0\.1"):
        fleet.place.tasks.work.enqueue(-1)
    node.start()
    fleet.check(handles)


def test_delayed_jobs_outlive_the_server(fleet: Fleet, node: Node) -> None:
    handles = [
        handle
        for n in range(0, 2000, 100)
        for handle in fleet.place.tasks.work.using(delay=0.5 + n / 250).enqueue_many([(n + m,) for m in range(100)])
    ]
    fleet.worker()
    fleet.begun(500)
    time.sleep(1.0)
    node.kill()
    node.start()
    fleet.check(handles)


def test_connections_are_cut(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    fleet.worker()
    for share in range(1, 9):
        fleet.begun(share * JOBS // 10)
        fleet.proxy.cut()
    fleet.check(handles)


def test_connections_are_cut_while_jobs_are_put(fleet: Fleet) -> None:
    fleet.worker()
    cutting = threading.Event()

    def cut() -> None:
        while not cutting.wait(0.1):
            fleet.proxy.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    handles = []
    for n in range(0, 2000, 20):
        handles += fleet.place.tasks.work.enqueue_many([(m,) for m in range(n, n + 20)])
    cutting.set()
    cutter.join()
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
    assert time.monotonic() - thawed < 20
    fleet.check(handles)


def test_a_worker_is_killed_each_second(fleet: Fleet) -> None:
    handles = fleet.put()
    for _ in range(8):
        worker = fleet.worker()
        before = sum(fleet.place.runs().values())
        eventually(lambda before=before: sum(fleet.place.runs().values()) > before + 100)
        worker.kill()
        worker.wait()
    fleet.worker()
    fleet.check(handles, twice=9 * 420)


def test_a_frozen_worker_cannot_settle_what_it_lost(fleet: Fleet) -> None:
    go = fleet.place.folder / "go"
    job = fleet.place.tasks.until_file.enqueue(1, str(go))
    frozen = fleet.worker(lease=2.0)
    eventually(lambda: fleet.place.runs()[1] == 1)
    frozen.send_signal(signal.SIGSTOP)
    other = fleet.worker(lease=2.0)
    eventually(lambda: fleet.place.runs()[1] == 2)
    go.touch()
    assert job.result(timeout=30) == other.pid
    frozen.send_signal(signal.SIGCONT)
    other.terminate()
    other.wait()
    assert fleet.place.tasks.touch.enqueue(2).result(timeout=30) == 2  # the thawed worker serves on
    assert job.result(timeout=0) == other.pid, "the frozen worker overwrote the result"
    record = job.record()
    assert (record.attempt, record.lost) == (2, 1)
    assert fleet.place.runs()[1] == 2


def test_a_queue_is_deleted_under_its_consumers(fleet: Fleet, node: Node) -> None:
    worker = fleet.worker()
    assert fleet.place.tasks.work.enqueue(0).result(timeout=20) == 0
    node.control("delete_queue", "-p", fleet.host.name, "worklist.default")
    handles = [fleet.place.tasks.work.enqueue(n) for n in range(1, 50)]
    eventually(lambda: {n for n, handle in enumerate(handles, 1) if handle.status != "succeeded"} == set(), 30)
    assert worker.poll() is None


def test_the_server_is_out_of_memory(fleet: Fleet, node: Node) -> None:
    fleet.worker()
    assert fleet.place.tasks.work.enqueue(0).result(timeout=20) == 0
    node.control("set_vm_memory_high_watermark", "0.00001")
    try:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="takes no messages for now|takes nothing"):
            fleet.place.tasks.work.enqueue(1)
        assert time.monotonic() - begun < 8
    finally:
        node.control("set_vm_memory_high_watermark", "0.6")
    eventually(lambda: fleet.place.tasks.work.enqueue(2).result(timeout=20) == 2)


def test_a_worker_waits_for_a_server_that_is_down_at_its_start(fleet: Fleet, node: Node) -> None:
    handles = fleet.put(100)
    node.stop()
    fleet.worker()
    time.sleep(1.0)
    assert fleet.succeeded() == 0
    node.start()
    fleet.check(handles)


def test_a_job_that_kills_its_worker_runs_out_of_redeliveries(fleet: Fleet) -> None:
    job = fleet.place.tasks.until_file.using(redeliveries=1).enqueue(1, str(fleet.place.folder / "never"))
    for run in (1, 2):
        worker = fleet.worker()
        eventually(lambda run=run: fleet.place.runs()[1] == run)
        worker.kill()
        worker.wait()
    fleet.worker()
    eventually(lambda: job.status == "failed")
    record = job.record()
    assert (record.attempt, record.lost) == (2, 2)
    assert [error.type for error in record.errors] == ["WorkerLost", "WorkerLost"]


def test_a_forked_child_has_a_connection_of_its_own(fleet: Fleet) -> None:
    fleet.worker()
    app: Worklist = fleet.place.app
    assert fleet.place.tasks.work.enqueue(1).result(timeout=20) == 1
    child = os.fork()
    if not child:
        ok = False
        try:
            ok = fleet.place.tasks.work.enqueue(2).result(timeout=20) == 2
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert fleet.place.tasks.work.enqueue(3).result(timeout=20) == 3
    app.close()


def test_what_is_wrong_is_said_in_one_sentence(fleet: Fleet) -> None:
    host = f"127.0.0.1:{fleet.host.port}"
    for url, complaint in (
        (f"amqp://guest:geheim@{host}/{fleet.host.name}", "refuses the login of user 'guest'"),
        (f"amqp://guest:guest@{host}/nowhere", "no virtual host 'nowhere'"),
        ("amqp://127.0.0.1:1/x?timeout=1", "cannot be reached: Connection refused"),
        (f"amqp://guest:guest@127.0.0.1:{fleet.proxy.port}/{fleet.host.name}?timeout=1", "did not answer"),
    ):
        if "answer" in complaint:
            fleet.proxy.freeze()
        with Worklist(url) as app, pytest.raises(BrokerError, match=complaint) as raised:
            app.task(name="t")(lambda: None).enqueue()
        assert "geheim" not in str(raised.value)
    fleet.proxy.thaw()
