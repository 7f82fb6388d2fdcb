"""Rings when there may be work in the ledger: a thread that sits in its `wait`, while others wait for messages.

It sits there once for all the waits for messages that pass meanwhile, and knows no jobs.
"""

import threading
from collections.abc import Callable, Sequence

from ...core.errors import BrokerError
from ...core.ports import Broker

_LISTEN_SECONDS = 60.0
_TROUBLE_SECONDS = 1.0
_JOIN_SECONDS = 0.02


class Bell:
    """Calls `ring` when the ledger may have work, once for each time that somebody has begun to `listen`."""

    def __init__(self, ledger: Broker, ring: Callable[[], object]) -> None:
        self._ledger = ledger
        self._ring = ring
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queues: frozenset[str] = frozenset()
        self._wanted = threading.Event()
        self._rang = threading.Event()
        self._closed = threading.Event()

    def rang(self) -> bool:
        """Return whether it has rung, and nobody has heard it."""
        return self._rang.is_set()

    def hear(self) -> bool:
        """Return whether it has rung, and let it be silent."""
        rang = self._rang.is_set()
        self._rang.clear()
        return rang

    def wait(self, seconds: float) -> None:
        """Return as soon as it rings, or after `seconds`."""
        self._rang.wait(seconds)

    def listen(self, queues: Sequence[str]) -> None:
        """Ring when there may be work in these queues, or those of earlier calls."""
        self._wanted.set()
        if self._thread is not None and self._queues.issuperset(queues):
            return
        with self._lock:
            self._queues |= frozenset(queues)
            begins = self._thread is None and not self._closed.is_set()
            if begins:
                self._thread = threading.Thread(target=self._run, name="worklist-ledger", daemon=True)
                self._thread.start()
        if not begins:
            self._ledger.wake()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wanted.wait()
            try:
                self._ledger.wait([*self._queues], _LISTEN_SECONDS)
            except BrokerError:
                self._closed.wait(_TROUBLE_SECONDS)
            self._wanted.clear()
            self._rang.set()
            self._ring()

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._closed.set()
            thread = self._thread
        while thread is not None and thread.is_alive():
            self._wanted.set()
            self._ledger.wake()  # again, since the first may have come before its wait
            thread.join(_JOIN_SECONDS)
