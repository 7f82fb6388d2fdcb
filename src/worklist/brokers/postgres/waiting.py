"""Waiting for PostgreSQL to tell of something: LISTEN where a session is ours, else short waits and a look.

Who waits holds a shared lock for each sign that it waits for, and who has something to tell sends a notification only
where it finds such a lock. Who waits no longer gives it up a moment later: so a busy queue sends none. What is missed
is found by the slow look that comes anyway.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from .server import PostgresServer

ANYTHING = "any"
RESULTS = "results"
_SETTLING = 0.02
"""Seconds after which a new listener looks again: for what was put at the moment it came."""
_SLOW_LOOK = 1.0
_POOLED_LOOKS = (0.005, 0.1)
LINGER = 0.1
"""Seconds after a wait in which notifications are still wanted: most often, the next wait begins at once."""


def sign_of(queue: str) -> str:
    """Return the sign of work in a queue."""
    return f"q{queue}"


class Ear:
    """One thread's way to hear of signs. It looks every now and then whatever it hears."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._poked = threading.Event()
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)  # of pokes that nobody hears, a few are enough
        self._connection: psycopg.Connection[Any] | None = None
        self._signs: frozenset[str] = frozenset()
        self._step = 0.0
        self._waits = threading.Lock()
        self._waited = 0.0

    def __enter__(self) -> "Ear":
        """Begin to wait."""
        self._waits.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._waited = time.monotonic()
        self._waits.release()

    def attend(self, signs: Sequence[str]) -> bool:
        """Listen for these signs; return whether it did already, so that nothing was missed since the last call."""
        wanted = frozenset(signs)
        if self._server.pooled is None:
            self._server.find_pooler()
        if self._server.pooled:
            self._step = _POOLED_LOOKS[0]
            return True
        if self._connection is not None and wanted == self._signs:
            return True
        with self._server.clear_errors():
            self._listen(wanted)
        self._step = _SETTLING
        return False

    def _listen(self, wanted: frozenset[str]) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._server.connect()
        connection.execute(f'LISTEN "{self._server.channel}"; SELECT pg_advisory_unlock_all()')
        connection.execute(
            "SELECT pg_advisory_lock_shared(%s, hashtext(sign)) FROM unnest(%s::text[]) AS it (sign)",
            (self._server.signs_lock, sorted(wanted)),
        )
        self._signs = wanted

    def rest(self) -> None:
        """Let others not tell of anything because of a thread that has not waited for a moment; from any thread."""
        if self._signs and time.monotonic() - self._waited > LINGER and self._waits.acquire(blocking=False):
            try:
                self._hear_no_more()
            finally:
                self._waits.release()

    def _hear_no_more(self) -> None:
        if self._connection is not None and self._signs:
            self._signs = frozenset()
            try:
                self._connection.execute("UNLISTEN *; SELECT pg_advisory_unlock_all()")
            except psycopg.Error:
                self.close_connection()

    @property
    def _longest(self) -> float:
        return _POOLED_LOOKS[1] if self._server.pooled else _SLOW_LOOK

    def wait(self, seconds: float) -> bool:
        """Wait until a sign is given, at most until it is time to look; return whether there was one."""
        step, self._step = min(seconds, self._step), min(self._step * 2, self._longest)
        if self._connection is None:
            return self._hear_pokes(select.select([self._near], [], [], step)[0])
        end = time.monotonic() + step
        while True:
            if self._hear_signs():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready = select.select([self._near.fileno(), self._connection.fileno()], [], [], left)[0]
            if self._near.fileno() in ready and self._hear_pokes(ready):
                return True

    def _hear_pokes(self, ready: Sequence[Any]) -> bool:
        if not ready:
            return False
        with contextlib.suppress(BlockingIOError):
            while self._near.recv(4096):
                pass
        return True

    def _hear_signs(self) -> bool:
        """Take what has been told; where the connection was cut, look as if something had been."""
        assert self._connection is not None  # noqa: S101
        heard = False
        try:
            self._connection.pgconn.consume_input()
            while (note := self._connection.pgconn.notifies()) is not None:
                heard = heard or note.extra.decode() in self._signs
        except psycopg.Error:
            self.close_connection()
            return True
        return heard

    def poke(self) -> None:
        """End a wait from another thread."""
        with contextlib.suppress(OSError):
            self._far.send(b"!")

    def close_connection(self) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._signs = None, frozenset()

    def close(self) -> None:
        """Give everything back."""
        self.close_connection()
        self._near.close()
        self._far.close()

    def __del__(self) -> None:
        self.close()
