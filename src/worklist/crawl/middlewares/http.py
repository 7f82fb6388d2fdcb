"""Small downloader middlewares: headers by default, the user agent, logins, proxies."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..exceptions import NotConfigured
from ..frontier import host_of


class DefaultHeadersMiddleware:
    """Sets the headers of DEFAULT_REQUEST_HEADERS where a request has none of the name."""

    def __init__(self, headers: dict[str, Any]) -> None:
        self._headers = [(name, value) for name, value in headers.items() if value is not None]

    @classmethod
    def from_crawler(cls, crawler: Any) -> DefaultHeadersMiddleware:
        """Make it."""
        return cls(crawler.settings.getdict("DEFAULT_REQUEST_HEADERS"))

    def process_request(self, request: Any, spider: Any) -> None:
        """Set them."""
        for name, value in self._headers:
            request.headers.setdefault(name, value)


class UserAgentMiddleware:
    """Sets the header User-Agent: the spider's `user_agent`, else USER_AGENT."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    @classmethod
    def from_crawler(cls, crawler: Any) -> UserAgentMiddleware:
        """Make it."""
        return cls(getattr(crawler.spider, "user_agent", None) or crawler.settings.get("USER_AGENT"))

    def process_request(self, request: Any, spider: Any) -> None:
        """Set it."""
        if self._agent:
            request.headers.setdefault(b"User-Agent", self._agent)


class HttpAuthMiddleware:
    """Logs in with the spider's `http_user` and `http_pass`, at `http_auth_domain` alone."""

    def __init__(self, spider: Any) -> None:
        user, password = getattr(spider, "http_user", ""), getattr(spider, "http_pass", "")
        if not user and not password:
            raise NotConfigured("the spider has no http_user")
        self._domain = getattr(spider, "http_auth_domain", None)
        self._value = b"Basic " + base64.b64encode(f"{user}:{password}".encode())

    @classmethod
    def from_crawler(cls, crawler: Any) -> HttpAuthMiddleware:
        """Make it."""
        return cls(crawler.spider)

    def process_request(self, request: Any, spider: Any) -> None:
        """Set the header Authorization."""
        host = host_of(request.url)
        if self._domain is None or host == self._domain or host.endswith(f".{self._domain}"):
            request.headers.setdefault(b"Authorization", self._value)


class HttpProxyMiddleware:
    """Uses the proxies of the environment (http_proxy, no_proxy), and logins in the URL of a proxy."""

    def __init__(self) -> None:
        self._proxies = {scheme: url for scheme, url in getproxies().items() if scheme in {"http", "https"}}

    @classmethod
    def from_crawler(cls, crawler: Any) -> HttpProxyMiddleware:
        """Make it."""
        if not crawler.settings.getbool("HTTPPROXY_ENABLED"):
            raise NotConfigured("HTTPPROXY_ENABLED is false")
        return cls()

    def process_request(self, request: Any, spider: Any) -> None:
        """Set meta["proxy"] where the environment names one."""
        if not self._proxies or "proxy" in request.meta:
            return
        parts = urlsplit(request.url)
        proxy = self._proxies.get(parts.scheme)
        if proxy and not proxy_bypass(parts.hostname or ""):
            request.meta["proxy"] = unquote(proxy)
