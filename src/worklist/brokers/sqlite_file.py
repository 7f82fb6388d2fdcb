"""The SQLite file itself: opening and checking it, its schema, transactions, waiting for the lock, clear errors.

It knows nothing of jobs. One connection writes and one reads, each under a lock; the Python threads of a process
never compete inside SQLite, and processes wait for each other in short, random steps.
"""

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..core.errors import (
    BrokerError,
    BrokerUnavailable,
    CorruptStore,
    ReadOnlyStore,
    SchemaMismatch,
    StoreFull,
)
from . import sql

Durability = Literal["normal", "full"]

APPLICATION_ID = 0x574B4C53
"""Marks the file as Worklist's in its header ("WKLS")."""
SCHEMA_VERSION = 1
NEEDED_SQLITE = (3, 33, 0)
"""The first one with UPDATE ... FROM."""
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "afs", "sshfs", "glusterfs", "ceph", "lustre", "9p")
_WAIT_STEPS = (0.0001, 0.005)
T = TypeVar("T")


class SqliteFile:
    """One database file in WAL mode. Creates it, with its tables, where it does not exist."""

    def __init__(self, path: Path, durability: Durability = "normal", patience: float = 30.0) -> None:
        self.path = path
        self._durability = durability
        self._patience = patience
        self._refuse_bad_place()
        self._open()

    # -- opening --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with self._clear_errors():
            self._writer = self._connect()
            self._check_header()
            self._again(lambda: self._writer.execute("PRAGMA journal_mode = WAL"))
            if os.access(self.path, os.W_OK):
                self._migrate()
            else:
                raise ReadOnlyStore(f"{self.path} cannot be written; check its permissions and who owns it")
            self._reader = self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)
        db.execute(
            "PRAGMA page_size = 2048"
        )  # a commit writes whole pages; larger ones suit batches, smaller ones single jobs
        db.execute(f"PRAGMA synchronous = {self._durability.upper()}")
        db.execute("PRAGMA cache_size = -8192")  # KiB
        db.execute("PRAGMA wal_autocheckpoint = 16384")  # pages: 32 MiB, so that checkpoints are few and large
        db.execute("PRAGMA journal_size_limit = 67108864")
        return db

    def _refuse_bad_place(self) -> None:
        if sqlite3.sqlite_version_info < NEEDED_SQLITE:
            raise BrokerError(
                f"this Python has SQLite {sqlite3.sqlite_version}, and {'.'.join(map(str, NEEDED_SQLITE))} or newer is "
                "needed; use a newer build of Python"
            )
        folder = self.path.parent
        if self.path.is_dir():
            raise BrokerError(f"{self.path} is a folder; expected the path of a file, such as {self.path}/worklist.db")
        if not folder.is_dir():
            raise BrokerError(f"{self.path} cannot be created: the folder {folder} does not exist; create it first")
        if not os.access(folder, os.W_OK):
            raise ReadOnlyStore(
                f"{self.path} cannot be used: the folder {folder} cannot be written, and SQLite keeps files beside "
                "its database; check its permissions"
            )
        kind = file_system_of(folder)
        if kind.removeprefix("fuse.").startswith(_NETWORK_FILE_SYSTEMS):
            raise BrokerError(
                f"{self.path} lies on a network file system ({kind}), where SQLite cannot share a file safely; "
                "choose a local folder, or a server broker for several machines"
            )

    def _check_header(self) -> None:
        (application,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self._writer.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and tables:
            raise SchemaMismatch(f"{self.path} is the database of another program; choose another file")
        if version > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"{self.path} was made by a newer Worklist (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade Worklist here"
            )

    def _migrate(self) -> None:
        """Bring the schema up to date, in one transaction; other processes wait."""
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        with self.transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            for step in range(version + 1, SCHEMA_VERSION + 1):
                for statement in sql.split(sql.read("sqlite", f"schema_{step}.sql")):
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    # -- using ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the writing connection inside a transaction; commit, or undo everything where something is raised."""
        with self._write_lock, self._clear_errors():
            db = self._writer
            self._again(lambda: db.execute("BEGIN IMMEDIATE"))
            try:
                yield db
                self._again(lambda: db.execute("COMMIT"))
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def write(self, statement: str, parameters: Sequence[Any]) -> int:
        """Run one statement as a transaction of its own; return how many rows it changed."""
        with self._write_lock:
            try:
                return self._writer.execute(statement, parameters).rowcount
            except sqlite3.Error as error:
                if not _is_busy(error):
                    raise self._translate(error) from error
            with self._clear_errors():
                return self._again(lambda: self._writer.execute(statement, parameters).rowcount)

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query, as of the last commit of anybody."""
        with self._read_lock, self._clear_errors():
            return self._again(lambda: self._reader.execute(statement, parameters).fetchall())

    def _again(self, call: Callable[[], T]) -> T:
        """Make a call that another process may keep waiting: try in short random steps until patience ends."""
        shortest, longest = _WAIT_STEPS
        end: float | None = None
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
            now = time.monotonic()
            end = end or now + self._patience
            if now > end:
                raise BrokerUnavailable(
                    f"{self.path} was locked by another process for more than {self._patience:g} s; "
                    "find out who holds it, or wait longer with ?patience=2m"
                )
            time.sleep(random.uniform(0.5, 1.0) * shortest)  # noqa: S311
            shortest = min(longest, shortest * 1.3)

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> BrokerError:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and self._is_full()):
            return StoreFull(f"{self.path}: the disk is full; nothing was changed. Make room and try again")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return CorruptStore(
                f"{self.path} is damaged or no SQLite database ({error}); restore it from a backup, or move it away"
            )
        if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN")):
            return ReadOnlyStore(f"{self.path} cannot be opened for writing ({error}); check its permissions")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR")):
            return BrokerUnavailable(f"{self.path}: {error}")
        return BrokerError(f"{self.path}: {error}")

    def _is_full(self) -> bool:
        try:
            status = os.statvfs(self.path.parent)
        except (OSError, AttributeError):
            return False
        return status.f_bavail * status.f_frsize < 1 << 20

    def close(self) -> None:
        """Close both connections; the last one to leave folds the log into the file."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def file_system_of(folder: Path) -> str:
    """Return the type of the file system that `folder` is on, as Linux tells it; elsewhere an empty string."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place = str(folder.resolve())
    best, kind = "", ""
    for line in mounts:
        _, point, this_kind, *_ = line.split(" ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, this_kind
    return kind
