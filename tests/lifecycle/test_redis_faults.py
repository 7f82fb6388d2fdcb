"""What only Redis can suffer under real workers: it forgets scripts, is out of memory, hands over to a replica."""
# ruff: noqa: F401, F811 - fixtures are imported

import time
from pathlib import Path

import pytest
import redis

from tests.servers.places import RedisPlace
from tests.servers.redis import DURABLE, Sentinel, Server, make_cluster, needs_redis
from worklist.core.errors import StoreFull
from worklist.core.job import JobState
from worklist.core.ports import Filter

from .conftest import eventually
from .fleet import IN_FLIGHT, Fleet, Make, make_fleet

pytestmark = [needs_redis, pytest.mark.timeout(400)]


@pytest.fixture
def fleet(make_fleet: Make) -> Fleet:
    return make_fleet("redis")


def client_of(fleet: Fleet) -> redis.Redis:
    return redis.Redis(port=fleet.server.port)


def test_scripts_are_forgotten(fleet: Fleet) -> None:
    fleet.put()
    fleet.worker()
    for share in range(1, 9):
        fleet.strike(share / 10, client_of(fleet).script_flush)
    fleet.check(twice=0)


def test_the_memory_is_full(fleet: Fleet) -> None:
    fleet.put()
    fleet.worker()
    client = client_of(fleet)
    fleet.strike(0.1, lambda: client.config_set("maxmemory", 1 << 20))
    with pytest.raises(StoreFull, match=r"no memory left \(maxmemory\); nothing was changed") as told:
        fleet.put_extra()
    assert "\n" not in str(told.value)
    time.sleep(2)
    assert fleet.begun() < fleet.jobs
    client.config_set("maxmemory", 0)
    fleet.check(twice=0)


def test_leases_whose_answer_was_lost_come_to_their_workers_all_the_same(fleet: Fleet) -> None:
    fleet.put()
    fleet.worker(lease=30.0)
    fleet.worker(lease=30.0)
    for share in range(1, 9):
        fleet.strike(share / 10, fleet.proxy.cut)
    fleet.check(twice=0)
    records = fleet.app.inspector.find(Filter(state=JobState.SUCCEEDED, limit=2 * fleet.jobs))
    assert [record.id for record in records if record.lost] == [], "a worker was thought dead"


def test_an_idle_worker_whose_connection_falls_silent_hears_of_jobs_again(fleet: Fleet) -> None:
    fleet.worker()
    assert fleet.tasks.touch.enqueue(1).result(timeout=60) == 1
    time.sleep(0.5)  # it waits by now
    fleet.proxy.freeze()
    time.sleep(0.5)
    fleet.proxy.thaw()
    begun = time.monotonic()
    assert fleet.tasks.touch.enqueue(2).result(timeout=60) == 2
    assert time.monotonic() - begun < 20, "also the one who waits for the result hears again"


def test_a_replica_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the master answered last before it dies may be missing; here it has a moment to hand on what was put."""
    master = Server(*DURABLE)
    replica = Server(*DURABLE, "--replicaof", f"127.0.0.1 {master.port}")
    master.client.config_set("min-replicas-to-write", 1)
    eventually(lambda: master.client.info("replication")["min_slaves_good_slaves"] == 1)
    sentinel = Sentinel(master.port)
    place = RedisPlace(master, replica)
    fleet = Fleet(place, tmp_path, monkeypatch, f"redis+sentinel://127.0.0.1:{sentinel.port}/0")
    try:
        eventually(lambda: sentinel.client.sentinel_master("mymaster")["num-slaves"] == 1)
        fleet.put()
        assert master.client.wait(1, 5000) == 1
        fleet.worker()
        fleet.strike(0.25, master.kill)
        eventually(lambda: sentinel.client.sentinel_master("mymaster")["port"] == replica.port)
        fleet.check(twice=IN_FLIGHT)
    finally:
        fleet.end()
        sentinel.close()
        replica.close()


def test_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = make_cluster(3, *DURABLE)
    url = f"redis+cluster://127.0.0.1:{servers[0].port},127.0.0.1:{servers[1].port}"
    holder = next(it for it in servers if holds(it, "{worklist}:f"))
    fleet = Fleet(RedisPlace(holder), tmp_path, monkeypatch, url)
    try:
        fleet.put(2000)
        fleet.worker()
        fleet.check(twice=0)
        assert sum(bool(it.client.dbsize()) for it in servers) == 1, "the keys of an app are together"
    finally:
        fleet.end()
        for it in servers:
            it.close()


def holds(server: Server, key: str) -> bool:
    """Return whether a key is this server's in its cluster."""
    try:
        server.client.get(key)
    except redis.exceptions.MovedError:
        return False
    return True
