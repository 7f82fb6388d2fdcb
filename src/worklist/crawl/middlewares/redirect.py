"""Redirects, by status or by <meta refresh>: the target goes into the queue as a request of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from w3lib.html import get_meta_refresh
from w3lib.url import safe_url_string

from ..exceptions import IgnoreRequest, NotConfigured
from ..response import HtmlResponse

_AGAIN_AS_GET = (301, 302, 303)
_REDIRECTS = (301, 302, 303, 307, 308)


class _Redirects:
    def __init__(self, crawler: Any) -> None:
        self._stats = crawler.stats
        self._most = crawler.settings.getint("REDIRECT_MAX_TIMES")
        self._adjust = crawler.settings.getint("REDIRECT_PRIORITY_ADJUST")

    def _redirected(self, request: Any, url: str, reason: Any, **changes: Any) -> Any:
        """Return the request for the target. Raises IgnoreRequest after too many."""
        meta = dict(request.meta)
        times = meta.get("redirect_times", 0) + 1
        if times > meta.get("redirect_ttl", self._most):
            self._stats.inc_value("redirect/max_reached")
            raise IgnoreRequest(f"{request.url} was redirected more than {self._most} times (REDIRECT_MAX_TIMES)")
        self._stats.inc_value("redirect/count")
        meta["redirect_times"] = times
        meta["redirect_urls"] = [*meta.get("redirect_urls", []), request.url]
        meta["redirect_reasons"] = [*meta.get("redirect_reasons", []), reason]
        if url in meta["redirect_urls"]:
            changes["dont_filter"] = True  # a page that sets a cookie and sends back to itself
        target = request.replace(url=url, meta=meta, priority=request.priority + self._adjust, **changes)
        if _origin(url) != _origin(request.url):
            for name in (b"Cookie", b"Authorization"):
                target.headers.pop(name)
            target.cookies = {}
        return target


def _origin(url: str) -> str:
    return url.partition("?")[0].partition("#")[0].split("/", 3)[2].lower()


class RedirectMiddleware(_Redirects):
    """Follows the statuses 301, 302, 303, 307 and 308."""

    @classmethod
    def from_crawler(cls, crawler: Any) -> RedirectMiddleware:
        """Make it."""
        if not crawler.settings.getbool("REDIRECT_ENABLED"):
            raise NotConfigured("REDIRECT_ENABLED is false")
        return cls(crawler)

    def process_response(self, request: Any, response: Any, spider: Any) -> Any:
        """Return the request for the target of a redirect, any other response as it is."""
        if response.status not in _REDIRECTS or _handled(request, response, spider):
            return response
        location = response.headers.get(b"Location")
        if not location:
            return response
        if request.meta.get("dont_redirect"):
            return response
        url = _target(request.url, location)
        if not url.startswith(("http://", "https://")):
            return response
        if "#" not in url and "#" in request.url:
            url += "#" + request.url.partition("#")[2]
        if response.status in _AGAIN_AS_GET and request.method not in {"GET", "HEAD"}:
            target = self._redirected(request, url, response.status, method="GET", body=b"")
            for name in (b"Content-Type", b"Content-Length"):
                target.headers.pop(name)
            return target
        return self._redirected(request, url, response.status)


def _target(url: str, location: bytes) -> str:
    """Return where a redirect leads; nothing where that is no URL."""
    text = location.decode("utf-8" if _is_utf8(location) else "latin-1")
    try:
        return urljoin(url, safe_url_string(text))
    except ValueError:
        return ""


def _handled(request: Any, response: Any, spider: Any) -> bool:
    status = response.status
    return (
        status in getattr(spider, "handle_httpstatus_list", ())
        or status in request.meta.get("handle_httpstatus_list", ())
        or bool(request.meta.get("handle_httpstatus_all"))
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class MetaRefreshMiddleware(_Redirects):
    """Follows <meta http-equiv="refresh">."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self._delay = crawler.settings.getint("METAREFRESH_MAXDELAY")
        self._ignored = crawler.settings.getlist("METAREFRESH_IGNORE_TAGS")

    @classmethod
    def from_crawler(cls, crawler: Any) -> MetaRefreshMiddleware:
        """Make it."""
        if not crawler.settings.getbool("METAREFRESH_ENABLED") or not crawler.settings.getbool("REDIRECT_ENABLED"):
            raise NotConfigured("METAREFRESH_ENABLED is false")
        return cls(crawler)

    def process_response(self, request: Any, response: Any, spider: Any) -> Any:
        """Return the request for the target of a refresh, any other response as it is."""
        head = response.body[:4096] if isinstance(response, HtmlResponse) else b""
        if (b"efresh" not in head and b"EFRESH" not in head) or request.meta.get("dont_redirect"):
            return response
        interval, url = get_meta_refresh(response.text, response.url, response.encoding, self._ignored)
        soon = interval is not None and interval < self._delay
        if soon and url and url.startswith("http") and url != request.url:
            return self._redirected(request, url, "meta refresh", method="GET", body=b"")
        return response
