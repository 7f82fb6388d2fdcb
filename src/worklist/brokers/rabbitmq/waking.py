"""Threads that wait for a socket, and others that end their waits: a pipe for each wait."""

import contextlib
import os
import threading
from collections.abc import Iterator


class Wakers:
    """The waits that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipes: set[int] = set()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[int]:
        """Give the number of a file that can be read once `wake` has been called."""
        reader, writer = os.pipe()
        with self._lock:
            self._pipes.add(writer)
        try:
            yield reader
        finally:
            with self._lock:
                self._pipes.discard(writer)
            os.close(reader)
            os.close(writer)

    def wake(self) -> None:
        """End every wait that is under way."""
        if self._pipes:
            with self._lock:
                for writer in self._pipes:
                    os.set_blocking(writer, False)
                    with contextlib.suppress(BlockingIOError):
                        os.write(writer, b"\0")
