"""litequeue: a raw queue on SQLite. A message is taken, then marked done; no tasks, no results."""

import threading
from collections.abc import Sequence

import litequeue

from bench.systems.base import Options, System
from bench.systems.script import main


class LiteQueueSystem(System):
    """A queue object for each thread: twice as fast as one for all. WAL and NORMAL are its own settings."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._own = threading.local()
        self._queue = self._open()

    def _open(self) -> litequeue.LiteQueue:
        return litequeue.LiteQueue(str(self.options.database), timeout=60)

    def enter_thread(self) -> None:
        self._own.queue = self._open()

    def put(self, number: int) -> None:
        self._own.queue.put(str(number))

    def put_many(self, numbers: Sequence[int]) -> None:
        """It has no call for many, but lends its transactions."""
        with self._queue.transaction():
            for number in numbers:
                self._queue.put(str(number))

    def take_all(self) -> int:
        taken = 0
        while message := self._queue.pop():
            self._queue.done(message.message_id)
            taken += 1
        return taken

    def close(self) -> None:
        self._queue.close()


if __name__ == "__main__":
    main(LiteQueueSystem)
