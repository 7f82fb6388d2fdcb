"""A browser for pages that need JavaScript: one process, started by the first such page, with a few contexts at once.

Playwright drives it (extra [browser]). Each page gets a context of its own, without a past, which is closed whatever
happens; how many are open is a statistic. Settings have the names of scrapy-playwright where they mean the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from .exceptions import BrowserMissing, DownloadError, DownloadTimeout
from .pipelines import loaded
from .rendering import Rendering, Wishes
from .request import Request
from .response import HtmlResponse, Response

if TYPE_CHECKING:
    from playwright.async_api import Browser as Process
    from playwright.async_api import BrowserContext, Playwright

logger = logging.getLogger("worklist.crawl")
_KINDS = ("chromium", "firefox", "webkit")
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_CLOSING_SECONDS = 5.0
_LEFT_TO_US = {"handle_sigint": False, "handle_sigterm": False, "handle_sighup": False}


class Browser:
    """Renders pages, in PLAYWRIGHT_MAX_CONTEXTS contexts at once."""

    def __init__(self, crawler: Any, guards: list[Any]) -> None:
        settings = crawler.settings
        self._settings = settings
        self._stats = crawler.stats
        self._guards = guards
        self._crawler = crawler
        self._kind = settings.get("PLAYWRIGHT_BROWSER_TYPE", "chromium")
        if self._kind not in _KINDS:
            raise ConfigError(f"PLAYWRIGHT_BROWSER_TYPE is {self._kind!r}; expected {', '.join(_KINDS)}")
        self._verify = settings.getbool("DOWNLOAD_VERIFY_CERTIFICATES", True)
        self._contexts = settings.getdict("PLAYWRIGHT_CONTEXTS")
        self._idle = settings.getfloat("BROWSER_IDLE_TIMEOUT", 5.0)
        self._most = settings.getint("DOWNLOAD_MAXSIZE")
        self._blocked = frozenset(settings.getlist("BROWSER_BLOCKED_RESOURCES"))
        abort = settings.get("PLAYWRIGHT_ABORT_REQUEST")
        self._abort = loaded(abort, "PLAYWRIGHT_ABORT_REQUEST") if abort else None
        self._slots = asyncio.Semaphore(max(1, settings.getint("PLAYWRIGHT_MAX_CONTEXTS", 4)))
        self._starting = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._process: Process | None = None
        self._open = 0
        self._closing: set[asyncio.Future[None]] = set()

    async def render(self, request: Request, document: HtmlResponse, wishes: Wishes, seconds: float) -> Response:
        """Return a page as it is after its scripts have run; `seconds` is the time for it, 0 for any.

        Raises DownloadTimeout, DownloadError, BodyTooLarge, and BrowserMissing where there is no browser.
        """
        rendering = Rendering(self._crawler, request, document, wishes)
        rendering.limit(self._idle, self._most, self._blocked, self._abort, self._guards)
        async with self._slots:
            process = await self._running()
            try:
                async with asyncio.timeout(seconds or None):
                    return await self._in_context(process, rendering, seconds)
            except TimeoutError:
                self._stats.inc_value("browser/exception_count")
                raise DownloadTimeout(
                    f"{request.url} was not rendered within {seconds:.3g} s; it was at {rendering.stage}"
                ) from None
            except Exception as error:
                self._stats.inc_value("browser/exception_count")
                if not type(error).__module__.startswith("playwright."):
                    raise
                raise _translated(request.url, rendering.stage, error) from None

    async def _in_context(self, process: Process, rendering: Rendering, seconds: float) -> Response:
        context = await self._new_context(process, rendering.request, rendering.wishes)
        try:
            if seconds:
                context.set_default_timeout(seconds * 1000)
            return await rendering.run(context)
        finally:
            await asyncio.shield(self._discard(context))

    # -- contexts -----------------------------------------------------------------------------------------------

    async def _new_context(self, process: Process, request: Request, wishes: Wishes) -> BrowserContext:
        """Open a context. Where that is cancelled half-way, it is closed as soon as it is there."""
        making = asyncio.ensure_future(process.new_context(**self._options(request, wishes)))
        try:
            context = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._discard_late)
            raise
        self._count(+1)
        return context

    def _options(self, request: Request, wishes: Wishes) -> dict[str, Any]:
        options: dict[str, Any] = {
            "service_workers": "block",
            "accept_downloads": False,
            "ignore_https_errors": not self._verify,
        }
        if agent := request.headers.get(b"User-Agent"):
            options["user_agent"] = agent.decode("latin-1")
        if language := request.headers.get(b"Accept-Language"):
            options["extra_http_headers"] = {"Accept-Language": language.decode("latin-1")}
        if proxy := request.meta.get("proxy"):
            options["proxy"] = _proxy(str(proxy))
        return {**options, **wishes.context_of(self._contexts)}

    def _discard(self, context: BrowserContext) -> asyncio.Future[None]:
        future = asyncio.ensure_future(self._discarded(context))
        self._closing.add(future)
        future.add_done_callback(self._closing.discard)
        return future

    async def _discarded(self, context: BrowserContext) -> None:
        """Close a context; where the browser does not, end the browser: the next page starts another."""
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await context.close()
        except Exception as error:
            logger.debug("a context of the browser could not be closed, so the browser is ended: %s", error)
            await self._end_process()
        finally:
            self._count(-1)

    def _discard_late(self, making: asyncio.Future[BrowserContext]) -> None:
        if not making.cancelled() and making.exception() is None:
            self._count(+1)
            self._discard(making.result())

    def _count(self, change: int) -> None:
        self._open += change
        self._stats.set_value("browser/context_count/open", self._open)
        self._stats.max_value("browser/context_count/max", self._open)

    # -- the process --------------------------------------------------------------------------------------------

    async def _running(self) -> Process:
        async with self._starting:
            if self._process is None or not self._process.is_connected():
                await self._end_process()
                self._process = await self._started()
                self._stats.inc_value("browser/started_count")
            return self._process

    async def _started(self) -> Process:
        try:
            from playwright.async_api import Error, async_playwright  # noqa: PLC0415 - an extra
        except ImportError:
            raise BrowserMissing(
                "pages are to be rendered, but Playwright is not installed: pip install 'worklist[browser]'"
            ) from None
        if self._playwright is None:
            self._playwright = await async_playwright().start()
        kind = getattr(self._playwright, self._kind)
        try:
            if address := self._settings.get("PLAYWRIGHT_CDP_URL"):
                process: Process = await kind.connect_over_cdp(address)
                return process
            return await self._launched(kind)
        except Error as error:
            raise BrowserMissing(f"the browser {self._kind} cannot be started: {_first_line(error)}") from None

    async def _launched(self, kind: Any) -> Process:
        options = self._settings.getdict("PLAYWRIGHT_LAUNCH_OPTIONS")
        if "executable_path" not in options and not Path(kind.executable_path).exists():
            options["executable_path"] = _found(self._kind)
        if self._kind == "chromium" and hasattr(os, "geteuid") and os.geteuid() == 0:
            options["args"] = [*options.get("args", []), "--no-sandbox"]  # Chromium refuses to start as root without it
        process: Process = await kind.launch(**{**_LEFT_TO_US, **options})
        return process

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await process.close()

    async def close(self) -> None:
        """End the browser."""
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        await self._end_process()
        if self._playwright is not None:
            playwright, self._playwright = self._playwright, None
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await playwright.stop()


@functools.cache
def _found(kind: str) -> str:
    """Return the Chromium of the system. Raises BrowserMissing."""
    names = _NAMES if kind == "chromium" else ()
    for name in names:
        if path := shutil.which(name):
            return path
    packages = "install one (Debian: apt-get install chromium; elsewhere: playwright install chromium)"
    raise BrowserMissing(
        f"pages are to be rendered, but no {kind} was found; "
        + (packages if names else f"install one: playwright install {kind}")
        + ", or say where it is: PLAYWRIGHT_LAUNCH_OPTIONS={'executable_path': ...}"
    )


def _proxy(url: str) -> dict[str, str]:
    """Return a proxy as Playwright wants it, with its login apart."""
    scheme, _, rest = url.rpartition("://")
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    options = {"server": f"{scheme or 'http'}://{place}"}
    return {**options, "username": user, "password": password} if login else options


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ═║╔╗╚╝")]
    return lines[0] if lines else type(error).__name__


def _translated(url: str, stage: str, error: BaseException) -> DownloadError:
    kind = DownloadTimeout if type(error).__name__ == "TimeoutError" else DownloadError
    return kind(f"{url}: at {stage} the browser said: {_first_line(error)}")
