"""When a host may be asked again, in this process: a delay after the last request to it has left.

The queue's lanes keep the delay between processes, when they give requests out; this keeps it to the moment when a
request leaves, however long that took. It knows neither jobs nor HTTP.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

_MOST_HOSTS = 20_000


class HostClock:
    """For each host the moment (monotonic) of its next request. `delay_of` tells the seconds between two requests."""

    def __init__(self, delay_of: Callable[[str], float]) -> None:
        self._delay_of = delay_of
        self._next: dict[str, float] = {}  # infinite while a request has its turn and has not left
        self._let: dict[str, float] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._most = _MOST_HOSTS

    def let(self, host: str) -> float:
        """Let the work on a request to a host begin and return 0, or return the seconds until it may."""
        delay = self._delay_of(host)
        known = self._next.get(host, 0.0)
        if not delay and not known:
            return 0.0
        now = time.monotonic()
        at = max(self._let.get(host, 0.0), known if known < math.inf else 0.0)
        if at > now:
            return at - now
        self._forget_past(self._let, now)
        self._let[host] = now + delay
        return 0.0

    async def turn(self, host: str) -> bool:
        """Wait until a host may be asked; return whether `left` is to be called when the request has left."""
        while (at := self._next.get(host, 0.0)) > (now := time.monotonic()):
            if at < math.inf:
                await asyncio.sleep(at - now)
                continue
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(host, []).append(waiting)
            await waiting
        if not self._delay_of(host):
            return False
        self._forget_past(self._next, now)
        self._next[host] = math.inf
        return True

    def is_leaving(self, host: str) -> bool:
        """Return whether a request to a host has its turn and has not left."""
        return self._next.get(host, 0.0) == math.inf

    def left(self, host: str) -> None:
        """Note that a request to a host leaves now."""
        before = self._next.get(host, 0.0)
        at = time.monotonic() + self._delay_of(host)
        self._next[host] = at if before == math.inf else max(before, at)
        for waiting in self._waiting.pop(host, ()):
            if not waiting.done():
                waiting.set_result(None)

    def pause(self, host: str, seconds: float) -> None:
        """Have a host not asked for a while."""
        now = time.monotonic()
        self._forget_past(self._next, now)
        self._next[host] = max(self._next.get(host, 0.0), now + seconds)

    def _forget_past(self, times: dict[str, float], now: float) -> None:
        if len(times) >= self._most:
            for host in [host for host, at in times.items() if at <= now]:
                del times[host]
            self._most = max(_MOST_HOSTS, 2 * len(times))
