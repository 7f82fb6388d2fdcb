"""The floor: what the standard library's sqlite3 does for the same changes of rows, with nothing around it.

No tasks are looked up, no arguments decoded, no retries kept: a queue on SQLite can hardly be faster than
this in one process, and the distance from it is what a queue's features cost.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence

from bench.systems.base import Options, System
from bench.systems.script import main

BATCH = 200
"""Jobs claimed and finished in one transaction."""
BODY = bytes(106)
"""Stands beside each job's number for the name, id and options that a queue's envelope holds, so that the rows are as
long as Worklist's are."""

SCHEMA = """
CREATE TABLE job (
  id INTEGER PRIMARY KEY, task TEXT NOT NULL, body BLOB NOT NULL,
  state INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0, result BLOB
);
CREATE INDEX job_ready ON job (id) WHERE state = 0;
"""
INSERT = "INSERT INTO job (task, body) VALUES ('noop', ?)"
CLAIM = """
UPDATE job SET state = 1, attempt = attempt + 1
WHERE id IN (SELECT id FROM job WHERE state = 0 ORDER BY id LIMIT ?) RETURNING id, body
"""
FINISH = "UPDATE job SET state = 2, result = ? WHERE id = ?"
FORGET = "DELETE FROM job WHERE id = ?"


class Floor(System):
    """A connection for each thread that puts, which is a little faster than one for all under a lock."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._own = threading.local()
        self._connection = self._open()
        self._connection.executescript(SCHEMA)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.options.database, isolation_level=None, timeout=60)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self.options.durability}")
        return connection

    def enter_thread(self) -> None:
        self._own.connection = self._open()

    def put(self, number: int) -> None:
        self._own.connection.execute(INSERT, (envelope(number),))

    def put_many(self, numbers: Sequence[int]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(INSERT, ((envelope(number),) for number in numbers))
        self._connection.execute("COMMIT")

    def take_all(self) -> int:
        taken = 0
        done: list[tuple[bytes, int]] = []
        while claimed := self._settle_and_claim(done):
            taken += len(claimed)
            done = [(noop(body), key) for key, body in claimed]
        return taken

    def _settle_and_claim(self, done: list[tuple[bytes, int]]) -> list[tuple[int, bytes]]:
        """Finish one batch and claim the next in one transaction."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        self._finish(done)
        claimed = run(CLAIM, (BATCH,)).fetchall()
        run("COMMIT")
        return claimed

    def _finish(self, done: Iterable[tuple[bytes, int]]) -> None:
        if self.options.results == "all":
            self._connection.executemany(FINISH, done)
        else:
            self._connection.executemany(FORGET, ((key,) for _, key in done))

    def close(self) -> None:
        self._connection.close()


def envelope(number: int) -> bytes:
    return number.to_bytes(4, "big") + BODY


def noop(body: bytes) -> bytes:
    return body[:4]


if __name__ == "__main__":
    main(Floor)
