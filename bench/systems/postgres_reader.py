"""A connection to PostgreSQL that only looks, for `System.settled`. Opened when it is first needed."""

from functools import cached_property
from typing import Any


class PostgresReader:
    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _connection(self) -> Any:
        import psycopg

        return psycopg.connect(self._url, autocommit=True)

    def number(self, query: str) -> int:
        """The one number that the query asks for; 0 if it finds no row."""
        row = self._connection.execute(query).fetchone()
        return int(row[0] or 0) if row else 0
