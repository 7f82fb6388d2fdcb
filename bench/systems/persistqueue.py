"""persist-queue's SQLiteAckQueue: a raw queue. An item is taken, then acknowledged; no tasks, no results."""

import sqlite3

import persistqueue

from bench.systems.base import Options, System, settings
from bench.systems.script import main


class NormalQueue(persistqueue.SQLiteAckQueue):
    """As installed it runs with synchronous=FULL; here it gets the durability that all others have."""

    def _new_db_connection(self, path: str, multithreading: bool, timeout: float) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._new_db_connection(path, multithreading, timeout)
        connection.execute(f"PRAGMA synchronous = {settings().durability}")
        return connection


class PersistQueueSystem(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._queue = NormalQueue(str(options.dir), multithreading=True, db_file_name="queue.db")

    def put(self, number: int) -> None:
        self._queue.put(number)

    def take_all(self) -> int:
        taken = 0
        while self._queue.size:
            item = self._queue.get(block=False, raw=True)
            self._queue.ack(id=item["pqid"])
            taken += 1
        return taken

    def close(self) -> None:
        self._queue.close()


if __name__ == "__main__":
    main(PersistQueueSystem)
