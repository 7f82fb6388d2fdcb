"""The PostgreSQL server: connections and their faults, transactions and their repetition, clear errors.

It knows nothing of jobs. Nothing of a session is relied on, so that a pooler may stand between; a connection on which
no answer comes is given up, so that one that is half-open is noticed.
"""

import contextlib
import os
import random
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from ...core.errors import BrokerError, BrokerUnavailable, ConfigError, ReadOnlyStore, StoreFull, WorklistError
from . import schema, theirs

T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]

IDLE_CONNECTIONS = 4
"""How many connections are kept open for the next call."""
SLOW_CALLS = 300.0
"""Seconds that calls may take which look at very many jobs."""
TRIES = 8
"""How often a transaction is tried that the server undoes because of others: a deadlock, a serialization failure."""
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_REPEATED = ("40001", "40P01", "55P03")


class Place(NamedTuple):
    """Which server, which database, and who enters it."""

    hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    database: str | None = None
    user: str | None = None
    password: str | None = None
    schema: str = "worklist"
    timeout: float = 10.0
    """Seconds after which a server that does not answer counts as not to be reached."""
    pooled: bool | None = None
    """Whether a pooler stands between, which gives each transaction any session; None: find out."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Further ones of libpq, such as `sslmode`."""

    def __str__(self) -> str:
        hosts = ",".join(":".join(filter(None, pair)) for pair in zip(self.hosts, self.ports, strict=True))
        return f"postgresql://{hosts}/{self.database or ''}"

    def libpq(self) -> dict[str, Any]:
        """Return what libpq wants to know."""
        known = {
            "host": ",".join(self.hosts),
            "port": ",".join(self.ports),
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "connect_timeout": max(2, round(self.timeout)),
            "application_name": "worklist",
        }
        return {**_KEEPALIVE, **{name: value for name, value in known.items() if value}, **dict(self.parameters)}


class Session:
    """What statements are run by: a connection, and the schema that ``@.`` in a statement stands for."""

    def __init__(self, connection: "psycopg.Connection[Any]", tables: str, is_theirs: bool = False) -> None:
        self.connection = connection
        self.is_theirs = is_theirs
        """Whether the transaction is the caller's own, so that it may stay open for long."""
        self._tables = tables
        self._known = _statements_of.setdefault(tables, {})

    def execute(self, statement: str, values: Values = ()) -> "psycopg.Cursor[Row]":
        """Run one statement; return its cursor."""
        cursor = psycopg.Cursor(self.connection, row_factory=tuple_row)
        return cursor.execute(self._text_of(statement), values, binary=True)

    def copy(self, script: str, data: Callable[[str], Iterable[bytes]]) -> None:
        """Run statements as one transaction, in two round trips: one that asks for a value, a COPY, others.

        The COPY reads what `data` makes with the value, and the server works on each part while the next one is made.
        """
        assert isinstance(self.connection, _Connection)  # noqa: S101 - never one of the caller's own
        self.connection.copy_within(self._with_schema(script).encode(), data)

    def ask(self, statement: str, values: Sequence[bytes | None]) -> bytes | None:
        """Run one statement with packed values (see `_Connection.ask`)."""
        assert isinstance(self.connection, _Connection)  # noqa: S101 - never one of the caller's own
        return self.connection.ask(self._text_of(statement).encode(), values)

    def _text_of(self, statement: str) -> str:
        text = self._known.get(statement)
        if text is None:
            text = self._known[statement] = self._with_schema(statement)
        return text

    def _with_schema(self, statement: str) -> str:
        return statement.replace("@.", f"{self._tables}.")


@contextlib.contextmanager
def savepoint(db: Session) -> Iterator[None]:
    """Do something wholly or not at all inside a transaction that goes on, and begins where there is none."""
    connection = db.connection
    if connection.autocommit and not connection.info.transaction_status:
        with connection.transaction():
            yield
        return
    db.execute("SAVEPOINT worklist")
    try:
        yield
    except BaseException:
        if not (connection.closed or connection.broken):
            with contextlib.suppress(psycopg.Error):
                db.execute("ROLLBACK TO SAVEPOINT worklist")
        raise
    db.execute("RELEASE SAVEPOINT worklist")


_statements_of: dict[str, dict[str, str]] = {}


class PlaceTaken(BrokerError):
    """A new row has the key of one that is there already."""


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time: it is gone, the line is dead, or a lock is held for too long."""


class _Connection(psycopg.Connection[Row]):
    """A connection whose calls end: with an answer, or with an OperationalError once there was none for too long."""

    patience = 10.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names: dict[bytes, bytes] = {}

    def wait(self, gen: Any, interval: float = 0.2, timeout: float | None = None) -> Any:
        """Wait for what a call waits for."""
        return super().wait(_limited(gen, time.monotonic() + self.patience), interval)

    def copy_within(self, script: bytes, data: Callable[[str], Iterable[bytes]]) -> None:
        """Run a script (see `Session.copy`). psycopg has no call for a COPY among other statements."""
        pgconn = self.pgconn
        pgconn.send_query(script)
        value = self._answers()[0].get_value(0, 0) or b""
        for part in data(value.decode()):
            pgconn.put_copy_data(part)
            pgconn.flush()
        pgconn.put_copy_end()
        self._answers()

    def ask(self, statement: bytes, values: Sequence[bytes | None]) -> bytes | None:
        """Run a statement with values in PostgreSQL's binary format; return the first value that it gives, as text.

        It takes half the time of psycopg's own way, which finds out how to send and read each value.
        """
        pgconn, formats = self.pgconn, [Format.BINARY] * len(values)
        if self.prepare_threshold is None:
            pgconn.send_query_params(statement, values, param_formats=formats)
        else:
            name = self._names.get(statement)
            if name is None:
                name = b"worklist_%d" % len(self._names)
                pgconn.send_prepare(name, statement)
                self._answers()
                self._names[statement] = name
            pgconn.send_query_prepared(name, values, param_formats=formats)
        return self._answers()[0].get_value(0, 0)

    def _answers(self) -> "list[PGresult]":
        """Wait for what was sent to be answered. Raises where it fails."""
        results = self.wait(generators.execute(self.pgconn))
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
        return results  # type: ignore[no-any-return]


def _limited(steps: Generator[Any, Any, T], end: float) -> Generator[Any, Any, T]:
    """Pass on the steps of a call of psycopg, which are sent what is ready: 0 where the interval has passed."""
    try:
        step = next(steps)
        while True:
            ready = yield step
            if not ready and time.monotonic() > end:
                raise NoAnswer("no answer came in time")
            step = steps.send(ready)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


class PostgresServer:
    """One database on a server. Connects when it is first used, and makes its tables where there are none."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tables = schema.quoted(place.schema)
        self.lock = zlib.crc32(place.schema.encode())
        """The number of the lock that changes take which have to be alone."""
        self.signs_lock = self.lock - (1 << 31)
        self.channel = f"worklist_{place.schema}"
        self._checked: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()
        self.pooled: bool | None = place.pooled
        self._forget_connections()
        _servers.append(self)

    def _forget_connections(self) -> None:
        self._pid = os.getpid()
        self._idle: list[_Connection] = []
        self._idle_lock = threading.Lock()
        self._ready = False
        self._preparing = threading.Lock()
        self.closed = False

    # -- connections ----------------------------------------------------------------------------------------

    def connect(self) -> _Connection:
        """Return a new connection. Raises BrokerUnavailable where the server cannot be reached."""
        end = time.monotonic() + self.place.timeout
        while True:
            try:
                return self._connect()
            except BrokerUnavailable:
                if not self._ready or time.monotonic() + 0.2 > end:
                    raise
                time.sleep(0.1)  # it was there before: it may have been started again

    def _connect(self) -> _Connection:
        try:
            connection = _Connection.connect(**self.place.libpq(), autocommit=True)
        except psycopg.Error as error:
            raise self._why_not_connected(error) from None
        connection.patience = self.place.timeout
        if self.pooled is None:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            self.pooled = pid != connection.info.backend_pid
        if self.pooled:
            connection.prepare_threshold = None
        return connection

    def versions(self) -> tuple[int, int]:
        """Return the version of the tables that are there, 0 for none, and the one that is wanted."""
        with contextlib.closing(self.connect()) as connection, self.clear_errors():
            return schema.version(connection, self.place.schema, str(self.place)), schema.SCHEMA_VERSION

    def find_pooler(self) -> None:
        """Find out whether a pooler stands between."""
        self._prepare()

    def _prepare(self) -> None:
        """See that the tables are there, once."""
        if self._ready:
            return
        with self._preparing:
            if not self._ready:
                with self.clear_errors(), self._borrowed(SLOW_CALLS) as connection:
                    schema.prepare(connection, self.place.schema, str(self.place))
                self._ready = True

    @contextlib.contextmanager
    def _borrowed(self, patience: float) -> Iterator[_Connection]:
        """Give a connection that nobody else uses; one whose call was cut short is not kept."""
        with self._idle_lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self.connect()
        connection.patience = patience
        try:
            yield connection
        except BaseException as error:
            if isinstance(error, NoAnswer):
                self._give_up(connection)
            if connection.broken or connection.closed or connection.info.transaction_status:
                connection.close()
            else:
                self._give_back(connection)
            raise
        self._give_back(connection)

    def _give_up(self, connection: _Connection) -> None:
        """Leave a connection without an answer, and those that were kept: they may be dead like it."""
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=1.0)  # where the server is alive, nobody is to wait there for us
        connection.close()
        with self._idle_lock:
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.close()

    def _give_back(self, connection: _Connection) -> None:
        with self._idle_lock:
            if len(self._idle) < IDLE_CONNECTIONS and not self.closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the connections that nobody uses, and those in use when they are given back."""
        with self._idle_lock:
            self.closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        if self in _servers:
            _servers.remove(self)

    # -- calls ------------------------------------------------------------------------------------------------

    def call(self, statement: str, values: Values = (), slow: bool = False) -> list[Row]:
        """Run one statement as a transaction of its own; return its rows. A `slow` one may look at very many."""
        return self._again(lambda db: db.execute(statement, values).fetchall(), slow)

    def ask(self, statement: str, values: Sequence[bytes | None]) -> bytes | None:
        """Run one statement with packed values as a transaction of its own (see `Session.ask`)."""
        return self._again(lambda db: db.ask(statement, values))

    def change(self, statement: str, values: Values = ()) -> int:
        """Run one statement as a transaction of its own; return how many rows it changed."""
        return self._again(lambda db: db.execute(statement, values).rowcount)

    def copy(self, script: str, data: Callable[[str], Iterable[bytes]]) -> None:
        """Run a script with a COPY as a transaction of its own (see `Session.copy`)."""
        self._again(lambda db: db.copy(script, data))

    def transact(self, work: Callable[[Session], T], slow: bool = False) -> T:
        """Return what `work` returns, done in one transaction; it is done again where the server undoes it."""

        def in_transaction(db: Session) -> T:
            db.execute("BEGIN")
            try:
                done = work(db)
                db.execute("COMMIT")
            except BaseException:
                if not (db.connection.closed or db.connection.broken):
                    with contextlib.suppress(psycopg.Error):
                        db.execute("ROLLBACK")
                raise
            return done

        return self._again(in_transaction, slow)

    def _again(self, call: Callable[[Session], T], slow: bool = False) -> T:
        """Make a call, which has to be one that may be made twice: again where the server undid it or is new.

        A connection that was kept may have been cut long ago, so with such a one the call is made on another.
        """
        if self._pid != os.getpid():
            self._forget_connections()
        self._prepare()
        tries = 0
        while True:
            tries += 1
            try:
                with self._borrowed(SLOW_CALLS if slow else self.place.timeout) as connection:
                    return call(Session(connection, self.tables))
            except psycopg.OperationalError as error:
                if error.sqlstate not in _REPEATED and not _is_cut(error):
                    raise self.translate(error) from error
                if tries >= TRIES or (_is_cut(error) and tries > IDLE_CONNECTIONS + 1):
                    raise self.translate(error) from error
                if isinstance(error, NoAnswer) and tries > 1:
                    raise self.translate(error) from error
                if error.sqlstate in _REPEATED:
                    time.sleep(random.uniform(0, 0.005 * 2**tries))  # noqa: S311
            except psycopg.Error as error:
                raise self.translate(error) from error

    def within(self, connection: Any) -> Session:
        """Return a session in the transaction of a connection of the caller's. Raises ConfigError for another place."""
        self._prepare()
        found = theirs.unwrap(connection)
        if found not in self._checked:
            with self.clear_errors():
                theirs.check_place(found, self.place.schema, self._place_id(), str(self.place))
            self._checked.add(found)
        return Session(found, self.tables, is_theirs=True)

    def _place_id(self) -> str:
        return str(self.call("SELECT place FROM @.worklist_version")[0][0])

    # -- errors -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:
        """Raise ours in the place of psycopg's."""
        try:
            yield
        except psycopg.Error as error:
            raise self.translate(error) from error

    def translate(self, error: psycopg.Error) -> Exception:
        """Return our error for one of psycopg."""
        state = error.sqlstate or ""
        text = _first_line(error)
        if state == "23505":
            return PlaceTaken(f"{self.place}: {text}")
        if state == "53100":
            return StoreFull(f"{self.place}: the disk of the server is full; nothing was changed. Make room")
        if state in ("25006", "42501"):
            return ReadOnlyStore(
                f"{self.place}: {text}; give the user the rights on the schema {self.place.schema}, "
                "and connect to the primary server"
            )
        if isinstance(error, psycopg.DataError | psycopg.errors.UntranslatableCharacter):
            return ConfigError(f"{self.place} cannot store this text: {text}")
        if isinstance(error, psycopg.OperationalError):
            return BrokerUnavailable(f"{self.place} does not answer: {text}")
        return BrokerError(f"{self.place}: {text}")

    def _why_not_connected(self, error: psycopg.Error) -> WorklistError:
        text = _first_line(error)
        facts = {
            "place": self.place,
            "user": self.place.user or "of this process",
            "database": self.place.database or "",
            "text": text,
        }
        for words, ours, sentence in _REASONS:
            if all(word in text for word in words):
                return ours(sentence.format(**facts))
        return BrokerUnavailable(f"{self.place} cannot be reached: {text}")


_WRONG_PASSWORD = "{place}: the password of the user {user} is wrong or missing; check the URL"  # noqa: S105 - no password
_REASONS: tuple[tuple[tuple[str, ...], type[WorklistError], str], ...] = (
    (("password authentication failed",), BrokerError, _WRONG_PASSWORD),
    (("no password supplied",), BrokerError, _WRONG_PASSWORD),
    (
        ("database", "does not exist"),
        BrokerError,
        "{place}: there is no database {database!r}; create it with: createdb {database}",
    ),
    (("role", "does not exist"), BrokerError, "{place}: there is no user {user}; create it with: createuser {user}"),
    (
        ("pg_hba.conf",),
        BrokerError,
        "{place} lets nobody in from here: {text}; add a line to its pg_hba.conf",
    ),
    (("invalid", "value"), ConfigError, "{place}: {text}; check the options behind the ? of the URL"),
    (
        ("SSL was required",),
        BrokerError,
        "{place} does not encrypt connections; turn ssl on there, or leave out sslmode",
    ),
    (("certificate",), BrokerError, "{place}: {text}; ?sslrootcert=FILE names who may have signed it"),
)
"""Why a connection was not made, where trying again will not help: words that all occur, and what is said then."""


def _is_cut(error: psycopg.Error) -> bool:
    """Return whether the server has ended this connection, so that another one may do better."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and (not state or state.startswith(("57P", "08")))


def _first_line(error: BaseException) -> str:
    """Return what an error says in one line, without the address that it begins with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        lines[0].removeprefix("connection failed: ").removeprefix("connection is bad: ")
        if lines
        else type(error).__name__
    )


_servers: list[PostgresServer] = []
_of_the_parent: list[object] = []


def _after_fork_in_child() -> None:
    """Leave the parent's connections alone: to close one here would end it there, too."""
    for server in _servers:
        _of_the_parent.append(server._idle)  # noqa: SLF001 - one room
        server._forget_connections()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
