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
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...core.errors import (
    BrokerError,
    BrokerUnavailable,
    CorruptStore,
    ReadOnlyStore,
    SchemaMismatch,
    StoreFull,
)
from .. import sql

Durability = Literal["normal", "full"]

APPLICATION_ID = 0x574B4C53
"""Marks the file as Worklist's in its header ("WKLS")."""
SCHEMA_VERSION = 2
NEEDED_SQLITE = (3, 33, 0)
"""The first one with UPDATE ... FROM."""
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "afs", "sshfs", "glusterfs", "ceph", "lustre", "9p")
_CHECKPOINT_PAGES: dict[Durability, int] = {"normal": 8192, "full": 1000}
"""How long the log grows before it is folded into the file. Long, so that this is rare and many changes of one page
become one; but short where each commit waits for the disk, since writing over a file is quicker than making it grow."""
_WAIT_STEPS = (0.0001, 0.005)
T = TypeVar("T")


class SqliteFile:
    """One database file in WAL mode. Creates it, with its tables, where it does not exist."""

    def __init__(self, path: Path, durability: Durability = "normal", patience: float = 30.0) -> None:
        self.path = path
        self._durability = durability
        self._patience = patience
        self.openings = 1
        """How often it was opened: the log beside it may be another one each time."""
        self.on_reopened: Callable[[], object] = lambda: None
        self._refuse_bad_place()
        self._open()
        _open_files.add(self)

    # -- opening --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with self._clear_errors():
            self._writer = self._again(self._open_writer)
            self._reader = self._again(self._connect)

    def _open_writer(self) -> sqlite3.Connection:
        """Check the file and bring it up to date. Other processes may be at it too: then all of it is done again."""
        db = self._connect()
        try:
            self._check_header(db)
            db.execute("PRAGMA journal_mode = WAL")
            self._refuse_read_only()
            self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            db.execute("PRAGMA page_size = 4096")
            db.execute(f"PRAGMA synchronous = {self._durability.upper()}")
            db.execute("PRAGMA cache_size = -8192")  # KiB
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES[self._durability]}")
            db.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            db.close()
            raise
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

    def _refuse_read_only(self) -> None:
        if not os.access(self.path, os.W_OK):
            raise ReadOnlyStore(f"{self.path} cannot be written; check its permissions and who owns it")

    def _check_header(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN")  # one view of the file, though another process may be making it
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        version = _version(db)
        db.execute("COMMIT")
        if application != APPLICATION_ID and tables:
            raise SchemaMismatch(f"{self.path} is the database of another program; choose another file")
        if version > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"{self.path} was made by a newer Worklist (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade Worklist here"
            )

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Bring the schema up to date, in one transaction; other processes wait."""
        if _version(db) == SCHEMA_VERSION:
            return
        db.execute("BEGIN IMMEDIATE")
        for step in range(_version(db) + 1, SCHEMA_VERSION + 1):
            for statement in sql.split(sql.read("sqlite", f"schema_{step}.sql")):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")

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
            self._close()
        _open_files.discard(self)

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()

    # -- forks ----------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """Close the connections before a fork, once nobody is in the midst of something.

        SQLite keeps its locks for the process, and a child that inherits an open file believes that it has them. Then
        the log could be taken away under it, and what it puts would be lost.
        """
        self._write_lock.acquire()
        self._read_lock.acquire()
        self._close()

    def take_up(self) -> None:
        """Open the connections again after a fork, in the parent. The child has to open the file for itself."""
        try:
            with self._clear_errors():
                self._writer = self._again(self._connect)
                self._reader = self._again(self._connect)
                self._again(lambda: _version(self._reader))  # the first look makes the log
        finally:
            self.openings += 1
            self.stay_closed()
        self.on_reopened()

    def stay_closed(self) -> None:
        """Leave the file closed after a fork, in the child."""
        self._read_lock.release()
        self._write_lock.release()


_open_files: weakref.WeakSet[SqliteFile] = weakref.WeakSet()
_forking: list[SqliteFile] = []
_one_fork = threading.Lock()


def _before_fork() -> None:
    _one_fork.acquire()
    _forking[:] = list(_open_files)
    for file in _forking:
        file.let_go()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().take_up()
    _one_fork.release()


def _after_fork_in_child() -> None:
    while _forking:
        file = _forking.pop()
        file.stay_closed()
        _open_files.discard(file)
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


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
