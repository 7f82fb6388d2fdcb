"""Cookies: kept for each session of this process, and sent back to whom they belong to alone.

http.cookiejar decides what belongs to whom. `meta["cookiejar"]` names a session; most crawls have one.
"""

from __future__ import annotations

import logging
import urllib.request
from http.client import HTTPMessage
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

from ..exceptions import NotConfigured

logger = logging.getLogger("worklist.crawl")


class CookiesMiddleware:
    """Sends the cookies of a session, and keeps those that a response sets."""

    def __init__(self, *, debug: bool = False) -> None:
        self._debug = debug
        self.jars: dict[Any, CookieJar] = {}
        self._filled: set[Any] = set()

    @classmethod
    def from_crawler(cls, crawler: Any) -> CookiesMiddleware:
        """Make it."""
        if not crawler.settings.getbool("COOKIES_ENABLED"):
            raise NotConfigured("COOKIES_ENABLED is false")
        return cls(debug=crawler.settings.getbool("COOKIES_DEBUG"))

    def _jar(self, request: Any) -> tuple[Any, CookieJar]:
        name = request.meta_get("cookiejar")
        if name not in self.jars:
            self.jars[name] = CookieJar(DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainLiberal))
        return name, self.jars[name]

    def process_request(self, request: Any, spider: Any) -> None:
        """Set the header Cookie."""
        name, jar = self._jar(request)
        if not (request.cookies or name in self._filled) or request.meta_get("dont_merge_cookies"):
            return
        for line in _lines(request.cookies):
            jar.extract_cookies(_Answer([line]), _asked(request))  # type: ignore[arg-type]
            self._filled.add(name)
        asked = _asked(request)
        jar.add_cookie_header(asked)
        sent = asked.get_header("Cookie")
        if sent:
            request.headers[b"Cookie"] = sent.encode("utf-8", "replace")
            if self._debug:
                logger.info("sent to %s: Cookie: %s", request.url, sent)

    def process_response(self, request: Any, response: Any, spider: Any) -> Any:
        """Keep what the response sets; a cookie for another domain is refused."""
        set_cookies = response.headers.getlist(b"Set-Cookie")
        if set_cookies and not request.meta_get("dont_merge_cookies"):
            name, jar = self._jar(request)
            jar.extract_cookies(_Answer([one.decode("utf-8", "replace") for one in set_cookies]), _asked(request))  # type: ignore[arg-type]
            self._filled.add(name)
            if self._debug:
                logger.info("received from %s: Set-Cookie: %s", request.url, set_cookies)
        return response


class _Answer:
    """A response as http.cookiejar sees it."""

    def __init__(self, set_cookies: list[str]) -> None:
        self._message = HTTPMessage()
        for line in set_cookies:
            self._message["Set-Cookie"] = line

    def info(self) -> HTTPMessage:
        return self._message


def _asked(request: Any) -> urllib.request.Request:
    return urllib.request.Request(request.url)  # noqa: S310 - it is never opened


def _lines(cookies: Any) -> list[str]:
    """Return what a user gave for `cookies` as lines of Set-Cookie."""
    given = [{"name": key, "value": value} for key, value in cookies.items()] if isinstance(cookies, dict) else cookies
    lines = []
    for cookie in given:
        line = f"{cookie['name']}={cookie['value']}; Path={cookie.get('path') or '/'}"
        if cookie.get("domain"):
            line += f"; Domain={cookie['domain']}"
        lines.append(line + "; Secure" * bool(cookie.get("secure")))
    return lines
