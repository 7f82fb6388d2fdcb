"""One page in a browser: what is wished of it, what its scripts may ask for, and what is there at the end.

It knows Playwright's pages by their methods alone. The document is what the crawler's own client was given; scripts,
styles and data are asked for by the browser, where robots.txt allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..core.errors import did_you_mean
from .exceptions import BodyTooLarge, IgnoreRequest, NotSupported
from .request import Request
from .response import HtmlResponse, Response

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

_ACTIONS = (
    "click", "dblclick", "hover", "tap", "fill", "type", "press", "check", "uncheck", "select_option", "focus",
    "drag_and_drop", "set_viewport_size", "evaluate", "wait_for_selector", "wait_for_function", "wait_for_timeout",
    "wait_for_load_state", "wait_for_url", "screenshot", "pdf", "inner_text", "text_content", "go_back", "reload",
)  # fmt: skip
_KEYS = ("actions", "auto", "context", "screenshot", "wait")
_NOT_PASSED_ON = {b"Content-Encoding", b"Content-Length", b"Content-Type", b"Transfer-Encoding", b"Connection"}
_FEW_CHARACTERS = 200
_APP_ROOTS = ("root", "app", "__next", "__nuxt", "gatsby", "svelte", "main-app")


def PageMethod(method: str, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: N802 - as scrapy-playwright
    """Return one action of a page: a method of Playwright's `Page` and its arguments, as plain data."""
    return {"method": method, "args": list(args), "kwargs": kwargs}


class Wishes(NamedTuple):
    """What a request's meta["browser"] says."""

    auto: bool = False
    """Whether a page is rendered only where it looks empty without JavaScript."""
    wait: str | None = None
    """A selector of what has to be there."""
    actions: tuple[dict[str, Any], ...] = ()
    screenshot: Any = None
    """True; a file's name; or the arguments of Playwright's `screenshot`."""
    context: str | None = None
    """A name in PLAYWRIGHT_CONTEXTS."""

    @classmethod
    def of(cls, wish: Any, url: str) -> Self:
        """Read it. Raises NotSupported that says what is wrong."""
        if wish is True or wish == "auto":
            return cls(auto=wish == "auto")
        if not isinstance(wish, dict):
            raise NotSupported(f'{url}: meta["browser"] is {wish!r}; expected True, False, "auto" or a dict')
        for key in wish:
            if key not in _KEYS:
                hint = did_you_mean(str(key), _KEYS) or f"; known are {', '.join(_KEYS)}"
                raise NotSupported(f'{url}: meta["browser"] has no key {key!r}{hint}')
        actions = tuple(_action(each, url) for each in wish.get("actions") or ())
        return cls(**{**wish, "actions": actions})

    def context_of(self, contexts: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the context that is named, those of `default` where none is."""
        name = self.context or "default"
        if self.context and name not in contexts:
            raise NotSupported(f"there is no context {name!r} in PLAYWRIGHT_CONTEXTS{did_you_mean(name, contexts)}")
        return dict(contexts.get(name, {}))


def _action(given: Any, url: str) -> dict[str, Any]:
    if isinstance(given, str):
        given = [given]
    action = PageMethod(*given) if isinstance(given, list | tuple) and given else given
    if not isinstance(action, dict) or "method" not in action:
        raise NotSupported(f'{url}: an action is {given!r}; expected a list, such as ["click", "#more"]')
    name = action["method"]
    if name not in _ACTIONS:
        hint = did_you_mean(str(name), _ACTIONS) or f"; known are {', '.join(_ACTIONS)}"
        raise NotSupported(f"{url}: there is no action {name!r}{hint}")
    return {**PageMethod(name), **action}


def needs_script(response: HtmlResponse) -> bool:
    """Return whether a page looks empty without JavaScript.

    It does if it has a script and either the place where an app is to appear is empty (an element with an id such as
    `root` or `app`, or one of an unknown kind such as <app-root>), or the text of its body is shorter than 200
    characters and it has no more than three links.
    """
    if b"<script" not in response.body and b"<SCRIPT" not in response.body:
        return False
    for root in response.xpath("//body//*[@id or contains(name(), '-')]"):
        is_root = root.attrib.get("id") in _APP_ROOTS or "-root" in root.root.tag or "-app" in root.root.tag
        if is_root and not root.xpath("normalize-space(.)").get() and not root.xpath(".//img"):
            return True
    hidden = "ancestor::script or ancestor::style or ancestor::noscript or ancestor::template"
    text = " ".join(" ".join(response.xpath(f"//body//text()[not({hidden})]").getall()).split())
    return len(text) < _FEW_CHARACTERS and len(response.xpath("//body//a[@href]")) <= 3


class Rendering:
    """One page, from its document to what it looks like after its scripts have run."""

    def __init__(self, crawler: Any, request: Request, document: HtmlResponse, wishes: Wishes) -> None:
        self._stats = crawler.stats
        self._spider = crawler.spider
        self.request = request
        self._document = document
        self.wishes = wishes
        self.stage = "its document"
        """What it is at, for people."""
        self._served = False
        self._kept = asyncio.Event()
        """Set when the page wanted to lead elsewhere and was not let."""

    def limit(self, idle: float, most: int, blocked: frozenset[str], abort: Any, guards: list[Any]) -> None:
        """Set the seconds to wait for silence, the bytes that a page may have, and what it may not ask for."""
        self._idle = idle
        self._most = most
        self._blocked = blocked
        self._abort = abort
        self._guards = guards

    async def run(self, context: BrowserContext) -> Response:
        """Render; return the response that the callback is to see."""
        begun = time.perf_counter()
        await context.add_cookies(self._cookies())  # type: ignore[arg-type]
        await context.route("**/*", self._route)
        page = await context.new_page()
        await page.goto(self.request.url, wait_until="commit")
        await self._settle(page)
        if self.wishes.wait:
            self.stage = f"the wait for {self.wishes.wait!r}"
            await page.wait_for_selector(self.wishes.wait)
        await self._act(page)
        response = await self._response(page, context)
        self._stats.inc_value("browser/page_count")
        self.request.meta["browser_latency"] = time.perf_counter() - begun
        return response

    async def _settle(self, page: Page) -> None:
        """Wait until the page is loaded, and then until the network is silent, for a while at most: some never are.

        A page that wants to lead elsewhere while it loads, and may not, never tells that it is loaded.
        """
        loaded = asyncio.ensure_future(page.wait_for_load_state("load"))
        kept = asyncio.ensure_future(self._kept.wait())
        try:
            await asyncio.wait({loaded, kept}, return_when=asyncio.FIRST_COMPLETED)
            if loaded.done():
                loaded.result()
        finally:
            loaded.cancel()
            kept.cancel()
            await asyncio.gather(loaded, kept, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._idle):
                await page.wait_for_load_state("networkidle")

    async def _act(self, page: Page) -> None:
        """Do what is wished; the results are in meta["browser_results"], the picture in meta["screenshot"]."""
        results = []
        for action in self.wishes.actions:
            self.stage = f"the action {action['method']!r} with {action['args']!r}"
            results.append(_plain(await getattr(page, action["method"])(*action["args"], **action["kwargs"])))
        if results:
            self.request.meta["browser_results"] = results
        wish = self.wishes.screenshot
        if wish:
            options = wish if isinstance(wish, dict) else {} if wish is True else {"path": str(wish)}
            picture = await page.screenshot(**options)
            self.request.meta["screenshot"] = options.get("path") or picture

    async def _response(self, page: Page, context: BrowserContext) -> Response:
        length = await page.evaluate("document.documentElement ? document.documentElement.outerHTML.length : 0")
        if self._most and length > self._most:
            raise BodyTooLarge(
                f"{self.request.url}: {length:,} characters when rendered, more than DOWNLOAD_MAXSIZE ({self._most:,})"
            )
        url = page.url if page.url.startswith(("http://", "https://")) else self.request.url
        if not self._may_be_at(url):
            raise IgnoreRequest(f"{self.request.url} led to {url}, which is offsite")
        headers = self._document.headers.copy()
        headers[b"Content-Type"] = "text/html; charset=utf-8"
        headers.pop(b"Content-Length")
        for line in _set_cookies(await context.cookies(url), self._cookies()):
            headers.appendlist(b"Set-Cookie", line)
        return HtmlResponse(
            url,
            self._document.status,
            headers,
            (await page.content()).encode("utf-8", "replace"),
            flags=[*self._document.flags, "rendered"],
            request=self.request,
            protocol=self._document.protocol,
            encoding="utf-8",
        )

    # -- what the browser asks for ------------------------------------------------------------------------------

    async def _route(self, route: Route) -> None:
        """Answer a request of the browser: the first with the document, the others as the rules are."""
        with contextlib.suppress(Exception):  # the page may be gone by now
            if not self._served and route.request.is_navigation_request():
                self._served = True
                await route.fulfill(status=200, headers=self._headers(), body=self._document.body)
            elif await self._is_allowed(route.request):
                self._stats.inc_value("browser/request_count")
                await route.continue_()
            else:
                self._stats.inc_value("browser/request_count/aborted")
                await route.abort("aborted")  # so that the page stays as it is
                if route.request.is_navigation_request():
                    self._kept.set()

    def _headers(self) -> dict[str, str]:
        """Return the document's headers for the browser; its body is unpacked already."""
        given = {
            name.decode("latin-1"): "\n".join(value.decode("latin-1") for value in values)
            for name, values in self._document.headers.items()
            if name not in _NOT_PASSED_ON
        }
        return {**given, "Content-Type": f"text/html; charset={self._document.encoding}"}

    async def _is_allowed(self, asked: Any) -> bool:
        if not asked.url.startswith(("http://", "https://")):
            return bool(asked.url.startswith(("data:", "blob:")))
        if asked.resource_type in self._blocked:
            return False
        if asked.is_navigation_request() and not self._may_be_at(asked.url):
            return False
        if self._abort is not None:
            verdict = self._abort(asked)
            if await verdict if inspect.isawaitable(verdict) else verdict:
                return False
        return await self._robots_allow(asked.url)

    def _may_be_at(self, url: str) -> bool:
        checks = [each.permits for each in self._guards if hasattr(each, "permits")]
        return all(check(url) for check in checks) or bool(self.request.meta.get("allow_offsite"))

    async def _robots_allow(self, url: str) -> bool:
        checks = [each.allows for each in self._guards if hasattr(each, "allows")]
        if not checks or self.request.meta.get("dont_obey_robotstxt"):
            return True
        meta = {"proxy": self.request.meta["proxy"]} if "proxy" in self.request.meta else None
        about = Request(url, meta=meta)
        return all([await check(about) for check in checks])

    def _cookies(self) -> list[dict[str, str]]:
        """Return the cookies that the request was sent with, for the browser."""
        sent = self.request.headers.get(b"Cookie") or b""
        try:
            known = SimpleCookie(sent.decode("utf-8", "replace"))
        except CookieError:
            return []
        return [{"name": name, "value": one.value, "url": self.request.url} for name, one in known.items()]


def _set_cookies(there: Iterable[Any], sent: list[dict[str, str]]) -> list[str]:
    """Return the cookies that have been set while the page was in the browser, as lines of Set-Cookie."""
    before = {(each["name"], each["value"]) for each in sent}
    lines = []
    for cookie in there:
        if (cookie["name"], cookie["value"]) in before:
            continue
        line = f"{cookie['name']}={cookie['value']}; Path={cookie['path']}"
        if cookie["domain"].startswith("."):
            line += f"; Domain={cookie['domain']}"
        if cookie["expires"] > 0:
            line += f"; Max-Age={int(cookie['expires'] - time.time())}"
        lines.append(line + "; Secure" * bool(cookie["secure"]))
    return lines


def _plain(result: Any) -> Any:
    """Return the result of an action if it is plain data, which alone can be kept."""
    return result if isinstance(result, str | bytes | int | float | bool | list | dict | None) else None
