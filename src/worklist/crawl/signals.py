"""Signals by which components hear what happens in a crawl, under Scrapy's names.

A handler gets those of the signal's arguments that it names. What it raises is logged, and reaches nobody else.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("worklist.crawl")

engine_started = "engine_started"
engine_stopped = "engine_stopped"
spider_opened = "spider_opened"
spider_idle = "spider_idle"
spider_closed = "spider_closed"
spider_error = "spider_error"
request_scheduled = "request_scheduled"
request_dropped = "request_dropped"
request_reached_downloader = "request_reached_downloader"
request_left_downloader = "request_left_downloader"
response_received = "response_received"
response_downloaded = "response_downloaded"
item_scraped = "item_scraped"
item_dropped = "item_dropped"
item_error = "item_error"
feed_exporter_closed = "feed_exporter_closed"


class SignalManager:
    """Who wants to hear which signal."""

    def __init__(self) -> None:
        self._receivers: dict[Any, list[tuple[Callable[..., Any], frozenset[str] | None]]] = {}

    def connect(self, receiver: Callable[..., Any], signal: Any, **_: Any) -> None:
        """Call `receiver` with each `signal`."""
        self._receivers.setdefault(signal, []).append((receiver, _names_of(receiver)))

    def disconnect(self, receiver: Callable[..., Any], signal: Any, **_: Any) -> None:
        """Undo `connect`."""
        known = self._receivers.get(signal, [])
        self._receivers[signal] = [each for each in known if each[0] != receiver]

    def wanted(self, signal: Any) -> bool:
        """Return whether anybody listens."""
        return bool(self._receivers.get(signal))

    async def send(self, signal: Any, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call those who listen, and await those that are coroutines; return each with its result or exception."""
        results: list[tuple[Callable[..., Any], Any]] = []
        for receiver, names in tuple(self._receivers.get(signal, ())):
            result: Any
            try:
                result = receiver(**_fitting(arguments, names))
                if inspect.isawaitable(result):
                    result = await result
            except Exception as error:
                result = error
                logger.debug("handler %r of %s raised", receiver, signal, exc_info=True)
            results.append((receiver, result))
        return results

    def send_catch_log(self, signal: Any, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call those who listen that are plain functions; log what they raise."""
        results: list[tuple[Callable[..., Any], Any]] = []
        for receiver, names in tuple(self._receivers.get(signal, ())):
            try:
                results.append((receiver, receiver(**_fitting(arguments, names))))
            except Exception as error:
                logger.exception("handler %r of %s raised", receiver, signal)
                results.append((receiver, error))
        return results


def _names_of(receiver: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of the arguments that a handler takes; None: any."""
    parameters = inspect.signature(receiver).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return frozenset(each.name for each in parameters)


def _fitting(arguments: dict[str, Any], names: frozenset[str] | None) -> dict[str, Any]:
    return arguments if names is None else {name: value for name, value in arguments.items() if name in names}
