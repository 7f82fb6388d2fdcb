"""Places for jobs on real servers that a test may kill, each with a witness of its own of what was settled there.

The witness is not Worklist's: triggers write a journal in PostgreSQL and in SQLite, and Redis has its append-only file.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg

from .postgres import Database
from .postgres import Server as PostgresServer
from .rabbitmq import Node, VirtualHost
from .redis import Server as RedisServer

Settled = tuple[str, bytes]
"""The id of a job, and what was written down with it as its result."""
SUCCEEDED = 3


class Server(Protocol):
    """What can be done to a server."""

    port: int

    @property
    def runs(self) -> bool: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


class Place(Protocol):
    """Where jobs are; `url_at` reaches it by another port, such as that of a proxy."""

    server: Server
    results: Path | None
    """The file of a store of results beside it."""
    down: str
    """How a sentence begins that says of this server, in our words, that it is not there."""

    def url_at(self, port: int) -> str: ...
    def watch(self) -> None:
        """Begin to witness; jobs were put, and none was leased."""

    def settled(self) -> list[Settled]:
        """Return every settle of a job that succeeded, a second one of the same job too."""
        ...

    def close(self) -> None: ...


class PostgresPlace:
    """A schema."""

    results = None
    down = "cannot be reached"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._database = Database(server.url_of())

    def url_at(self, port: int) -> str:
        return f"{self.server.url_of(port=port)}?schema={self._database.schema}"

    def watch(self) -> None:
        self.execute("CREATE TABLE @.settled (id text, result bytea)")
        self.execute(
            "CREATE FUNCTION @.note_settled() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN INSERT INTO @.settled VALUES (NEW.id, NEW.result); RETURN NULL; END'"
        )
        self.execute(
            f"CREATE TRIGGER settled AFTER INSERT OR UPDATE OF state ON @.jobs FOR EACH ROW "
            f"WHEN (NEW.state = {SUCCEEDED}) EXECUTE FUNCTION @.note_settled()"
        )

    def settled(self) -> list[Settled]:
        return [(id, bytes(result)) for id, result in self.execute("SELECT id, result FROM @.settled").fetchall()]

    def named(self, statement: str) -> str:
        """Return a statement with the schema in the place of ``@.``."""
        return statement.replace("@.", f'"{self._database.schema}".')

    def execute(self, statement: str, *values: Any) -> Any:
        """Run a statement, in which ``@.`` stands for the schema, on a connection that no fault has cut before."""
        self._database.admin.close()
        self._database.admin = psycopg.connect(self.server.url_of(), autocommit=True)
        return self._database.execute(statement, *values)

    def close(self) -> None:
        self.execute("SELECT 1")
        self._database.close()


class RedisPlace:
    """A whole server with the append-only file on, which may be read from a replica that takes over."""

    results = None
    down = "cannot be used just now"

    def __init__(self, server: RedisServer, replica: RedisServer | None = None) -> None:
        self.server = server
        self._journal = Path((replica or server).folder)

    def url_at(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}"

    def watch(self) -> None:
        """Do nothing: Redis has written everything down from its beginning."""

    def settled(self) -> list[Settled]:
        found = []
        for file in sorted(self._journal.rglob("*.incr.aof"), key=lambda it: int(it.name.split(".")[-3])):
            for name, *arguments in _commands(file.read_bytes()):
                if name.upper() == b"HSET" and arguments[0].endswith(b":f"):
                    found += [(id.decode(), row) for id, row in zip(arguments[1::2], arguments[2::2], strict=True)]
        return [(id, row) for id, row in found if row[0] == SUCCEEDED]

    def close(self) -> None:
        self.server.close()


def _commands(text: bytes) -> Iterator[list[bytes]]:
    """Read an append-only file: of each command its words, ``*2 $3 GET $1 a`` with an end of line behind each."""
    at = 0
    while at < len(text):
        words = []
        count, at = _number(text, at, b"*")
        for _ in range(count):
            length, at = _number(text, at, b"$")
            words.append(text[at : at + length])
            at += length + 2
        yield words


def _number(text: bytes, at: int, mark: bytes) -> tuple[int, int]:
    assert text[at : at + 1] == mark, "this is no append-only file"
    end = text.index(b"\r\n", at)
    return int(text[at + 1 : end]), end + 2


class RabbitPlace:
    """A virtual host, with a SQLite file for the results."""

    down = "cannot be reached"

    def __init__(self, host: VirtualHost, server: Node, folder: Path) -> None:
        self.server = server
        self.host = host
        self.results = folder / "results.db"

    def url_at(self, port: int) -> str:
        return self.host.url_at(port)

    def watch(self) -> None:
        with sqlite3.connect(self.results) as db:
            db.execute("CREATE TABLE settled (id TEXT, result BLOB)")
            for event in ("INSERT", "UPDATE OF state"):
                db.execute(
                    f"CREATE TRIGGER settled_by_{event[:6]} AFTER {event} ON jobs WHEN NEW.state = {SUCCEEDED} "
                    "BEGIN INSERT INTO settled VALUES (NEW.id, NEW.result); END"
                )

    def settled(self) -> list[Settled]:
        with sqlite3.connect(self.results) as db:
            return db.execute("SELECT id, result FROM settled").fetchall()

    def close(self) -> None:
        """Leave the virtual host to the one who made it."""


RUN = re.compile(rb"\d{8}\.[0-9a-f]{12}")
"""What the task of the fault tests returns: the process, and a number of this run alone."""
