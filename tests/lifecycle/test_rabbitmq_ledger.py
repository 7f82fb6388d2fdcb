"""RabbitMQ and its ledger under real workers that are killed between the two, or have only one of them left."""

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import VirtualHost, rabbitmq, rabbitmq_node  # noqa: F401 - fixtures
from tests.servers.redis import needs_redis, shared

from .conftest import Place, eventually

LEDGERS = ["sqlite", "postgresql", pytest.param("redis", marks=needs_redis)]
SERVERS = LEDGERS[1:]
JOBS = 600
TASKS = """
@app.task(redeliveries=50)
def plain(n: int) -> int:
    note(n)
    time.sleep(0.002)
    return n

@app.task(redeliveries=50, results="none")
def silent(n: int) -> None:
    note(n)

@app.task(redeliveries=50, key=lambda n: f"k{n}", lane=lambda n: f"l{n % 3}")
def keyed(n: int) -> int:
    note(n)
    time.sleep(0.002)
    return n

@app.task(redeliveries=50)
def total(numbers: list[int]) -> int:
    note(-1)
    return sum(numbers)

@app.task(redeliveries=50)
def parent(n: int) -> int:
    note(n)
    current_job().put(plain, n + 1)
    current_job().put(keyed, n + 2)
    return n

def die_once(store, verb):
    whole = getattr(store, verb)
    def dying(*arguments):
        if arguments[0]:
            try:
                os.close(os.open(os.environ["DIED"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os._exit(9)
        return whole(*arguments)
    setattr(store, verb, dying)

if __name__ == "__main__" and "DIE_AT" in os.environ:
    where, verbs = os.environ["DIE_AT"].split(".")
    for verb in verbs.split("|"):
        die_once(app.store._consumer if where == "messages" else app.store._ledger, verb)
"""


class Fleet:
    """A virtual host and a ledger, each behind a proxy, and workers."""

    def __init__(self, host: VirtualHost, ledger: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.died = folder / "died"
        self.messages, self.ledger = Proxy(host.port), None
        self.lists_all = not ledger.startswith("redis")  # Redis keeps records of carried jobs, and no list of them
        url = f"sqlite:///{folder}/ledger.db"
        if not ledger.startswith("sqlite"):
            address = ledger.partition("://")[2].rpartition("@")[2].partition("/")[0]
            self.ledger = Proxy(int(address.rpartition(":")[2]))
            url = ledger.replace(address, f"127.0.0.1:{self.ledger.port}") + "&timeout=1"
        monkeypatch.setenv("WORKLIST_RESULTS", url)
        monkeypatch.setenv("DIED", str(self.died))
        self.place = Place(
            folder, monkeypatch, TASKS, f"{host.url_at(self.messages.port)}?timeout=4&prefix=f{time.time_ns()}"
        )
        self.tasks = self.place.tasks

    def worker(self, die_at: str | None = None, lease: float = 5.0) -> subprocess.Popen[str]:
        if die_at is not None:
            self.place.environment["DIE_AT"] = die_at
        try:
            return self.place.worker(lease=lease, threads=4)
        finally:
            self.place.environment.pop("DIE_AT", None)

    def put(self, jobs: int = JOBS) -> list[Any]:
        """Put jobs of both halves: even ones are carried by RabbitMQ, odd ones stand in the ledger."""
        plain = self.tasks.plain.enqueue_many([(n,) for n in range(0, jobs, 2)])
        keyed = self.tasks.keyed.enqueue_many([(n,) for n in range(1, jobs, 2)])
        return [handle for pair in zip(plain, keyed, strict=True) for handle in pair]

    def ran(self) -> int:
        return sum(self.place.runs().values())

    def check(self, handles: list[Any], twice: int) -> None:
        """Check that all jobs have ended, each once and with its own result."""
        self.check_ends(handles)
        runs = self.place.runs()
        assert set(runs) == set(range(len(handles))), "a job was lost"
        again = {n: times for n, times in runs.items() if times > 1}
        assert self.ran() - len(handles) <= twice, f"more ran twice than can have been in flight: {again}"

    def check_ends(self, handles: list[Any], *others: Any) -> None:
        """Check that all jobs have ended, the first ones with their numbers as results, and that nothing is left."""
        assert not self.place.app.wait([*handles, *others], timeout=90).pending
        assert [handle.result(timeout=5) for handle in handles] == list(range(len(handles)))
        eventually(lambda: not self.place.app.store.held_back(["default"]))
        if self.lists_all:
            assert self.place.counts() == {"succeeded": len(handles) + len(others)}

    def end(self) -> None:
        self.place.end()
        self.messages.close()
        if self.ledger is not None:
            self.ledger.close()


@pytest.fixture
def fleet(
    rabbitmq: VirtualHost,  # noqa: F811
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Fleet]:
    ledger: str = request.param
    if ledger == "postgresql":
        database: Database = request.getfixturevalue("postgres_schema")
        ledger = database.url
    elif ledger == "redis":
        ledger = f"{shared().url}/0?prefix=f{os.getpid()}.{time.time_ns()}"
    fleet = Fleet(rabbitmq, ledger, tmp_path, monkeypatch)
    yield fleet
    fleet.end()


@pytest.mark.parametrize("fleet", LEDGERS, indirect=True)
def test_workers_are_killed_at_random(fleet: Fleet) -> None:
    handles = fleet.put()
    end = fleet.tasks.plain.map(range(JOBS, JOBS + 40)).then(fleet.tasks.total.s()).enqueue()
    for n in range(1, 5):
        worker = fleet.worker()
        eventually(lambda n=n: fleet.ran() >= n * JOBS // 6)
        worker.kill()
    fleet.worker()
    assert end.result(timeout=60) == sum(range(JOBS, JOBS + 40))
    fleet.check_ends(handles, *[end] * 41)  # it, and the members of its group


@pytest.mark.parametrize("fleet", LEDGERS, indirect=True)
@pytest.mark.parametrize(
    "die_at",
    ["ledger.keep", "messages.done", "ledger.exchange|settle"],
    ids=["before results", "before acks", "after acks"],
)
def test_a_worker_dies_between_the_two(fleet: Fleet, die_at: str) -> None:
    handles = fleet.put(60)
    first = fleet.worker(die_at)
    assert first.wait(60) == 9
    seen = fleet.place.runs()
    fleet.worker()
    fleet.check(handles, twice=sum(seen.values()))


@pytest.mark.parametrize("fleet", LEDGERS, indirect=True)
@pytest.mark.parametrize(
    ("die_at", "runs"), [("ledger.put", 2), ("ledger.keep", 2), ("messages.done", 1)], ids=["first", "middle", "last"]
)
def test_followers_of_a_carried_job_outlive_its_worker(fleet: Fleet, die_at: str, runs: int) -> None:
    handle = fleet.tasks.parent.enqueue(1000)
    assert fleet.worker(die_at).wait(60) == 9
    fleet.worker()
    assert handle.result(timeout=30) == 1000
    eventually(lambda: {1000, 1001, 1002} <= {*fleet.place.runs()})
    ran = fleet.place.runs()
    assert ran[1000] == runs
    assert ran[1001] <= runs
    assert ran[1002] <= runs


@pytest.mark.parametrize("fleet", SERVERS, indirect=True)
def test_jobs_of_rabbitmq_run_while_the_ledger_is_away(fleet: Fleet) -> None:
    assert fleet.ledger is not None
    fleet.worker(lease=30.0)  # half of it is RabbitMQ's patience, which a worker that waits for the ledger may not try
    handles = fleet.put(40)
    fleet.check(handles, twice=0)
    fleet.ledger.away()
    fleet.tasks.silent.enqueue_many([(n,) for n in range(1000, 1100)])
    eventually(lambda: len(fleet.place.runs()) >= 140)
    fleet.ledger.back()
    assert fleet.tasks.keyed.enqueue(41).result(timeout=30) == 41
    assert fleet.place.runs() == Counter([*range(40), *range(1000, 1100), 41])


@pytest.mark.parametrize("fleet", SERVERS, indirect=True)
def test_what_ends_while_the_ledger_is_away_is_settled_later(fleet: Fleet) -> None:
    assert fleet.ledger is not None
    handles = fleet.put()
    fleet.worker()
    eventually(lambda: fleet.ran() >= JOBS // 4)
    fleet.ledger.away()
    time.sleep(1.0)
    fleet.ledger.back()
    fleet.check(handles, twice=60)


@pytest.mark.parametrize("fleet", LEDGERS, indirect=True)
def test_jobs_of_the_ledger_run_while_rabbitmq_is_away(fleet: Fleet) -> None:
    handles = fleet.put()
    fleet.worker()
    eventually(lambda: fleet.ran() >= JOBS // 4)
    fleet.messages.away()
    more = fleet.tasks.keyed.enqueue_many([(n,) for n in range(JOBS + 1, JOBS + 101)])
    assert [handle.result(timeout=30) for handle in more] == [*range(JOBS + 1, JOBS + 101)]
    fleet.messages.back()
    fleet.check_ends(handles, *more)


@pytest.mark.parametrize("fleet", SERVERS, indirect=True)
def test_both_are_cut_off_again_and_again(fleet: Fleet) -> None:
    assert fleet.ledger is not None
    handles = fleet.put()
    fleet.worker()
    fleet.worker()
    for _ in range(5):
        time.sleep(0.3)
        fleet.ledger.cut()
        time.sleep(0.1)
        fleet.messages.cut()
    fleet.check(handles, twice=400)
