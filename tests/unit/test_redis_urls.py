"""URLs of Redis, and what its servers refuse: one clear sentence each, and never a password."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worklist import Worklist
from worklist.core.errors import BrokerError, BrokerUnavailable, ConfigError, SchemaMismatch, StoreFull

from ..servers.ports import free_port
from ..servers.redis import Sentinel, Server, needs_redis


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
        ("redis+unix://host/file", "expected redis.unix:///FOLDER/FILE"),
        ("redis+unix:///run/redis.sock?db=one", "expected the number of a database, as in redis.unix"),
        ("redis+sentinel://host/mymaster/0", "as in redis.sentinel://localhost:26379/0.master=mymaster"),
        ("redis://host?master=m", "the option master is for redis.sentinel://"),
        ("redis://host?cafile=f", "the option cafile is for rediss://"),
        ("redis+sentinel://host?sentinel_password=sesame&db=1", "the option db is for redis.unix://"),
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

    def make(*options: str, port: int | None = None) -> Server:
        made.append(Server(*options, port=port))
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
def test_a_user_who_may_not_do_everything(make_server: Callable[..., Server]) -> None:
    server = make_server()
    server.client.execute_command("ACL", "SETUSER", "reader", "on", ">sesame", "~*", "&*", "+@read", "+info")
    told = str(refusal(f"redis://reader:sesame@127.0.0.1:{server.port}"))
    assert "does not let this user do that" in told
    assert "sesame" not in told


@needs_redis
def test_a_server_that_is_too_old(make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worklist.brokers.redis.server.LEAST_VERSION", (99, 1))
    assert "99.1 or newer is needed" in str(refusal(make_server().url))


@needs_redis
def test_a_replica(make_server: Callable[..., Server]) -> None:
    server = make_server("--replicaof", "127.0.0.1 1")
    told = refusal(server.url)
    assert isinstance(told, BrokerUnavailable), "it may become the master"
    assert "read only replica" in str(told)


@needs_redis
def test_servers_of_another_kind_than_the_url_says(make_server: Callable[..., Server]) -> None:
    server = make_server()
    assert "is no cluster; expected redis://" in str(refusal(f"redis+cluster://127.0.0.1:{server.port}"))
    assert "is no sentinel; expected redis://" in str(refusal(f"redis+sentinel://127.0.0.1:{server.port}"))
    of_cluster = make_server("--cluster-enabled", "yes", port=free_port(below=55_000))
    assert "one of a cluster; expected redis+cluster://" in str(refusal(of_cluster.url))
    sentinel = Sentinel(server.port)
    try:
        assert "is a sentinel; expected redis+sentinel://" in str(refusal(sentinel.url))
        told = refusal(f"redis+sentinel://127.0.0.1:{sentinel.port}?master=nobody")
        assert "?master=NAME says what they call it" in str(told)
    finally:
        sentinel.close()


def test_a_server_that_is_not_redis() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=_answer_as_a_web_server, args=(listener,), daemon=True)
        answering.start()
        place = f"127.0.0.1:{listener.getsockname()[1]}?timeout=2"
        told = [str(refusal(f"{scheme}://{place}")) for scheme in ("redis", "rediss")]
    answering.join(10)
    assert "does not answer as Redis does" in told[0]
    assert "does not speak TLS" in told[1]


def _answer_as_a_web_server(listener: socket.socket) -> None:
    listener.settimeout(1.0)
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@needs_redis
def test_a_socket(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server("--unixsocket", "redis.sock")
    path = Path(server.folder) / "redis.sock"
    assert _sum_of(f"redis+unix://{path}?db=3") == 3
    assert server.client.info("keyspace").keys() == {"db3"}
    assert "cannot be used just now" in str(refusal(f"redis+unix://{tmp_path}/none.sock"))


@needs_redis
def test_tls(make_server: Callable[..., Server], tmp_path: Path) -> None:
    certificate, key = tmp_path / "own.crt", tmp_path / "own.key"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request.split(), *names], check=True, capture_output=True)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    make_server("--tls-port", str(port), *files, "--tls-auth-clients", "optional")
    url = f"rediss://127.0.0.1:{port}"
    assert "?cafile=FILE names who may have signed it" in str(refusal(url))
    assert _sum_of(f"{url}?cafile={certificate}") == 3
    assert _sum_of(f"{url}?verify=none&prefix=b&certfile={certificate}&keyfile={key}") == 3
    with pytest.raises(ConfigError, match="cafile is .*; expected a file that is there"):
        Worklist(f"{url}?cafile={tmp_path}/none.crt").store  # noqa: B018 - it opens


def _sum_of(url: str) -> int:
    """Return what a job on this URL makes of 1 and 2."""
    with Worklist(url) as app:

        @app.task
        def add(a: int, b: int) -> int:
            return a + b

        job = add.enqueue(1, 2)
        app.work(until_empty=True)
        return job.result(timeout=0)


@needs_redis
def test_sentinels_with_a_password(make_server: Callable[..., Server]) -> None:
    server = make_server("--requirepass", "right")
    sentinel = Sentinel(server.port, "requirepass sesame", "sentinel auth-pass mymaster right")
    try:
        url = f"redis+sentinel://:right@127.0.0.1:{sentinel.port}/0"
        assert _sum_of(f"{url}?sentinel_password=sesame") == 3
        told = str(refusal(f"{url}?sentinel_password=pumpkin"))
        assert "no sentinel" in told
        assert "pumpkin" not in told
        assert "right" not in told
    finally:
        sentinel.close()


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("worklist.brokers.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r'the package redis, .*: pip install "worklist\[redis\]"'):
        Worklist("redis://localhost").store  # noqa: B018 - it opens


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
