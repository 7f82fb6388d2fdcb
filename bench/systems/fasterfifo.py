"""faster-fifo: a queue between processes in C++, on shared memory."""

from faster_fifo import Queue

from bench.systems.local_commands import BATCH, main


class Values:
    """Room for everything that is put, as the others have; batches of the size that is measured."""

    def __init__(self) -> None:
        queue = Queue(max_size_bytes=256 * 2**20)
        self.put, self.get, self.put_many = queue.put, queue.get, queue.put_many
        self._queue = queue

    def get_many(self) -> list[object]:
        taken: list[object] = self._queue.get_many(max_messages_to_get=BATCH)
        return taken


if __name__ == "__main__":
    main({}, {"queue": Values})
