"""Feeds that are tables of a database: the rows of a page and the page's key are written in one transaction.

So the database itself is the ledger. Columns are made as fields turn up; a value that is nested is stored as JSON.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ...core.errors import ConfigError
from .files import FeedError
from .options import FeedOptions, table_of
from .rows import Row, encode_json, rows_of, wanted


class TableFeed:
    """One table. What differs between databases is in the subclasses."""

    mark = "?"

    def __init__(self, options: FeedOptions, crawl: str | None, *, resumed: bool = False) -> None:
        self.options = options
        self.table = table_of(options.uri)
        self._pages = f"{self.table}_pages"
        self._crawl = crawl
        self._connect()
        self._columns = self._known_columns()
        self._run(f'CREATE TABLE IF NOT EXISTS "{self._pages}" (crawl TEXT, page TEXT, PRIMARY KEY (crawl, page))')
        if options.overwrite and not resumed and not self._goes_on():
            self._run(f'DROP TABLE IF EXISTS "{self.table}"')
            self._columns = {}
        self._commit()

    def add(self, items: Sequence[Any], page_key: str) -> int:
        """Write the items of a page, unless they were written before; give how many were. Raises FeedError."""
        rows = [row for row in rows_of(wanted(items, self.options), self.options) if row]
        if not rows:
            return 0
        try:
            return self._add(rows, page_key)
        except self._errors() as error:
            self._rollback()
            self._columns = self._known_columns()
            raise FeedError(f"{len(rows)} items could not be written to the table {self.table}: {error}") from error

    def _add(self, rows: list[Row], page_key: str) -> int:
        if self._crawl is not None and not self._is_new(page_key):
            self._commit()
            return 0
        stored = [{name: self._stored(value) for name, value in row.items()} for row in rows]
        self._make_columns(stored)
        for row in stored:
            names = ", ".join(_quoted(name) for name in row)
            marks = ", ".join([self.mark] * len(row))
            self._run(f'INSERT INTO "{self.table}" ({names}) VALUES ({marks})', self._fitted(row))  # noqa: S608 - quoted
        self._commit()
        return len(rows)

    def _is_new(self, page_key: str) -> bool:
        sql = f'INSERT INTO "{self._pages}" VALUES ({self.mark}, {self.mark}) ON CONFLICT DO NOTHING'  # noqa: S608
        return bool(self._run(sql, (self._crawl, page_key)).rowcount == 1)

    def _goes_on(self) -> bool:
        """Whether this crawl wrote here before."""
        if self._crawl is None:
            return False
        sql = f'SELECT 1 FROM "{self._pages}" WHERE crawl = {self.mark} LIMIT 1'  # noqa: S608 - a checked name
        return self._run(sql, (self._crawl,)).fetchone() is not None

    def _make_columns(self, rows: list[Row]) -> None:
        for row in rows:
            for name, value in row.items():
                if name not in self._columns:
                    self._make_column(name, self._type_of(value))

    def _make_column(self, name: str, kind: str) -> None:
        column = f"{_quoted(name)} {kind}"
        if self._columns:
            self._run(f'ALTER TABLE "{self.table}" ADD COLUMN {column}')
        else:
            self._run(f'CREATE TABLE IF NOT EXISTS "{self.table}" ({column})')
        self._columns[name] = kind.lower()

    def _stored(self, value: Any) -> Any:
        if value is None or isinstance(value, str | int | float | bool | bytes):
            return value
        text = encode_json(value).decode()
        return text[1:-1] if text.startswith('"') else text  # a date, an id

    def close(self, finished: bool) -> None:
        """Close the connection; the keys of the pages of a crawl that has finished are removed."""
        if finished and self._crawl is not None:
            self._run(f'DELETE FROM "{self._pages}" WHERE crawl = {self.mark}', (self._crawl,))  # noqa: S608
            self._commit()
        self._connection.close()

    _connection: Any

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql, values)

    def _commit(self) -> None:
        self._connection.commit()

    def _rollback(self) -> None:
        self._connection.rollback()

    def _connect(self) -> None:
        raise NotImplementedError

    def _known_columns(self) -> dict[str, str]:
        raise NotImplementedError

    def _type_of(self, value: Any) -> str:
        raise NotImplementedError

    def _fitted(self, row: Row) -> tuple[Any, ...]:
        return tuple(row.values())

    def _errors(self) -> tuple[type[Exception], ...]:
        raise NotImplementedError


def _quoted(name: str) -> str:
    return '"' + str(name).replace('"', '""').replace("%", "%%") + '"'


class SqliteFeed(TableFeed):
    """A table of an SQLite file: sqlite:///items.db?table=books."""

    def _connect(self) -> None:
        path = unquote(urlsplit(self.options.uri).path).removeprefix("/")
        if not path:
            raise ConfigError(f"the feed {self.options.uri!r} names no file; expected sqlite:///items.db?table=items")
        try:
            self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(f"PRAGMA synchronous={'FULL' if self.options.sync else 'NORMAL'}")
        except sqlite3.Error as error:
            raise FeedError(f"the feed {path} cannot be opened: {error}") from None

    def _known_columns(self) -> dict[str, str]:
        return {row[1]: row[2].lower() for row in self._run(f'PRAGMA table_info("{self.table}")')}

    def _type_of(self, value: Any) -> str:
        return ""  # a column without a type takes values as they are

    def _errors(self) -> tuple[type[Exception], ...]:
        return (sqlite3.Error,)


class PostgresFeed(TableFeed):
    """A table of PostgreSQL: postgresql://host/database?table=books. A value that does not fit makes a column text."""

    mark = "%s"
    _fits = {"bigint": int, "double precision": (int, float), "boolean": bool, "text": object}  # noqa: RUF012

    def _connect(self) -> None:
        try:
            import psycopg  # noqa: PLC0415 - optional
        except ImportError:
            raise ConfigError("a feed into PostgreSQL needs psycopg: pip install 'worklist[postgres]'") from None
        parts = urlsplit(self.options.uri)
        query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key != "table"])
        try:
            self._connection = psycopg.connect(urlunsplit(parts._replace(query=query)))
        except psycopg.Error as error:
            raise FeedError(f"the feed on {parts.hostname} cannot be opened: {error}") from None

    def _known_columns(self) -> dict[str, str]:
        sql = (
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        )
        return dict(self._run(sql, (f'"{self.table}"',)).fetchall())

    def _type_of(self, value: Any) -> str:
        if isinstance(value, bool):
            return "BOOLEAN"
        if isinstance(value, int):
            return "BIGINT"
        return "DOUBLE PRECISION" if isinstance(value, float) else "TEXT"

    def _fitted(self, row: Row) -> tuple[Any, ...]:
        for name, value in row.items():
            if value is not None and not self._admits(self._columns[name], value):
                column = _quoted(name)
                self._run(f'ALTER TABLE "{self.table}" ALTER COLUMN {column} TYPE TEXT USING {column}::text')
                self._columns[name] = "text"
        return tuple(
            str(value) if self._columns[name] == "text" and value is not None else value for name, value in row.items()
        )

    def _admits(self, kind: str, value: Any) -> bool:
        fitting = self._fits.get(kind)
        if fitting is None:
            return True  # a column of the user's own type: the database says
        if isinstance(value, bool):
            return kind in {"boolean", "text"}
        return isinstance(value, fitting) and not (kind == "bigint" and abs(value) >= 1 << 63)  # type: ignore[arg-type]

    def _errors(self) -> tuple[type[Exception], ...]:
        import psycopg  # noqa: PLC0415 - optional

        return (psycopg.Error,)
