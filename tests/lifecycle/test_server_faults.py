"""PostgreSQL, Redis and RabbitMQ die, stop, are cut off or fall silent, and so do workers, while twenty thousand jobs
run with their results kept: no job is lost, each is settled once, and the workers serve on.

What only one of the servers can suffer is in test_postgres_faults.py and its neighbours.
"""
# ruff: noqa: F401, F811 - fixtures are imported

import signal
import time

import pytest

from tests.servers.ports import free_port
from tests.servers.postgres import postgres_server
from tests.servers.rabbitmq import rabbitmq_node
from worklist import Worklist
from worklist.core.errors import BrokerUnavailable

from .conftest import eventually
from .fleet import IN_FLIGHT, Fleet, Make, make_fleet

pytestmark = pytest.mark.timeout(400)
SERVERS = ("postgresql", "redis", "rabbitmq")
AWAY_SECONDS = 60.0


@pytest.fixture(params=SERVERS)
def fleet(request: pytest.FixtureRequest, make_fleet: Make) -> Fleet:
    return make_fleet(request.param)


def test_the_server_is_killed_and_started_again(fleet: Fleet) -> None:
    fleet.put()
    fleet.worker()
    fleet.worker()
    for share in (0.2, 0.5):
        fleet.strike(share, fleet.server.kill)
        fleet.server.start()
    fleet.check(twice=2 * 2 * IN_FLIGHT)


def test_the_servers_are_away_for_a_minute(make_fleet: Make) -> None:
    """All three at once, so that the minute has to be waited for only once."""
    fleets = [make_fleet(kind, direct=True) for kind in SERVERS]
    for fleet in fleets:
        fleet.put()
        fleet.worker()
        fleet.strike(0.1, fleet.server.stop)
    stopped = time.monotonic()
    for fleet in fleets:
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=fleet.place.down):
            fleet.put_extra()
        assert time.monotonic() - begun < 10
    time.sleep(max(0.0, stopped + AWAY_SECONDS - time.monotonic()))
    for fleet in fleets:
        assert fleet.begun() < fleet.jobs
        fleet.server.start()
    for fleet in fleets:
        fleet.check(twice=IN_FLIGHT)


def test_connections_are_cut(fleet: Fleet) -> None:
    fleet.put()
    fleet.worker()
    fleet.worker()
    for share in range(1, 9):
        fleet.strike(share / 10, fleet.proxy.cut)
    fleet.check(twice=8 * 2 * IN_FLIGHT)


def test_connections_fall_silent(fleet: Fleet) -> None:
    """Half-open ones: what is sent goes nowhere and nobody says so. New ones are sound again after a second."""
    fleet.put()
    fleet.worker()
    fleet.strike(0.25, fleet.proxy.freeze)
    time.sleep(1)
    fleet.proxy.thaw()
    thawed, known = time.monotonic(), fleet.begun()
    eventually(lambda: fleet.begun() > known + IN_FLIGHT)
    assert time.monotonic() - thawed < 30
    fleet.check(twice=IN_FLIGHT)


def test_a_worker_is_killed_each_second(fleet: Fleet) -> None:
    fleet.put(nap=0.008)
    kills = 0
    fleet.worker()
    while fleet.begun() < 0.7 * fleet.jobs:
        fleet.worker()
        time.sleep(1)
        oldest = fleet.workers[kills]
        fleet.strike(0.01, oldest.kill)
        oldest.wait()
        kills += 1
    assert kills >= 4
    fleet.check(twice=kills * IN_FLIGHT)


def test_a_worker_is_frozen_for_longer_than_its_lease(fleet: Fleet) -> None:
    fleet.put()
    frozen = fleet.worker(lease=1.0)
    fleet.worker(lease=1.0, threads=2)
    fleet.strike(0.25, lambda: frozen.send_signal(signal.SIGSTOP))
    known = fleet.begun()
    time.sleep(2.5)
    eventually(lambda: fleet.begun() > known)
    fleet.strike(0.25, lambda: frozen.send_signal(signal.SIGCONT))
    fleet.check(twice=2 * IN_FLIGHT)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_down_at_the_start(kind: str, make_fleet: Make, capfd: pytest.CaptureFixture[str]) -> None:
    fleet = make_fleet(kind, direct=True)
    fleet.put(100)
    fleet.server.stop()
    worker = fleet.worker()
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=fleet.place.down) as told:
        fleet.put_extra()
    assert time.monotonic() - begun < 10
    assert "\n" not in str(told.value)
    time.sleep(3)
    assert worker.poll() is None
    fleet.server.start()
    fleet.check(twice=0)
    said = capfd.readouterr().err.splitlines()
    if kind == "rabbitmq":  # where jobs may come from the store of results, too, there is one more thing to say
        said = [line for line in said if not line.startswith("no jobs come from RabbitMQ for now")]
    assert len(said) == 1, "one line is enough"
    assert fleet.place.down in said[0]
    assert said[0].endswith("trying again until it goes well")


@pytest.mark.parametrize("url", ["postgresql://me:sesame@{}/test", "redis://:sesame@{}", "amqp://me:sesame@{}/"])
def test_nobody_listens(url: str) -> None:
    with Worklist(url.format(f"127.0.0.1:{free_port()}") + "?timeout=2") as app:
        task = app.task(_nothing)
        with pytest.raises(BrokerUnavailable, match="cannot be") as told:
            task.enqueue()
    assert "sesame" not in str(told.value)


def _nothing() -> None:
    pass
