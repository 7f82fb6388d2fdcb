"""URLs of Redis, and what its servers refuse: one clear sentence each, and never a password."""

from collections.abc import Callable, Iterator

import pytest

from worklist import Worklist
from worklist.core.errors import BrokerError, BrokerUnavailable, ConfigError, SchemaMismatch, StoreFull

from ..servers.redis import Server, needs_redis


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://host/zero", "expected the number of a database"),
        ("redis://one,two", "names 2 servers; expected redis.sentinel"),
        ("redis+sentinel:///0", "expected redis.sentinel://HOST:PORT,HOST:PORT"),
        ("redis+cluster://host/3", "a cluster has database 0 only"),
        ("redis://host:99999", "HOST or HOST:PORT"),
        ("redis://host?prefix=", "prefix is ''"),
        ("redis://host?prefix={a}", "without spaces and braces"),
        ("redis://:sesame@host/zero", "redis://:...@host/zero"),
    ],
)
def test_a_url_that_means_nothing_is_refused_when_the_app_is_made(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        Worklist(url)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "complaint"), [("prefx=a", "did you mean 'prefix'"), ("timeout=soon", "timeout is 'soon'")]
)
def test_an_option_that_means_nothing_is_refused_when_it_is_opened(option: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Worklist(f"redis://localhost?{option}").store  # noqa: B018 - it opens


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*options: str) -> Server:
        made.append(Server(*options))
        return made[-1]

    yield make
    for server in made:
        server.close()


def refusal(url: str) -> BrokerError:
    """Return what an app on this URL says to its first job."""
    with Worklist(url) as app:

        @app.task
        def nothing() -> None: ...

        with pytest.raises(BrokerError) as refused:
            nothing.enqueue()
    assert "\n" not in str(refused.value)
    return refused.value


@needs_redis
def test_a_password_that_is_wrong_or_missing(make_server: Callable[..., Server]) -> None:
    server = make_server("--requirepass", "right")
    for login in (":wrong@", ""):
        told = refusal(f"redis://{login}127.0.0.1:{server.port}")
        assert "refuses the user or the password" in str(told)
        assert not isinstance(told, BrokerUnavailable), "trying again would not help"
        assert "wrong" not in str(told)


@needs_redis
def test_a_database_that_is_not_there(make_server: Callable[..., Server]) -> None:
    server = make_server("--databases", "2")
    assert "expected a lower number" in str(refusal(f"{server.url}/7"))


@needs_redis
def test_data_of_others(make_server: Callable[..., Server]) -> None:
    server = make_server()
    server.client.set("{taken}:format", "worklist 99")
    newer = refusal(f"{server.url}?prefix=taken")
    assert isinstance(newer, SchemaMismatch)
    assert "a newer Worklist wrote it" in str(newer)
    server.client.set("{theirs}:format", "blog")
    assert "another program's" in str(refusal(f"{server.url}?prefix=theirs"))
    server.client.set("{mixed}:j", "text")
    mixed = refusal(f"{server.url}?prefix=mixed")
    assert isinstance(mixed, SchemaMismatch)
    assert "another program's data" in str(mixed)


@needs_redis
def test_a_server_without_memory_left(make_server: Callable[..., Server]) -> None:
    server = make_server()
    with Worklist(server.url) as app:

        @app.task
        def task(text: str) -> int:
            return len(text)

        first = task.enqueue("a")
        server.client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull, match="no memory left"):
            task.enqueue("b")
        server.client.config_set("maxmemory", 0)
        assert task.enqueue("c")
        app.work(until_empty=True)
        assert first.result(timeout=0) == 1


@needs_redis
def test_a_server_that_may_throw_jobs_away(
    make_server: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with Worklist(server.url) as app:
        app.store.now()
    assert "set it to noeviction" in caplog.text


@needs_redis
def test_two_apps_on_one_server(make_server: Callable[..., Server]) -> None:
    server = make_server()
    with Worklist(f"{server.url}?prefix=a") as one, Worklist(f"{server.url}?prefix=b") as other:

        @one.task(name="task")
        def task() -> None: ...

        task.enqueue()
        assert one.inspector.counts()["default"]
        assert other.inspector.counts() == {}
