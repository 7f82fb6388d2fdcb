"""The class that a user's spider inherits from: where it begins, and what it does with a page."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Self

from ..core.errors import ConfigError
from .request import Request

if TYPE_CHECKING:
    from .crawler import Crawler
    from .settings import Settings


class Spider:
    """A crawl: `start_urls` or `start()` say where it begins, `parse` and other methods what to make of a response.

    A callback gets the response, and yields items and requests; it may be a plain function, a generator, a coroutine
    or an async generator. `custom_settings` count more than the project's and less than the command line's.
    """

    name: str
    start_urls: Iterable[str]
    allowed_domains: Iterable[str]
    custom_settings: dict[str, Any] | None = None
    meets_start_pages_again = False
    """Whether a link to one of `start_urls` is followed, though that was fetched already."""
    crawler: Crawler
    settings: Settings

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        if name is not None:
            self.name = name
        elif not getattr(self, "name", None):
            raise ConfigError(f"the spider {type(self).__name__} has no name; give the class one: name = 'quotes'")
        self.__dict__.update(kwargs)
        if not hasattr(self, "start_urls"):
            self.start_urls = []
        self.state: dict[str, Any] = {}

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger of the spider's name."""
        return logging.LoggerAdapter(logging.getLogger(self.name), {"spider": self})

    def log(self, message: Any, level: int = logging.DEBUG, **kwargs: Any) -> None:
        """Log a message."""
        self.logger.log(level, message, **kwargs)

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Make the spider of a crawl; `kwargs` are the arguments of the command line."""
        spider = cls(*args, **kwargs)
        spider._set_crawler(crawler)
        return spider

    def _set_crawler(self, crawler: Crawler) -> None:
        from . import signals  # noqa: PLC0415 - one name among many here

        self.crawler = crawler
        self.settings = crawler.settings
        if hasattr(self, "closed"):
            crawler.signals.connect(self.closed, signals.spider_closed)

    @classmethod
    def update_settings(cls, settings: Settings) -> None:
        """Apply `custom_settings`; a place to compute some."""
        settings.setdict(cls.custom_settings or {}, priority="spider")

    async def start(self) -> AsyncIterator[Any]:
        """Yield the requests (or items) that the crawl begins with: by default those of `start_requests`."""
        for each in self.start_requests():
            yield each

    def start_requests(self) -> Iterable[Any]:
        """Yield the requests that the crawl begins with: by default one for each of `start_urls`."""
        if not self.start_urls and hasattr(self, "start_url"):
            raise ConfigError(f"the spider {self.name!r} has start_url; expected start_urls, a list")
        if isinstance(self.start_urls, str):
            raise ConfigError(f"start_urls of the spider {self.name!r} is text; expected a list: ['{self.start_urls}']")
        for url in self.start_urls:
            yield Request(url, dont_filter=True)

    def parse(self, response: Any, **kwargs: Any) -> Any:
        """Make something of a response whose request names no callback."""
        raise NotImplementedError(f"the spider {self.name!r} has no method parse(self, response)")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
