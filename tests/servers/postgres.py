"""PostgreSQL for tests: the server that runs here, or one of their own that they may kill; and schemas of their own.

$WORKLIST_TEST_POSTGRES names another server, as ``postgresql://user:password@host:port/database``.
"""

import os
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from worklist.brokers.postgres import Place

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


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """Return the URL of a server with a database for tests."""
    return os.environ.get("WORKLIST_TEST_POSTGRES", USUAL)


@pytest.fixture
def postgres_schema(postgres_url: str) -> Iterator[Database]:
    """Give a schema that no other test uses."""
    database = Database(postgres_url)
    yield database
    database.close()
