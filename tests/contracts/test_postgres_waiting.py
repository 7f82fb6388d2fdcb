"""Notifications are sent where somebody waits, and nowhere else: each costs a lock on the whole server."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from worklist.brokers.postgres import PostgresBroker, waiting
from worklist.core.job import Job, new_job_id

QUEUES = ["default"]


@pytest.fixture
def told(postgres_schema: Database) -> Iterator["psycopg.Connection[object]"]:  # noqa: F811
    """Give a connection that hears all notifications, and makes nobody send any."""
    with psycopg.connect(postgres_schema.url.partition("?")[0], autocommit=True) as connection:
        connection.execute(f'LISTEN "worklist_{postgres_schema.schema}"')
        yield connection


def heard(connection: "psycopg.Connection[object]") -> list[str]:
    """Return what was told before this call."""
    connection.execute("SELECT 1")
    return [note.payload for note in connection.notifies(timeout=0.1)]


def put(broker: PostgresBroker, jobs: int = 1) -> None:
    broker.put([Job(new_job_id(), "t") for _ in range(jobs)])


def test_who_waits_no_longer_is_not_told(
    postgres_schema: Database,  # noqa: F811
    told: "psycopg.Connection[object]",
) -> None:
    worker, client = PostgresBroker(postgres_schema.place), PostgresBroker(postgres_schema.place)
    put(client)
    assert heard(told) == []
    assert len(worker.lease("w", QUEUES, 10, 60.0)) == 1

    def wait_and_put(jobs: int) -> None:
        watcher = threading.Thread(target=worker.wait, args=(QUEUES, 30.0))
        watcher.start()
        time.sleep(0.3)
        put(client, jobs)
        watcher.join(20)
        assert not watcher.is_alive()

    for jobs in (1, 100):
        wait_and_put(jobs)
        assert heard(told) == ["qdefault"]
        assert len(worker.lease("w", QUEUES, 200, 60.0)) == jobs
    worker.close()
    client.close()


def test_a_thread_that_goes_on_living_is_not_told_either(
    postgres_schema: Database,  # noqa: F811
    told: "psycopg.Connection[object]",
) -> None:
    worker, client = PostgresBroker(postgres_schema.place), PostgresBroker(postgres_schema.place)
    worker.now()
    waits = threading.Semaphore(0)
    returned = threading.Semaphore(0)
    over = threading.Event()

    def watch() -> None:
        while waits.acquire() and not over.is_set():
            worker.wait(QUEUES, 30.0)
            returned.release()

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(2):
        waits.release()
        time.sleep(0.3)
        put(client)
        assert returned.acquire(timeout=20)
        assert heard(told) == ["qdefault"]
        time.sleep(2 * waiting.LINGER)
        assert len(worker.lease("w", QUEUES, 10, 60.0)) == 1  # it is busy
        put(client)
        put(client, 100)
        assert heard(told) == []
        assert len(worker.lease("w", QUEUES, 200, 60.0)) == 101
    over.set()
    waits.release()
    watcher.join(20)
    worker.close()
    client.close()


def test_waking_who_does_not_wait_keeps_nobody(postgres_schema: Database) -> None:  # noqa: F811
    broker = PostgresBroker(postgres_schema.place)
    broker.wait_change(0.01)

    def wake() -> None:
        for _ in range(5000):
            broker.wake()

    waker = threading.Thread(target=wake, daemon=True)
    waker.start()
    waker.join(20)
    assert not waker.is_alive()
    broker.close()
