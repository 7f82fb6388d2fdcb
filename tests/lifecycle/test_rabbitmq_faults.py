"""What only RabbitMQ can suffer under real workers: a queue is deleted, memory or disk run out, delayed jobs wait while
the server dies; and what there is to say of jobs that come twice."""
# ruff: noqa: F401, F811 - fixtures are imported

import os
import signal
import threading
import time

import pytest

from tests.servers.places import RabbitPlace
from tests.servers.rabbitmq import Node, rabbitmq_node
from worklist import Worklist
from worklist.core.errors import BrokerError, BrokerUnavailable

from .conftest import eventually
from .fleet import IN_FLIGHT, JOBS, Fleet, Make, make_fleet

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def fleet(make_fleet: Make) -> Fleet:
    return make_fleet("rabbitmq")


def node_of(fleet: Fleet) -> Node:
    assert isinstance(fleet.server, Node)
    return fleet.server


def vhost_of(fleet: Fleet) -> str:
    assert isinstance(fleet.place, RabbitPlace)
    return fleet.place.host.name


def test_delayed_jobs_outlive_the_server(fleet: Fleet) -> None:
    fleet.put(JOBS // 5, delays=[0.5 + n / 2 for n in range(20)])
    fleet.worker()
    fleet.strike(0.2, lambda: time.sleep(1.0))  # RabbitMQ 3.10 does not find queues again that are younger
    fleet.strike(0.2, fleet.server.kill)
    fleet.server.start()
    fleet.check(twice=IN_FLIGHT)


def test_connections_are_cut_while_jobs_are_put(fleet: Fleet) -> None:
    ended = threading.Event()

    def cut() -> None:
        while not ended.wait(0.1):
            fleet.proxy.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        fleet.put(JOBS // 4, at_once=50)
    finally:
        ended.set()
        cutter.join()
    fleet.worker()
    fleet.check(twice=JOBS // 4)


def test_a_frozen_worker_cannot_settle_what_it_lost(fleet: Fleet) -> None:
    go = fleet.app_place.folder / "go"
    job = fleet.tasks.until_file.enqueue(1, str(go))
    frozen = fleet.worker(lease=2.0)
    eventually(lambda: fleet.app_place.runs()[1] == 1)
    frozen.send_signal(signal.SIGSTOP)
    other = fleet.worker(lease=2.0)
    eventually(lambda: fleet.app_place.runs()[1] == 2)
    go.touch()
    assert job.result(timeout=30) == other.pid
    frozen.send_signal(signal.SIGCONT)
    other.terminate()
    other.wait()
    assert fleet.tasks.touch.enqueue(2).result(timeout=30) == 2  # the thawed worker serves on
    assert job.result(timeout=0) == other.pid, "the frozen worker overwrote the result"
    record = job.record()
    assert (record.attempt, record.lost) == (2, 1)
    assert fleet.app_place.runs()[1] == 2


def test_a_queue_is_deleted_under_its_consumers(fleet: Fleet) -> None:
    """What was in it is gone: RabbitMQ was told so. What comes after is served."""
    worker = fleet.worker()
    assert fleet.put_extra().result(timeout=20)
    fleet.watch()
    node_of(fleet).control("delete_queue", "-p", vhost_of(fleet), "worklist.default")
    fleet.put()
    fleet.check(twice=0)
    assert worker.poll() is None


def test_a_queue_without_a_leader_does_not_keep_the_others_waiting(fleet: Fleet) -> None:
    """RabbitMQ answers nothing on a connection that consumes it, not even what was asked before."""
    worker = fleet.worker()
    assert fleet.put_extra().result(timeout=20)
    worker.terminate()
    worker.wait()
    fleet.watch()
    leader = f"{{'{vhost_of(fleet)}_worklist.default:low', node()}}"
    node_of(fleet).control("eval", f"ra:stop_server(quorum_queues, {leader}).")
    fleet.put(JOBS // 4)
    fleet.worker()
    fleet.check(twice=2 * IN_FLIGHT)


ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.6")),
    "disk": (("set_disk_free_limit", "999999999999999"), ("set_disk_free_limit", "1MB")),
}


@pytest.mark.parametrize("what", ALARMS)
def test_memory_or_disk_run_out(fleet: Fleet, what: str) -> None:
    begins, ends = ALARMS[what]
    fleet.put()
    fleet.worker()
    try:
        fleet.strike(0.1, lambda: node_of(fleet).control(*begins))
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="takes no messages for now|takes nothing") as told:
            fleet.put_extra()
        assert "\n" not in str(told.value)
        assert time.monotonic() - begun < 10
    finally:
        node_of(fleet).control(*ends)
    fleet.check(twice=IN_FLIGHT)


def test_a_job_that_kills_its_worker_runs_out_of_redeliveries(fleet: Fleet) -> None:
    job = fleet.tasks.until_file.using(redeliveries=1).enqueue(1, str(fleet.app_place.folder / "never"))
    for run in (1, 2):
        worker = fleet.worker()
        eventually(lambda run=run: fleet.app_place.runs()[1] == run)
        worker.kill()
        worker.wait()
    fleet.worker()
    eventually(lambda: job.status == "failed")
    record = job.record()
    assert (record.attempt, record.lost) == (2, 2)
    assert [error.type for error in record.errors] == ["WorkerLost", "WorkerLost"]


def test_a_forked_child_has_a_connection_of_its_own(fleet: Fleet) -> None:
    fleet.worker()
    touch = fleet.tasks.touch
    assert touch.enqueue(1).result(timeout=20) == 1
    child = os.fork()
    if not child:
        ok = False
        try:
            ok = touch.enqueue(2).result(timeout=20) == 2
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert touch.enqueue(3).result(timeout=20) == 3


def test_what_is_wrong_is_said_in_one_sentence(fleet: Fleet) -> None:
    host, vhost = f"127.0.0.1:{fleet.server.port}", vhost_of(fleet)
    for url, complaint in (
        (f"amqp://guest:geheim@{host}/{vhost}", "refuses the login of user 'guest'"),
        (f"amqp://guest:guest@{host}/nowhere", "no virtual host 'nowhere'"),
        (f"amqp://guest:guest@127.0.0.1:{fleet.proxy.port}/{vhost}?timeout=1", "did not answer"),
    ):
        if "answer" in complaint:
            fleet.proxy.freeze()
        with Worklist(url) as app, pytest.raises(BrokerError, match=complaint) as raised:
            app.task(name="t")(lambda: None).enqueue()
        assert "geheim" not in str(raised.value)
    fleet.proxy.thaw()
