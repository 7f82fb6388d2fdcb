"""Servers that cannot be used, and URLs with a slip in them: one line each, and never a part of a password."""

from collections.abc import Iterator

import pytest
import redis

from tests.servers.postgres import Server as PostgresServer
from tests.servers.postgres import postgres_server  # noqa: F401 - a fixture
from tests.servers.redis import Server as RedisServer
from tests.servers.redis import needs_redis
from worklist import Worklist
from worklist.core.errors import ConfigError

from .conftest import Folder

COMMANDS = [("worker", "tasks:app"), ("beat", "tasks:app"), ("status", "--app", "tasks:app")]


@pytest.fixture
def locked_redis() -> Iterator[RedisServer]:
    server = RedisServer("--requirepass", "sesame")
    yield server
    server.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_of_postgresql(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    postgres_server: PostgresServer,  # noqa: F811
    command: tuple[str, ...],
) -> None:
    monkeypatch.setenv("WORKLIST_URL", f"postgresql://locked:geheim@127.0.0.1:{postgres_server.port}/test")
    line = folder.error(*command)
    assert "the password of the user locked is wrong or missing; check the URL" in line
    assert "geheim" not in line


@needs_redis
@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_of_redis(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, locked_redis: RedisServer, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WORKLIST_URL", f"redis://:geheim@127.0.0.1:{locked_redis.port}")
    line = folder.error(*command)
    assert "refuses the user or the password; check both in the URL" in line
    assert "geheim" not in line


@needs_redis
def test_another_program_s_data(folder: Folder, monkeypatch: pytest.MonkeyPatch, locked_redis: RedisServer) -> None:
    redis.Redis(port=locked_redis.port, password="sesame").set("{shop}:format", "shop 3")
    monkeypatch.setenv("WORKLIST_URL", f"redis://:sesame@127.0.0.1:{locked_redis.port}?prefix=shop")
    line = folder.error("worker", "tasks:app")
    assert "has the format 'shop 3': it is another program's, or choose another ?prefix=" in line
    assert "sesame" not in line


ESCAPE = "in a password a / is written %2F"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://:se/same@h:1", ESCAPE),
        ("redis://:se?same@h:1", ESCAPE),
        ("redis://:se#same@h:1", "a # in a password or in the name of a file is written %23"),
        ("redis://me:same@h:x", "HOST or HOST:PORT"),
        ("rediss:same@h:1", "expected the number of a database"),
        ("reddis://:same@h", "did you mean 'redis'"),
        ("redis://[::1:6379", "is no URL: Invalid IPv6 URL"),
        ("amqp://me:se/same@h", ESCAPE),
        ("amqp:same@h", "expected amqp://USER:PASSWORD@HOST:PORT/VHOST"),
        ("mongodb://me:same@h", "which keep results and no jobs; expected amqp:// for the jobs"),
    ],
)
def test_a_url_with_a_slip(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        Worklist(url)
    assert complaint in str(told.value)
    assert "same" not in str(told.value)


def test_a_slip_in_the_url_of_postgresql() -> None:
    with Worklist("postgresql://me:se/same@h:1") as app, pytest.raises(ConfigError, match=ESCAPE) as told:
        app.store.now()
    assert "same" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "complaint"), [("mongodb://h/?tmeout=3", "Unknown option"), ("mongodb://h/a.b", "cannot contain")]
)
def test_a_slip_in_the_url_of_mongodb(url: str, complaint: str) -> None:
    with Worklist("amqp://h", results=url) as app, pytest.raises(ConfigError, match=complaint) as told:
        app.store.now()
    assert "\n" not in str(told.value)
