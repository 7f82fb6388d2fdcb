"""Waiting on Redis without polling: a subscription for each thread that waits.

Scripts publish on the channel of a queue when there may be work in it, and on one more when anything has changed. A
wake-up that is lost, with the connection that carried it, only makes a wait last longer.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .server import ERRORS, RedisServer

SLICE_SECONDS = 1.0
"""How long one look at the socket lasts at most, so that a connection that is silent for ever does no harm."""


class Listener:
    """The subscription of one thread; another one may only `end` it. `own` is the channel on which that is told."""

    def __init__(self, server: RedisServer, own: str) -> None:
        self._server = server
        self._own = own
        self._busy = threading.Lock()
        self._channels: Any = None
        self._names: frozenset[str] = frozenset()

    def subscribe(self, names: Sequence[str]) -> bool:
        """Listen on these channels and our own from now on; return whether that was so before, and lasts."""
        wanted = frozenset(names) | {self._own}
        if self._channels is not None and self._names == wanted:
            return True
        self.close()
        with self._explaining():
            self._channels = self._server.client.pubsub()
            self._channels.subscribe(*wanted)
            self._await_confirmations(len(wanted))
        self._names = wanted
        return False

    def _await_confirmations(self, count: int) -> None:
        """Wait until the server has heard, for what is published from then on to arrive."""
        end = time.monotonic() + 10 * SLICE_SECONDS
        while count > 0 and time.monotonic() < end:
            message = self._channels.get_message(timeout=SLICE_SECONDS)
            count -= message is not None and message["type"] == "subscribe"

    def hear(self, seconds: float) -> bool:
        """Return whether anything is published within so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._explaining():
                if self._channels is None or self._is_message(min(left, SLICE_SECONDS)):
                    return True
        return False

    def drain(self) -> None:
        """Pass over what was published up to now."""
        with self._explaining():
            while self._channels is not None and self._is_message(0.0):
                continue

    def _is_message(self, seconds: float) -> bool:
        message = self._channels.get_message(timeout=seconds)
        return message is not None and message["type"] == "message"

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Keep others from ending the subscription meanwhile; say in our words what the server says."""
        with self._busy:
            try:
                yield
            except ERRORS as error:
                self.close()
                raise self._server.explained(error) from None

    def close(self) -> None:
        """Listen no more."""
        channels, self._channels, self._names = self._channels, None, frozenset()
        if channels is not None:
            channels.close()

    def end(self) -> None:
        """Close it from another thread, once that of the listener does not use it."""
        with self._busy:
            self.close()
