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


class Listener:
    """The subscription of one thread; another one may only `end` it. `own` is the channel on which that is told.

    Its connection outlives many subscriptions. One that breaks, or falls silent, counts as news: who hears it looks.
    """

    def __init__(self, server: RedisServer, own: str) -> None:
        self._server = server
        self._own = own
        self._busy = threading.Lock()
        self._channels: Any = None
        self._names: frozenset[str] = frozenset()
        self._asked = False
        """Whether the server was asked if it is there, and has not answered yet."""

    def subscribe(self, names: Sequence[str]) -> bool:
        """Listen on these channels and our own from now on; return whether that was so before, and lasts.

        Raises BrokerUnavailable where the server cannot be reached.
        """
        wanted = frozenset(names) | {self._own}
        if self._channels is not None and self._names == wanted:
            return True
        with self._busy:
            if self._channels is None or not self._is_heard(wanted):
                self._connect(wanted)
        self._names = wanted
        return False

    def _is_heard(self, wanted: frozenset[str]) -> bool:
        """Subscribe on the connection that there is; return whether it still leads to the server."""
        try:
            return self._sign_up(wanted)
        except ERRORS:
            return False

    def _connect(self, wanted: frozenset[str]) -> None:
        self.close()
        try:
            self._channels = self._server.client.pubsub()
            if not self._sign_up(wanted):
                raise redis.TimeoutError("it does not answer")
        except ERRORS as error:
            self.close()
            raise self._server.explained(error) from None

    def _sign_up(self, wanted: frozenset[str]) -> bool:
        """Return whether the server has heard, so that what is published from then on arrives."""
        self._channels.subscribe(*wanted)
        left = len(wanted)
        end = time.monotonic() + 2 * SLICE_SECONDS
        while left > 0 and time.monotonic() < end:
            message = self._channels.get_message(timeout=SLICE_SECONDS)
            left -= message is not None and message["type"] == "subscribe"
        return left == 0

    def hear(self, seconds: float) -> bool:
        """Return whether anything is published within so many seconds, or may have been."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._busy:
                if self._take(min(left, SLICE_SECONDS)) == "message":
                    return True
        return False

    def drain(self) -> None:
        """Pass over what was published up to now."""
        with self._busy:
            while self._take(0.0) == "message" and self._channels is not None:
                continue

    def _take(self, seconds: float) -> str | None:
        """Return the kind of what comes next; None where nothing does. A connection that is lost is a message."""
        if self._channels is None:
            return "message"
        try:
            message = self._channels.get_message(timeout=seconds)
            if message is not None:
                self._asked = False
                return str(message["type"])
            if seconds < SLICE_SECONDS:
                return None
            if not self._asked:
                self._asked = True
                self._channels.ping()
                return None
        except ERRORS:
            pass
        self.close()
        return "message"

    def hush(self) -> None:
        """Listen no more for now; the connection stays, for the next time."""
        with self._busy:
            if self._channels is not None:
                self._names = frozenset()
                try:
                    self._channels.unsubscribe()
                except ERRORS:
                    self.close()

    def close(self) -> None:
        """Listen no more, and give the connection back."""
        channels, self._channels, self._names, self._asked = self._channels, None, frozenset(), False
        if channels is not None:
            channels.close()

    def end(self) -> None:
        """Close it from another thread, once that of the listener does not use it."""
        with self._busy:
            self.close()
