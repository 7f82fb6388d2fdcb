"""Single requests without a queue: for `worklist shell`, `fetch`, `view`, `parse` and `check`.

A request goes through the spider's own settings and downloader middlewares, so that a page looks as it does in a crawl;
redirects are followed at once. Nothing is remembered, and no host has a clock: this is for trying things out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..core.errors import ConfigError, did_you_mean
from .chain import DownloaderChain, components
from .crawler import Crawler
from .exceptions import IgnoreRequest
from .handlers import Handlers
from .request import NO_CALLBACK, Request
from .response import Response
from .settings import Settings
from .signals import SignalManager, spider_closed
from .spider import Spider
from .stats import StatsCollector

_MOST_HOPS = 20


class AnySpider(Spider):
    """Stands where a page is fetched without a spider."""

    name = "default"


class Tryout:
    """What stands for a crawler and its engine where single requests are made. Close it when done."""

    def __init__(
        self,
        kind: type[Spider] = AnySpider,
        settings: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = Settings()
        kind.update_settings(self.settings)
        self.settings.setdict(settings or {}, priority="cmdline")
        self.stats = StatsCollector()
        self.signals = SignalManager()
        self.engine = self
        self.spider = kind.from_crawler(cast("Crawler", self), **dict(arguments or {}))
        around = components(self, "DOWNLOADER_MIDDLEWARES")
        self._downloader = Handlers(self, around)
        self._chain = DownloaderChain(around, self.spider, self.download_raw)

    async def fetch(self, request: Request | str) -> Response:
        """Download a page, redirects and retries included. Raises what the downloader and the middlewares raise."""
        now = Request(request) if isinstance(request, str) else request
        for _ in range(_MOST_HOPS):
            found = await self._chain.run(now)
            if isinstance(found, Response):
                found.request = now
                return found
            now = found
        raise IgnoreRequest(f"{now.url} is redirected more than {_MOST_HOPS} times")

    download = fetch

    async def download_raw(self, request: Request) -> Response:
        """Download without middlewares."""
        return await self._downloader.fetch(request)

    async def slow_down(self, slot: str, delay: float) -> None:
        """Do nothing: there is no clock."""

    async def pause(self, slot: str, seconds: float) -> None:
        """Do nothing: there is no clock."""

    def failures(self) -> int:
        """Say that this is the last attempt: whoever tries out wants to see the answer, not to wait for another."""
        return self.settings.getint("RETRY_TIMES")

    async def close(self) -> None:
        """Close the connections."""
        await self.signals.send(spider_closed, spider=self.spider, reason="finished")
        await self._downloader.close()

    def method(self, callback: Any) -> Any:
        """Return the method of the spider that a request or a command names. Raises ConfigError for none."""
        name = callback or "parse"
        if callable(name) and name is not NO_CALLBACK:
            return name
        method = getattr(self.spider, str(name), None)
        if not callable(method):
            known = [each for each in dir(self.spider) if not each.startswith("_")]
            raise ConfigError(f"the spider {self.spider.name!r} has no method {name!r}{did_you_mean(str(name), known)}")
        return method
