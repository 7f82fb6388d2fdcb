"""PostgreSQL for tests: the server that runs here, or one of their own that they may kill; and schemas of their own.

$WORKLIST_TEST_POSTGRES names another server, as ``postgresql://user:password@host:port/database``.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from worklist.brokers.postgres import Place

from .ports import free_port

USUAL = "postgresql://postgres@127.0.0.1:5432/test"


class Database:
    """A schema on a server, dropped in the end."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.schema = f"wl_{secrets.token_hex(6)}"
        self.url = f"{url}?schema={self.schema}"
        self.place = Place(
            hosts=(parts.hostname or "127.0.0.1",),
            ports=(str(parts.port or 5432),),
            database=parts.path[1:],
            user=parts.username,
            password=unquote(parts.password) if parts.password else None,
            schema=self.schema,
        )
        self.admin = psycopg.connect(url, autocommit=True, connect_timeout=5)

    def execute(self, statement: str, *values: Any) -> Any:
        """Run a statement, in which ``@.`` stands for the schema."""
        return self.admin.execute(statement.replace("@.", f'"{self.schema}".'), values or None)  # type: ignore[call-overload]

    def empty(self) -> None:
        """Remove all rows, where there are tables."""
        query = "SELECT string_agg(format('%%I.%%I', schemaname, tablename), ',') FROM pg_tables WHERE schemaname = %s"
        (tables,) = self.admin.execute(f"{query} AND tablename <> 'worklist_version'", (self.schema,)).fetchone() or (
            "",
        )
        if tables:
            self.admin.execute(f"TRUNCATE {tables}")

    def close(self) -> None:
        self.admin.execute(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')
        self.admin.close()


def programs() -> Path | None:
    """Return the folder with the server's programs, None where it is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: int(it.parent.name))
    return folders[-1] if folders else None


class Server:
    """A PostgreSQL server of the tests' own, on a random port, that may be killed. It is run by nobody that is root."""

    def __init__(self, programs: Path, **settings: str) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="worklist-postgres-"))
        self._as: dict[str, Any] = {}
        self.user, self.group = os.geteuid(), os.getegid()
        if os.geteuid() == 0:
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            who = known.get("postgres") or known["nobody"]
            os.chown(self._folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
            self.user, self.group = who.pw_uid, who.pw_gid
        self._data = self._folder / "data"
        initdb = [programs / "initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale"]
        self._settings = {"max_connections": "100", "unix_socket_directories": str(self._folder), **settings}
        subprocess.run([*initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as)
        access = self._data / "pg_hba.conf"
        access.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{access.read_text()}")
        self.port = free_port()
        self.start()
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as admin:
            admin.execute("CREATE DATABASE test")
            admin.execute("CREATE ROLE locked LOGIN PASSWORD 'sesame'")  # the one who needs a password

    def url_of(self, database: str = "test", port: int | None = None) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, again where it was stopped or killed, and return when it answers."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1", *options]
        end = time.monotonic() + 30
        while time.monotonic() < end:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self._as
            )
            while self.process.poll() is None and time.monotonic() < end:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
                    return
                time.sleep(0.02)
            time.sleep(0.1)  # what a kill left of its memory is still in use
        raise RuntimeError("the PostgreSQL server of the tests does not start")

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill the server and all its processes at once."""
        for pid in [self.process.pid, *_children_of(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it in good order, while clients are connected."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


class Bouncer:
    """PgBouncer in transaction mode before a server: each transaction gets any of a few sessions."""

    def __init__(self, program: str, target: str) -> None:
        parts = urlsplit(target)
        self._folder = Path(tempfile.mkdtemp(prefix="worklist-pgbouncer-"))
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        port = free_port()
        login = f"user={parts.username}" + (f" password={unquote(parts.password)}" if parts.password else "")
        file = self._folder / "pgbouncer.ini"
        file.write_text(
            f"[databases]\ntest = host={parts.hostname} port={parts.port or 5432} dbname={parts.path[1:]} {login}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
            "default_pool_size = 5\nmax_client_conn = 200\nunix_socket_dir =\n"
        )
        file.chmod(0o644)
        self.url = f"postgresql://anybody@127.0.0.1:{port}/test"
        self._process = subprocess.Popen([program, "-q", file], stderr=subprocess.DEVNULL, cwd="/", **who)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            time.sleep(0.05)
        raise RuntimeError("PgBouncer does not start")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _children_of(pid: int) -> list[int]:
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _missing(what: str) -> None:
    """Skip for a newcomer; fail where nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Give a server of the tests' own."""
    folder = programs()
    if folder is None:
        _missing("PostgreSQL's programs are not installed: apt-get install postgresql")
    assert folder is not None
    server = Server(folder, deadlock_timeout="50ms")
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a server with a database for tests: the one that runs here, or one of their own."""
    url = os.environ.get("WORKLIST_TEST_POSTGRES", USUAL)
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        if "WORKLIST_TEST_POSTGRES" in os.environ:
            raise
        server: Server = request.getfixturevalue("postgres_server")
        return server.url_of()
    return url


@pytest.fixture
def postgres_schema(postgres_url: str) -> Iterator[Database]:
    """Give a schema that no other test uses."""
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def bouncer_url(postgres_url: str) -> Iterator[str]:
    """Give the URL of a PgBouncer before the server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        _missing("PgBouncer is not installed: apt-get install pgbouncer")
    assert program is not None
    bouncer = Bouncer(program, postgres_url)
    yield bouncer.url
    bouncer.close()


@pytest.fixture
def bouncer_schema(bouncer_url: str) -> Iterator[Database]:
    """Give a schema that is reached through a PgBouncer."""
    database = Database(bouncer_url)
    yield database
    database.close()
