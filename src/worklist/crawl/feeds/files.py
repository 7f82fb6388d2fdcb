"""Feeds that are files: complete after each page, and after any kill.

Beside the file lies a ledger, a small SQLite file: which pages the file holds, and up to which byte it holds them. A
page's items are written at that byte with one write, together with what closes the file (the ] of JSON), and then the
ledger moves on. What a kill leaves behind that byte is cut off when the file is next opened; a page that the ledger
knows is not written again. The ledger's write lock also keeps processes apart that share the file. See
docs/decisions/0017-feeds.md.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, WorklistError
from .formats import FORMATS, Format
from .options import FeedOptions
from .parquet import write_parquet
from .rows import rows_of, wanted

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
  crawl TEXT NOT NULL, batch INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, items INTEGER NOT NULL,
  fields TEXT NOT NULL
);
"""


class FeedError(WorklistError):
    """The items could not be written to the feed."""


class FileFeed:
    """One file, or with `batch_item_count` one after the other."""

    def __init__(self, options: FeedOptions, spider: Any, crawl: str | None, *, resumed: bool = False) -> None:
        self.options = options
        self._begins_anew = options.overwrite and not resumed
        self._spider = spider
        self._moment = dt.datetime.now(dt.UTC)
        self._durable = crawl is not None
        self._ledger_path = _ledger_path(options, spider, self._moment)
        self._format = self._new_format()
        self._file = -1
        self._open_path: Path | None = None
        self._ledger = self._opened_ledger()
        with self._transaction():
            self._begin(crawl or "")

    def _new_format(self) -> Format:
        kind = "jsonlines" if self.options.format == "parquet" else self.options.format
        return FORMATS[kind](self.options)

    def _opened_ledger(self) -> sqlite3.Connection:
        try:
            self._ledger_path.parent.mkdir(parents=True, exist_ok=True)
            where = self._ledger_path if self._durable else ":memory:"
            ledger = sqlite3.connect(where, isolation_level=None, check_same_thread=False, timeout=60)
            ledger.execute("PRAGMA journal_mode=WAL")
            ledger.execute(f"PRAGMA synchronous={'FULL' if self.options.sync else 'OFF'}")
            ledger.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise FeedError(f"the feed {self.options.uri} cannot be opened: {error}") from None
        return ledger

    @contextlib.contextmanager
    def _transaction(self) -> Any:
        if not self._durable:  # nothing is in the ledger of a crawl in memory
            yield
            return
        self._ledger.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._ledger.execute("ROLLBACK")
            raise
        self._ledger.execute("COMMIT")

    # -- where the file stands ------------------------------------------------------------------------------------

    def _begin(self, crawl: str) -> None:
        """Go on where the ledger stands, or begin: with the file that is there, or over it."""
        known = self._ledger.execute("SELECT crawl FROM state").fetchone()
        if known is not None and known[0] == crawl:
            self._read_state()
            self._repair()
            return
        if known is not None:  # of a crawl that was given up
            self._read_state()
            self._repair()
            self._ledger.execute("DELETE FROM pages")
            self._ledger.execute("DELETE FROM state")
        self.batch, self.items = 1, 0
        self.path = self._written_path()
        self._format = self._new_format()
        self.size = self._taken_over()
        self._ledger.execute(
            "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
            (crawl, self.batch, str(self.path), self.size, self.items, json.dumps(self._format.fields)),
        )
        self._write(b"")

    def _written_path(self) -> Path:
        path = self.options.path(self.batch, self._moment, self._spider)
        return path.with_name(path.name + ".part") if self.options.format == "parquet" else path

    def _read_state(self) -> None:
        row = self._ledger.execute("SELECT batch, path, size, items, fields FROM state").fetchone()
        self.batch, self.path, self.size, self.items = row[0], Path(row[1]), row[2], row[3]
        self._format.fields = json.loads(row[4])

    def _taken_over(self) -> int:
        """Give the byte at which the next item goes: the end of what is in the file, without what closes it."""
        self._descriptor()
        length = os.fstat(self._file).st_size
        if self._begins_anew or self.options.format == "parquet" or not length:
            os.ftruncate(self._file, 0)
            return 0
        content = _ends(self._file, length)
        if self.options.format == "csv" and not self._format.fields:
            self._format.fields = _header(self.path, self.options.encoding)
        if self.options.format in {"csv", "jsonlines"}:
            if not content.endswith(b"\n"):
                os.pwrite(self._file, b"\n", length)
                length += 1
            self.items = 1
            return length
        closing = self._format.tail.strip()
        place = content.rstrip().rfind(closing)
        if place < 0 or place + len(closing) != len(content.rstrip()):
            raise ConfigError(
                f"{self.path} does not end with {closing.decode()}, so it is no complete {self.options.format}; "
                "move it away, or set overwrite for this feed"
            )
        kept = content[:place].rstrip()
        self.items = 0 if kept.endswith(self._format.head.strip()) else 1
        return length - len(content) + len(kept)

    def _repair(self) -> None:
        """Cut off what a kill left behind the last page that is in the ledger."""
        self._descriptor()
        length = os.fstat(self._file).st_size
        if length < self.size:
            raise FeedError(
                f"{self.path} has {length} bytes, and {self.size} were written: changed, or lost by a power cut; "
                f"to begin it anew remove it and {self._ledger_path.name}"
            )
        self._write(b"")

    # -- writing ----------------------------------------------------------------------------------------------------

    def add(self, items: Sequence[Any], page_key: str) -> int:
        """Write the items of a page, unless they were written before; give how many were.

        Raises FeedError where the file cannot be written: then none of them is in it.
        """
        taken = wanted(items, self.options)
        if not taken:
            return 0
        rows = rows_of(taken, self.options)
        try:
            with self._transaction():
                if not self._is_new(page_key):
                    return 0
                self._append(rows)
        except (OSError, sqlite3.Error) as error:
            self._after_failure()
            raise FeedError(f"{len(rows)} items could not be written to {self.path}: {error}") from error
        return len(rows)

    def _is_new(self, page_key: str) -> bool:
        if not self._durable:
            return True  # a page of a crawl in memory is run once
        self._read_state()  # another process may have written since
        return self._ledger.execute("INSERT OR IGNORE INTO pages VALUES (?)", (page_key,)).rowcount == 1

    def _append(self, rows: list[dict[str, Any]]) -> None:
        limit = self.options.batch_item_count
        while rows:
            if limit and self.items >= limit:
                self._next_batch()
            now, rows = (rows[: limit - self.items], rows[limit - self.items :]) if limit else (rows, [])
            data = self._format.encode(now, first=not self.items)
            self._write(data)
            self.items += len(now)
        if self._durable:
            self._ledger.execute(
                "UPDATE state SET batch = ?, path = ?, size = ?, items = ?, fields = ?",
                (self.batch, str(self.path), self.size, self.items, json.dumps(self._format.fields)),
            )

    def _write(self, data: bytes) -> None:
        """Write `data` and what closes the file in one go; the file ends there."""
        self._descriptor()
        head = self._format.head if self.size == 0 else b""
        whole = head + data + self._format.tail
        view, place = memoryview(whole), self.size
        while view:
            written = os.pwrite(self._file, view, place)
            view, place = view[written:], place + written
        if os.fstat(self._file).st_size > place:
            os.ftruncate(self._file, place)
        if self.options.sync:
            os.fdatasync(self._file)
        self.size += len(head) + len(data)

    def _after_failure(self) -> None:
        """Make the file what it was before; where even that fails, the next opening does."""
        with contextlib.suppress(OSError, sqlite3.Error, FeedError):
            if self._durable:
                self._read_state()
            self._repair()

    def _descriptor(self) -> None:
        if self._open_path == self.path:
            return
        if self._file >= 0:
            os.close(self._file)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FeedError(f"the feed {self.path} cannot be opened: {error}") from None
        self._open_path = self.path

    def _next_batch(self) -> None:
        self._finish_file()
        self.batch += 1
        self.items = 0
        self._moment = dt.datetime.now(dt.UTC)
        self.path = self._written_path()
        self._format = self._new_format()
        self.size = 0
        self._descriptor()
        os.ftruncate(self._file, 0)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish_file(self) -> None:
        """Make the Parquet file, of what was kept aside for it, unless another process has done so."""
        if self.options.format != "parquet" or not self.path.exists():
            return
        if self.items or self.options.store_empty or self.batch > 1:
            target = self.path.with_name(self.path.name.removesuffix(".part"))
            write_parquet(self.path, target, append=not self.options.overwrite and self.batch == 1)
        self.path.unlink()

    def close(self, finished: bool) -> None:
        """Close the file; the ledger of a crawl that has finished is removed."""
        try:
            if self._durable:
                self._read_state()
            if finished:
                with self._transaction():  # so that of several processes one does it
                    self._finish_file()
        finally:
            self._ledger.close()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        if finished:
            self._remove_what_is_over()

    def _remove_what_is_over(self) -> None:
        for ending in ("", "-wal", "-shm"):
            self._ledger_path.with_name(self._ledger_path.name + ending).unlink(missing_ok=True)
        if not self.items and not self.options.store_empty and self.batch == 1:
            self.path.unlink(missing_ok=True)


def _ledger_path(options: FeedOptions, spider: Any, moment: dt.datetime) -> Path:
    """Give the file of the ledger: beside the feed, with what changes from batch to batch left out of its name."""
    steady = re.sub(r"%\((?:batch_id|batch_time|time)\)[0-9]*[ds]", "all", options.uri)
    path = FeedOptions(uri=steady, format=options.format).path(1, moment, spider)
    return path.with_name(f".{path.name}.ledger")


def _ends(file: int, length: int) -> bytes:
    """Read the end of a file, enough of it to hold what closes it."""
    return os.pread(file, 4096, max(0, length - 4096))


def _header(path: Path, encoding: str) -> list[str]:
    import csv  # noqa: PLC0415 - rarely needed

    with path.open(encoding=encoding, newline="") as file:
        return next(csv.reader(file), [])
