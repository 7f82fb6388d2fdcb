"""The standard library: ThreadPoolExecutor, threads that read a `queue.Queue`, and multiprocessing's queue."""

import multiprocessing
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.systems.local_commands import main

Task = Callable[[], None]


class Pool:
    """ThreadPoolExecutor with five threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(5)

    def __enter__(self) -> Callable[[Task], object]:
        return self._pool.submit

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


class Naive:
    """Five threads that read one `queue.Queue`, as its documentation shows."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Task | None] = queue.Queue()
        self._threads = [threading.Thread(target=self._work) for _ in range(5)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task()
            finally:
                self._queue.task_done()

    def __enter__(self) -> Callable[[Task], object]:
        return self._queue.put

    def __exit__(self, *_: object) -> None:
        self._queue.join()
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()


if __name__ == "__main__":
    main({"pool": Pool, "naive": Naive}, {"queue": multiprocessing.Queue})
