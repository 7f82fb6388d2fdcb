"""Extensions: what listens to the signals of a crawl."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from . import signals
from .exceptions import NotConfigured
from .frontier import slot_of


class CloseSpider:
    """Ends the crawl by CLOSESPIDER_TIMEOUT, _ITEMCOUNT, _PAGECOUNT, _ERRORCOUNT, _TIMEOUT_NO_ITEM or the like."""

    def __init__(self, crawler: Any) -> None:
        self._crawler = crawler
        names = ("TIMEOUT", "ITEMCOUNT", "PAGECOUNT", "ERRORCOUNT", "TIMEOUT_NO_ITEM", "PAGECOUNT_NO_ITEM")
        self._most = {name: crawler.settings.getfloat(f"CLOSESPIDER_{name}") for name in names}
        if not any(self._most.values()):
            raise NotConfigured("no CLOSESPIDER_* is set")
        self._counts = dict.fromkeys(names, 0)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        connect = crawler.signals.connect
        connect(self._item, signals.item_scraped)
        connect(self._page, signals.response_received)
        connect(self._error, signals.spider_error)
        connect(self._opened, signals.spider_opened)
        connect(self._closed, signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Any) -> CloseSpider:
        """Make it."""
        return cls(crawler)

    def _count(self, name: str) -> None:
        self._counts[name] += 1
        if self._most[name] and self._counts[name] >= self._most[name]:
            self._end(name)

    def _end(self, name: str) -> None:
        self._crawler.engine.close_spider(self._crawler.spider, f"closespider_{name.lower()}")

    def _item(self) -> None:
        self._count("ITEMCOUNT")
        self._counts["PAGECOUNT_NO_ITEM"] = 0
        self._start_timer("TIMEOUT_NO_ITEM")

    def _page(self) -> None:
        self._count("PAGECOUNT")
        self._count("PAGECOUNT_NO_ITEM")

    def _error(self) -> None:
        self._count("ERRORCOUNT")

    def _opened(self) -> None:
        self._start_timer("TIMEOUT")
        self._start_timer("TIMEOUT_NO_ITEM")

    def _start_timer(self, name: str) -> None:
        if self._most[name]:
            if name in self._timers:
                self._timers[name].cancel()
            self._timers[name] = asyncio.get_running_loop().call_later(self._most[name], self._end, name)

    def _closed(self) -> None:
        for timer in self._timers.values():
            timer.cancel()


class LogCount:
    """Counts what is logged while the crawl runs, by level, as log_count/ERROR and the like."""

    def __init__(self, crawler: Any) -> None:
        stats = crawler.stats

        class Counting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                stats.inc_value(f"log_count/{record.levelname}")

        self._handler = Counting()
        crawler.signals.connect(self._opened, signals.spider_opened)
        crawler.signals.connect(self._closed, signals.engine_stopped)

    @classmethod
    def from_crawler(cls, crawler: Any) -> LogCount:
        """Make it."""
        return cls(crawler)

    def _opened(self) -> None:
        logging.getLogger().addHandler(self._handler)

    def _closed(self) -> None:
        logging.getLogger().removeHandler(self._handler)


class AutoThrottle:
    """Sets the rate of each host's lane by how long it takes to answer."""

    def __init__(self, crawler: Any) -> None:
        settings = crawler.settings
        if not settings.getbool("AUTOTHROTTLE_ENABLED"):
            raise NotConfigured("AUTOTHROTTLE_ENABLED is false")
        self._crawler = crawler
        self._target = max(0.01, settings.getfloat("AUTOTHROTTLE_TARGET_CONCURRENCY", 1.0))
        self._start = settings.getfloat("AUTOTHROTTLE_START_DELAY", 5.0)
        self._least = settings.getfloat("DOWNLOAD_DELAY")
        self._most = settings.getfloat("AUTOTHROTTLE_MAX_DELAY", 60.0)
        self._delays: dict[str, float] = {}
        crawler.signals.connect(self._adjust, signals.response_downloaded)

    @classmethod
    def from_crawler(cls, crawler: Any) -> AutoThrottle:
        """Make it."""
        return cls(crawler)

    async def _adjust(self, response: Any, request: Any) -> None:
        """Move half of the way to the delay at which as many requests are under way as are wanted."""
        latency = request.meta.get("download_latency")
        if latency is None or request.meta.get("autothrottle_dont_adjust_delay"):
            return
        slot = slot_of(request)
        before = self._delays.get(slot, self._start)
        wanted = latency / self._target
        delay = max(wanted, (before + wanted) / 2)
        delay = min(max(self._least, delay), self._most)
        if response.status != 200 and delay <= before:
            return
        self._delays[slot] = delay
        if abs(delay - before) > 0.05 * before:
            await self._crawler.engine.set_delay(slot, delay)
