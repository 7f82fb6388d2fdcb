"""Jobs that are put in a transaction of the caller's own: they are there with its commit, and never without."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.servers.postgres import Database, postgres_schema, postgres_url  # noqa: F401 - fixtures
from worklist import Worklist
from worklist.core.errors import ConfigError, GroupEnded


@pytest.fixture
def app(postgres_schema: Database) -> Iterator[Worklist]:  # noqa: F811
    app = Worklist(postgres_schema.url)
    yield app
    app.close()


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:  # noqa: F811
    with psycopg.connect(postgres_url, row_factory=dict_row) as connection:
        yield connection


def double(n: int) -> int:
    return 2 * n


def known(app: Worklist) -> int:
    return sum(sum(states.values()) for states in app.inspector.counts().values())


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"lane": "tenant"}, {"delay": 0.001}, {"key": "k", "lane": "l"}])
def test_with_the_commit_and_not_before(app: Worklist, connection: psycopg.Connection[Any], options: Any) -> None:
    task = app.task(double)
    job = task.using(connection=connection, **options).enqueue(4)
    assert known(app) == 0
    app.work(until_empty=True)
    assert known(app) == 0
    connection.commit()
    assert known(app) == 1
    app.work(until_empty=True)
    assert job.result(timeout=10) == 8


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"lane": "tenant"}])
def test_rolled_back_means_never_existed(app: Worklist, connection: psycopg.Connection[Any], options: Any) -> None:
    task = app.task(double)
    task.using(connection=connection, **options).enqueue_many([(n,) for n in range(3)])
    connection.rollback()
    assert known(app) == 0
    assert task.using(**options).enqueue(1) is not None
    app.work(until_empty=True)
    assert app.inspector.counts()["default"] == {"succeeded": 1}


def test_an_open_transaction_keeps_nobody_waiting(app: Worklist, connection: psycopg.Connection[Any]) -> None:
    """Other jobs in the same lane, and other keys, are put and done meanwhile."""
    task = app.task(double)
    task.using(lane="a", key="one").enqueue(0)
    app.work(until_empty=True)
    mine = task.using(connection=connection, lane="a", key="mine").enqueue(1)
    begun = time.monotonic()
    others = task.using(lane="a").enqueue_many([(n,) for n in range(20)])
    keyed = task.using(key="two").enqueue(3)
    app.work(until_empty=True)
    assert [job.result(timeout=0) for job in (*others, keyed)] == [*range(0, 40, 2), 6]
    assert time.monotonic() - begun < 10
    connection.commit()
    app.work(until_empty=True)
    assert mine.result(timeout=0) == 2


def test_a_worker_is_told_with_the_commit(app: Worklist, connection: psycopg.Connection[Any]) -> None:
    task = app.task(double)
    waits = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: app.work(max_jobs=1))
        thread.start()
        time.sleep(0.3)
        job = task.using(connection=connection).enqueue(1)
        time.sleep(0.1)
        begun = time.monotonic()
        connection.commit()
        job.result(timeout=10)
        waits.append(time.monotonic() - begun)
        thread.join()
    assert min(waits) < 0.2


def test_a_refusal_leaves_the_transaction_usable(app: Worklist, connection: psycopg.Connection[Any]) -> None:
    task = app.task(double)
    with app.group() as group:
        group.add(task.s(1))
    app.work(until_empty=True)
    connection.execute("CREATE TEMPORARY TABLE here (n integer) ON COMMIT DROP")
    job = task.job((1,), {})
    from msgspec.structs import replace

    from worklist.core.job import Ties

    with pytest.raises(GroupEnded):
        app.put_within(connection, [replace(job, ties=Ties(group=group.id))])
    assert connection.execute("SELECT count(*) AS n FROM here").fetchone() == {"n": 0}


def test_autocommit_puts_at_once(app: Worklist, postgres_url: str) -> None:  # noqa: F811
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        app.task(double).using(connection=connection, key="k").enqueue(1)
        assert known(app) == 1
        with connection.transaction(force_rollback=True):
            app.tasks[next(iter(app.tasks))].using(connection=connection).enqueue(1)
        assert known(app) == 1


def test_sqlalchemy(app: Worklist, postgres_url: str) -> None:  # noqa: F811
    sqlalchemy = pytest.importorskip("sqlalchemy")
    orm = pytest.importorskip("sqlalchemy.orm")
    engine = sqlalchemy.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    task = app.task(double)
    with engine.connect() as connection:
        task.using(connection=connection).enqueue(1)
        connection.rollback()
        assert known(app) == 0
    with engine.begin() as connection:
        task.using(connection=connection).enqueue(1)
    assert known(app) == 1
    with orm.Session(engine) as session:
        task.using(connection=session).enqueue_many([(1,), (2,)])
        assert known(app) == 1
        session.commit()
    assert known(app) == 3
    engine.dispose()


def test_django(app: Worklist, postgres_url: str) -> None:  # noqa: F811
    pytest.importorskip("django")
    from urllib.parse import urlsplit

    from django.conf import settings
    from django.db import transaction
    from django.db.utils import ConnectionHandler

    if not settings.configured:
        settings.configure()
    parts = urlsplit(postgres_url)
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], "USER": parts.username or ""}
    database |= {"HOST": parts.hostname, "PORT": parts.port, "PASSWORD": parts.password or ""}
    connection = ConnectionHandler({"default": database})["default"]
    task = app.task(double)
    try:
        connection.set_autocommit(False)
        task.using(connection=connection).enqueue(1)
        connection.rollback()
        assert known(app) == 0
        task.using(connection=connection).enqueue(1)
        assert known(app) == 0
        connection.commit()
        assert known(app) == 1
        assert transaction is not None
    finally:
        connection.close()


def test_a_broker_that_cannot() -> None:
    app = Worklist("memory://")
    with pytest.raises(ConfigError, match="cannot do transaction, .*; use a postgresql:// URL"):
        app.task(double).using(connection=object())


def test_what_is_no_connection(app: Worklist) -> None:
    task = app.task(double)
    with pytest.raises(ConfigError, match=r"got builtins\.object; expected a connection of psycopg 3"):
        task.using(connection=object()).enqueue(1)
    with pytest.raises(ConfigError, match="is a string; expected an open connection"):
        task.using(connection="postgresql://")


def test_a_connection_that_leads_elsewhere(app: Worklist, postgres_url: str) -> None:  # noqa: F811
    elsewhere = postgres_url.rpartition("/")[0] + "/template1"
    task = app.task(double)
    with psycopg.connect(elsewhere) as connection, pytest.raises(ConfigError, match="both have to be one"):
        task.using(connection=connection).enqueue(1)


def test_workflows_are_refused(app: Worklist, connection: psycopg.Connection[Any]) -> None:
    task = app.task(double)
    with pytest.raises(ConfigError, match="not with workflows and groups"):
        (task.using(connection=connection).s(1) | task.s()).enqueue()
