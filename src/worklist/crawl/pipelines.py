"""Item pipelines: what each scraped item goes through before it reaches the feeds.

A pipeline is any class with `process_item(item, spider)`, a plain function or a coroutine; it gives the item on or
raises `DropItem`. `open_spider`, `close_spider`, `from_crawler` and `from_settings` are called where it has them.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..core.errors import ConfigError
from .exceptions import DropItem, NotConfigured

logger = logging.getLogger("worklist.crawl")


class ItemPipelines:
    """The pipelines of the setting ITEM_PIPELINES, lower numbers first."""

    def __init__(self, pipelines: list[Any]) -> None:
        self.pipelines = pipelines
        self._steps = [_step(each) for each in pipelines if hasattr(each, "process_item")]

    def __bool__(self) -> bool:
        return bool(self.pipelines)

    @classmethod
    def from_crawler(cls, crawler: Any) -> ItemPipelines:
        """Make them. One that raises NotConfigured is left out. Raises ConfigError for one that cannot be found."""
        enabled = crawler.settings.getdict("ITEM_PIPELINES")
        ordered = sorted((each for each in enabled.items() if each[1] is not None), key=lambda each: each[1])
        made: list[Any] = []
        for path, _ in ordered:
            try:
                made.append(built(loaded(path, "ITEM_PIPELINES"), crawler))
            except NotConfigured as reason:
                logger.warning("the pipeline %s is off: %s", path, reason)
        return cls(made)

    async def open(self, spider: Any) -> None:
        """Call `open_spider` of each, in order."""
        for each in self.pipelines:
            await _hook(each, "open_spider", spider)

    async def process(self, item: Any, response: Any, spider: Any) -> Any:
        """Give the item as the pipelines leave it. Raises DropItem where one does not want it."""
        for step, takes_response in self._steps:
            result = step(item, spider=spider, response=response) if takes_response else step(item, spider)
            item = await result if inspect.isawaitable(result) else result
            if item is None:
                raise TypeError(f"{step.__qualname__} returned None; expected the item, or raise DropItem")
        return item

    async def close(self, spider: Any) -> None:
        """Call `close_spider` of each, in the reverse order, also where one raises."""
        errors: list[Exception] = []
        for each in reversed(self.pipelines):
            try:
                await _hook(each, "close_spider", spider)
            except Exception as error:
                logger.exception("close_spider of %s raised", type(each).__name__)
                errors.append(error)
        if errors:
            raise errors[0]


def _step(pipeline: Any) -> tuple[Callable[..., Any], bool]:
    """Give `process_item` so that it is called alike whether it takes the spider or not."""
    process = pipeline.process_item
    parameters = inspect.signature(process).parameters
    if "response" in parameters:
        return process, True
    if len(parameters) >= 2 or any(each.kind is each.VAR_POSITIONAL for each in parameters.values()):
        return process, False

    def without_spider(item: Any, _spider: Any) -> Any:
        return process(item)

    without_spider.__qualname__ = process.__qualname__
    return without_spider, False


async def _hook(pipeline: Any, name: str, spider: Any) -> None:
    hook = getattr(pipeline, name, None)
    if hook is not None:
        result = hook(spider) if inspect.signature(hook).parameters else hook()
        if inspect.isawaitable(result):
            await result


def loaded(path: Any, where: str) -> Any:
    """Return the class that a setting names, as itself or as its path. Raises ConfigError where there is none."""
    if not isinstance(path, str):
        return path
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where} names {path!r}, which cannot be imported: {error}") from None


def built(kind: Any, crawler: Any) -> Any:
    """Make a component: by `from_crawler`, else `from_settings`, else by its name alone."""
    if hasattr(kind, "from_crawler"):
        return kind.from_crawler(crawler)
    if hasattr(kind, "from_settings"):
        return kind.from_settings(crawler.settings)
    return kind() if isinstance(kind, type) else kind


__all__ = ["DropItem", "ItemPipelines"]
