"""The middlewares of a crawl as rows of bound methods, called in turn; each may be plain or a coroutine."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from .exceptions import NotConfigured
from .pipelines import built, loaded
from .request import Request
from .response import Response

logger = logging.getLogger("worklist.crawl")
Step = Callable[..., Any]


def components(crawler: Any, setting: str, *, based: bool = True) -> list[Any]:
    """Make the components that a setting names, in their order; those that raise NotConfigured are left out."""
    enabled = crawler.settings.getwithbase(setting) if based else crawler.settings.getdict(setting)
    made: list[Any] = []
    for path, _ in sorted(enabled.items(), key=lambda each: each[1]):
        try:
            made.append(built(loaded(path, setting), crawler))
        except NotConfigured as reason:
            logger.debug("%s: %s is off: %s", setting, path, reason)
    return made


def steps(parts: Iterable[Any], method: str, spider: Any, arguments: int) -> list[Step]:
    """Return this method of each that has it, all taking `arguments` and no spider."""
    return [_without_spider(getattr(each, method), spider, arguments) for each in parts if hasattr(each, method)]


def _without_spider(method: Step, spider: Any, arguments: int) -> Step:
    taken = len(inspect.signature(method).parameters)
    if taken <= arguments:
        return method
    if arguments == 1:
        return lambda one: method(one, spider)
    return lambda one, two: method(one, two, spider)


class DownloaderChain:
    """Downloader middlewares around one call that makes the request."""

    def __init__(self, parts: list[Any], spider: Any, fetch: Callable[[Request], Awaitable[Response]]) -> None:
        self._before = steps(parts, "process_request", spider, 1)
        self._after = steps(reversed(parts), "process_response", spider, 2)
        self._failed = steps(reversed(parts), "process_exception", spider, 2)
        self._fetch = fetch

    async def run(self, request: Request) -> Response | Request:
        """Return the response, or the request that is to be made instead. Raises what nobody handled."""
        try:
            result = await self._ask(request)
        except Exception as error:
            result = await self._handle(request, error)
        if isinstance(result, Request):
            return result
        return await self._answer(request, result)

    async def _ask(self, request: Request) -> Response | Request:
        for step in self._before:
            result = step(request)
            if result is not None:
                if inspect.isawaitable(result):
                    result = await result
                if result is not None:
                    return result  # type: ignore[no-any-return]
        return await self._fetch(request)

    async def _handle(self, request: Request, error: Exception) -> Response | Request:
        for step in self._failed:
            result = step(request, error)
            if inspect.isawaitable(result):
                result = await result
            if result is not None:
                return result  # type: ignore[no-any-return]
        raise error

    async def _answer(self, request: Request, response: Response) -> Response | Request:
        if response.request is None:
            response.request = request
        for step in self._after:
            result: Any = step(request, response)
            if inspect.isawaitable(result):
                result = await result
            if isinstance(result, Request):
                return result
            response = result
        return response


class SpiderChain:
    """Spider middlewares: what goes into callbacks, and what comes out of them."""

    def __init__(self, parts: list[Any], spider: Any) -> None:
        self.inputs = steps(parts, "process_spider_input", spider, 1)
        self.exceptions = steps(reversed(parts), "process_spider_exception", spider, 2)
        self.requests = steps(reversed(parts), "get_processed_request", spider, 2)
        self.items = steps(reversed(parts), "get_processed_item", spider, 2)
        self._outputs = steps(reversed(parts), "process_spider_output", spider, 2)
        self.starts = steps(reversed(parts), "process_start", spider, 1)

    def wrapped(self, response: Any, result: Any) -> Any:
        """Return what a callback yields as the middlewares leave it."""
        for step in self._outputs:
            method = getattr(step, "__func__", step)
            if inspect.isasyncgenfunction(method) and not hasattr(result, "__aiter__"):
                result = _as_async(result)
            result = step(response, result)
        return result


async def _as_async(result: Iterable[Any]) -> AsyncIterator[Any]:
    for each in result:
        yield each
