"""Waiting on Redis without polling: a subscription for each thread that waits.

Scripts publish on the channel of a queue when there may be work in it, and on one more when anything has changed. A
wake-up that is lost, with the connection that carried it, only makes a wait last longer.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

import redis

from .server import ERRORS, RedisServer

SLICE_SECONDS = 1.0
"""After so much silence the server is asked whether it is there; after as much again, the connection is given up."""
BUSY_SECONDS = 0.5
"""Who has not waited for so long is busy, and has no ear for what is published."""


class Listener:
    """The subscription of one thread; others may only make it `rest` or `end`, which `own`, a channel, tells it of.

    Its connection outlives many waits, and the subscription those that follow one another. A connection that breaks,
    or falls silent, counts as news: who hears it looks.
    """

    def __init__(self, server: RedisServer, own: str) -> None:
        self._server = server
        self._own = own
        self._busy = threading.Lock()
        self._connection: Any = None
        self._names: frozenset[str] = frozenset()
        self._waits = False
        self._left = 0.0
        """When the last wait ended."""
        self._asked = False
        """Whether the server was asked if it is there, and has not answered yet."""

    def attend(self, names: Sequence[str]) -> bool:
        """Listen on these channels and our own from now on; return whether that was so before, and lasts.

        Raises BrokerUnavailable where the server cannot be reached.
        """
        wanted = frozenset(names) | {self._own}
        self._waits = True
        with self._busy:
            if self._connection is not None and self._names == wanted:
                return True
            if self._connection is None or not self._is_heard(wanted):
                self._connect(wanted)
            self._names = wanted
        return False

    def leave(self) -> None:
        """Say that the wait is over. Those who begin another one soon have missed nothing between the two."""
        self._left = time.monotonic()
        self._waits = False

    def _is_heard(self, wanted: frozenset[str]) -> bool:
        """Subscribe on the connection that there is; return whether it still leads to the server."""
        try:
            return self._sign_up(wanted)
        except ERRORS:
            return False

    def _connect(self, wanted: frozenset[str]) -> None:
        self.close()
        try:
            self._connection = self._server.connection()
            if not self._sign_up(wanted):
                raise redis.TimeoutError("it does not answer")
        except ERRORS as error:
            self.close()
            raise self._server.explained(error) from None

    def _sign_up(self, wanted: frozenset[str]) -> bool:
        """Return whether the server has heard, so that what is published from then on arrives."""
        self._say("SUBSCRIBE", *wanted)
        left = len(wanted)
        end = time.monotonic() + 2 * SLICE_SECONDS
        while left > 0 and time.monotonic() < end:
            left -= self._next(SLICE_SECONDS) == b"subscribe"
        return left == 0

    def hear(self, seconds: float) -> bool:
        """Return whether anything is published within so many seconds, or may have been."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._busy:
                if self._take(min(left, SLICE_SECONDS)) == b"message":
                    return True
        return False

    def drain(self) -> None:
        """Pass over what was published up to now."""
        with self._busy:
            while self._take(0.0) == b"message" and self._connection is not None:
                continue

    def _take(self, seconds: float) -> bytes | None:
        """Return the kind of what comes next; None where nothing does. A connection that is lost is a message."""
        if self._connection is None:
            return b"message"
        try:
            kind = self._next(seconds)
            if kind is not None:
                self._asked = False
                return kind
            if seconds < SLICE_SECONDS:
                return None
            if not self._asked:
                self._asked = True
                self._say("PING")
                return None
        except ERRORS:
            pass
        self.close()
        return b"message"

    def _say(self, *command: str) -> None:
        self._connection.send_command(*command, check_health=False)

    def _next(self, seconds: float) -> bytes | None:
        """Return the kind of the next message; None where there is none within so many seconds."""
        if not self._connection.can_read(timeout=seconds):
            return None
        message = self._connection.read_response(push_request=True)
        kind: bytes = message[0] if isinstance(message, list) else message
        return kind

    def rest(self) -> None:
        """Listen no more for now, where nobody has waited here for a while; the connection stays for the next time."""
        if self._waits or time.monotonic() - self._left < BUSY_SECONDS or not self._busy.acquire(blocking=False):
            return
        try:
            if self._names and not self._waits:
                self._names = frozenset()
                self._say("UNSUBSCRIBE")
        except ERRORS:
            self.close()
        finally:
            self._busy.release()

    def close(self) -> None:
        """Listen no more, and close the connection."""
        connection, self._connection, self._names, self._asked = self._connection, None, frozenset(), False
        if connection is not None:
            connection.disconnect()

    def end(self) -> None:
        """Close it from another thread, once that of the listener does not use it."""
        with self._busy:
            self.close()
