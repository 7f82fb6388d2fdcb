"""Who makes a request: the handler of its scheme, and a browser where the page needs one.

A handler is any class that is made with the settings of the crawl and has what `DownloadHandler` says; the setting
DOWNLOAD_HANDLERS names one for each scheme. A browser only renders: the document itself is asked for by the handler,
so limits, redirects, retries, cookies and certificates are the same with and without.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..core.errors import ConfigError, did_you_mean
from .browser import Browser
from .exceptions import NotSupported
from .pipelines import loaded
from .rendering import Wishes, needs_script
from .request import NO_CALLBACK, Request
from .response import HtmlResponse, Response

if TYPE_CHECKING:
    from .settings import Settings


class DownloadHandler(Protocol):
    """Makes requests. `bytes` counts what was received."""

    bytes: int

    async def fetch(self, request: Request) -> Response:
        """Make one request. Raises DownloadError."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class Handlers:
    """The handlers of a crawl by scheme, made when the first request needs them.

    `crawler` needs settings and stats. `guards` are the middlewares that say where a browser may go by itself.
    """

    def __init__(self, crawler: Any, guards: list[Any]) -> None:
        settings: Settings = crawler.settings
        self._settings = settings
        self._kinds = settings.getwithbase("DOWNLOAD_HANDLERS")
        self._handlers: dict[str, DownloadHandler] = {}
        self._by_kind: dict[Any, DownloadHandler] = {}
        self._default = _mode(settings)
        self._timeout = settings.getfloat("DOWNLOAD_TIMEOUT", 180.0)
        self._stats = crawler.stats
        self.leaves: Callable[[Request], Callable[[], None] | None] = lambda request: None
        """Asked by the handlers that can tell: returns what is to be called when a request leaves."""
        self.browser = Browser(crawler, guards)

    @property
    def bytes(self) -> int:
        """How many bytes of bodies were received."""
        return sum(handler.bytes for handler in self._by_kind.values())

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Make one request. Raises DownloadError, of which DownloadTimeout and BodyTooLarge are kinds."""
        wish = request.meta_get("browser", self._default)
        if wish and request.callback is not NO_CALLBACK and "download_to" not in request.meta:
            return self._rendered(request, wish)
        return self._plain(request)

    def _plain(self, request: Request) -> Awaitable[Response]:
        scheme = request.url.partition(":")[0]
        handler = self._handlers.get(scheme) or self._made(scheme, request.url)
        return handler.fetch(request)

    def _made(self, scheme: str, url: str) -> DownloadHandler:
        path = self._kinds.get(scheme)
        if path is None:
            raise NotSupported(
                f"{url}: nothing is there for {scheme}:, only for {', '.join(self._kinds)} (DOWNLOAD_HANDLERS)"
            )
        kind = loaded(path, "DOWNLOAD_HANDLERS")
        handler = self._by_kind.get(kind)
        if handler is None:
            handler = self._by_kind[kind] = kind(self._settings)
            if hasattr(handler, "leaves"):
                handler.leaves = self.leaves
        self._handlers[scheme] = handler
        return handler

    async def _rendered(self, request: Request, wish: Any) -> Response:
        """Ask for a page, and have it rendered if it is HTML, the server was content, and it needs to be."""
        wishes = Wishes.of(wish, request.url)
        begun = time.monotonic()
        response = await self._plain(request)
        if not isinstance(response, HtmlResponse) or not 200 <= response.status < 300:
            return response
        if wishes.auto and not needs_script(response):
            self._stats.inc_value("browser/not_needed_count")
            return response
        limit = float(request.meta.get("download_timeout") or self._timeout)
        left = max(1.0, limit - (time.monotonic() - begun)) if limit else 0.0
        return await self.browser.render(request, response, wishes, left)

    async def close(self) -> None:
        """Give back connections and processes."""
        await self.browser.close()
        for handler in self._by_kind.values():
            await handler.close()


def _mode(settings: Settings) -> Any:
    """Return what BROWSER says: whether requests are rendered that do not say so themselves."""
    value = settings.get("BROWSER")
    if value == "auto":
        return value
    try:
        return settings.getbool("BROWSER")
    except ConfigError:
        near = did_you_mean(str(value), ["auto", "true", "false"])
        raise ConfigError(f"BROWSER is {value!r}; expected true, false or auto{near}") from None
