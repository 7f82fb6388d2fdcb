"""The servers that measurements need: started by the benchmark on free ports of this machine, and ended by it.

A Redis server is started for each measurement. A PostgreSQL cluster and a RabbitMQ node serve a whole run, and each
measurement has a fresh database or virtual host there. Knows no queue and needs nothing but the standard library and
the servers' own programs, since every peer's interpreter runs it.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.systems.base import Options
from bench.systems.process import descendants

HOST = "127.0.0.1"
START = 60.0
"""Seconds that a server may need until it answers."""

REDIS_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "auto-aof-rewrite-percentage": "0",  # no rewrite falls into one measurement and not into another
    "save": "",
    "maxmemory": "0",
}
POSTGRES_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",  # no checkpoint falls into one measurement and not into another
    "checkpoint_timeout": "1h",
    "max_connections": "200",
    "listen_addresses": HOST,
}
RABBIT_SETTINGS = {
    "vm_memory_high_watermark.relative": "0.6",
    "disk_free_limit.absolute": "50MB",
    "log.console": "false",
    "log.file.level": "error",
    "consumer_timeout": "1800000",
}
RABBIT_PROGRAMS = Path("/usr/lib/rabbitmq/bin")


class NoServerError(Exception):
    """A server's program is not installed, or it did not start."""


@contextlib.contextmanager
def standing(server: str) -> Iterator[None]:
    """What serves a whole run, for the scripts that are started meanwhile; nothing for suites without a server."""
    from bench.systems import site

    kinds = {"postgresql": _postgres, "rabbitmq": _rabbit, "nginx": site.serving}
    start = kinds.get(server)
    if start is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder, start(Path(folder)):
        yield


@contextlib.contextmanager
def place(options: Options) -> Iterator[Options]:
    """The options of a measurement with the URLs of fresh servers in them, and the ids of their processes."""
    if not options.server:
        yield options
        return
    with contextlib.ExitStack() as stack:
        pids: list[int] = []
        url = results = ""
        if options.server in {"redis", "rabbitmq"}:
            port, pid = stack.enter_context(redis(options.dir / "redis"))
            url, results = f"redis://{HOST}:{port}/0", f"redis://{HOST}:{port}/1"
            pids.append(pid)
        if options.server == "postgresql":
            url = stack.enter_context(_database())
        if options.server == "rabbitmq":
            url = stack.enter_context(_vhost())
        if options.server in {"postgresql", "rabbitmq"}:
            pids.append(int(os.environ["BENCH_NODE_PID"]))
        yield replace(options, url=url, results_url=results, server_pids=",".join(str(pid) for pid in pids))


def family(options: Options) -> list[int]:
    """The processes of the measurement's servers, with those that they have started."""
    roots = [int(pid) for pid in options.server_pids.split(",") if pid]
    return [pid for root in roots for pid in (root, *descendants(root))]


def version_of(server: str) -> str:
    """The version of a server's program, for the table's foot."""
    if server == "rabbitmq":
        folders = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
        return folders[-1].name.partition("-")[2] if folders else "missing"
    name = {"redis": "redis-server", "nginx": "nginx"}.get(server)
    try:
        command = [program(name) if name else _postgres_program("postgres"), "-v" if name == "nginx" else "--version"]
    except NoServerError:
        return "missing"
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


# -- Redis ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[tuple[int, int]]:
    """A Redis server with its own folder; its port and its process."""
    folder.mkdir()
    port = free_port()
    command = [program("redis-server"), "--port", str(port), "--bind", HOST, "--dir", str(folder), "--logfile", "log"]
    for name, value in REDIS_SETTINGS.items():
        command += [f"--{name}", value]
    with process(command, folder / "output") as started:
        until(lambda: _redis_answers(port), started, "redis-server", folder / "log")
        yield port, started.pid


def _redis_answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


# -- PostgreSQL -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[None]:
    """A cluster of its own. The server refuses to run as root, so then it runs as the user `postgres`."""
    account = _account("postgres")
    if account:
        shutil.chown(folder, account, account)
    data, port = folder / "data", free_port()
    make = [_postgres_program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    subprocess.run(
        [*make, "--locale", "C", "--no-sync"], check=True, user=account, capture_output=True, cwd=folder, env=_plain()
    )
    command = [_postgres_program("postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    for name, value in POSTGRES_SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    log = folder / "log"
    with process(command, log, signal.SIGINT, account) as started:
        probe = [_postgres_program("pg_isready"), "-q", "-h", HOST, "-p", str(port)]
        until(lambda: subprocess.run(probe, check=False).returncode == 0, started, "postgres", log)
        with published(BENCH_NODE_PORT=str(port), BENCH_NODE_PID=str(started.pid)):
            yield


@contextlib.contextmanager
def _database() -> Iterator[str]:
    port = os.environ["BENCH_NODE_PORT"]
    name = f"bench_{time.time_ns()}"
    psql = [_postgres_program("psql"), "-q", "-h", HOST, "-p", port, "-U", "postgres", "-d", "postgres"]
    subprocess.run([*psql, "-c", f"CREATE DATABASE {name}", "-c", "CHECKPOINT"], check=True, capture_output=True)
    try:
        yield f"postgresql://postgres@{HOST}:{port}/{name}"
    finally:
        subprocess.run([*psql, "-c", f"DROP DATABASE {name} WITH (FORCE)"], check=False, capture_output=True)


def _postgres_program(name: str) -> str:
    """Debian keeps the servers' programs in a folder for each version, the newest of which is taken."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = [folder / name for folder in folders if (folder / name).exists()]
    return str(found[-1]) if found else program(name)


# -- RabbitMQ ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _rabbit(folder: Path) -> Iterator[None]:
    """A node of its own, with its own name, folder and cookie, without plugins."""
    port, distribution = free_port(), free_port()
    (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in RABBIT_SETTINGS.items()))
    (folder / "plugins").write_text("[].\n")
    settings = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the server, instead of waiting for it
    }
    server = RABBIT_PROGRAMS / "rabbitmq-server"
    if not server.exists():
        raise NoServerError("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)")
    log = folder / "output"
    with process([str(server)], log, environment=settings) as started:
        until(lambda: _rabbit_answers(port), started, "rabbitmq-server", log)
        node = {name: settings[name] for name in ("HOME", "RABBITMQ_NODENAME", "RABBITMQ_CONFIG_FILE")}
        shown = {f"BENCH_CTL_{name}": value for name, value in node.items()}
        with published(BENCH_NODE_PORT=str(port), BENCH_NODE_PID=str(started.pid), **shown):
            yield


def _rabbit_answers(port: int) -> bool:
    """Whether it greets, which it does once it is ready: eight bytes are the client's half of the greeting."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


@contextlib.contextmanager
def _vhost() -> Iterator[str]:
    port = os.environ["BENCH_NODE_PORT"]
    name = f"bench-{time.time_ns()}"
    _tell_rabbit(
        f'rabbit_vhost:add(<<"{name}">>, <<"bench">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
        '<<".*">>, <<".*">>, <<".*">>, <<"bench">>).'
    )
    try:
        yield f"amqp://guest:guest@{HOST}:{port}/{name}"
    finally:
        _tell_rabbit(f'rabbit_vhost:delete(<<"{name}">>, <<"bench">>).')


def _tell_rabbit(expression: str) -> None:
    """In one call, since each starts an Erlang of its own for a second."""
    prefix = "BENCH_CTL_"
    node = {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}
    command = [str(RABBIT_PROGRAMS / "rabbitmqctl"), "-q", "eval", expression]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**_plain(), **node})
    if done.returncode:
        raise NoServerError(f"rabbitmqctl: {(done.stdout + done.stderr).strip()[-300:]}")


# -- processes --------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        raise NoServerError(f"{name} is not installed")
    return found


def _account(name: str) -> str | None:
    """The user that a server runs as which refuses to be root; None where it runs as who is here."""
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise NoServerError(f"there is no user {name!r} to run the server as") from None
    return name


def _plain() -> dict[str, str]:
    """The environment without what libpq and RabbitMQ's scripts would read of it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "RABBITMQ_"))}


@contextlib.contextmanager
def process(
    command: Sequence[str],
    log: Path,
    stop: signal.Signals = signal.SIGTERM,
    account: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=account,
            cwd=log.parent,
            env={**_plain(), **(environment or {})},
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(stop)
        try:
            started.wait(timeout=30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def until(answers: Callable[[], bool], started: subprocess.Popen[bytes], name: str, log: Path) -> None:
    deadline = time.monotonic() + START
    while not answers():
        if started.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
            raise NoServerError(f"{name} did not start: {words}")
        time.sleep(0.02)


@contextlib.contextmanager
def published(**values: str) -> Iterator[None]:
    """Environment variables for the scripts that are started meanwhile."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
