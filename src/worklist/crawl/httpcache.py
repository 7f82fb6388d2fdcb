"""The HTTP cache: responses kept in one SQLite file, and given again as HTTP has it, or always.

A downloader middleware. HTTPCACHE_POLICY says when a kept response is as good as a new one: `RFC2616Policy` heeds
Cache-Control, Expires, ETag and Last-Modified; `DummyPolicy` takes what there is, for work without a network.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from email.utils import formatdate, mktime_tz, parsedate_tz
from pathlib import Path
from typing import Any, Self

import msgspec

from ..core.errors import ConfigError
from . import signals
from .exceptions import DownloadError, IgnoreRequest, NotConfigured
from .fingerprint import fingerprint
from .headers import Headers
from .pipelines import loaded
from .request import Request
from .response import Response, response_for

_YEAR = 365 * 86400.0


class DummyPolicy:
    """Every response is kept, and is fresh for ever (or for HTTPCACHE_EXPIRATION_SECS)."""

    def __init__(self, settings: Any) -> None:
        self._schemes = settings.getlist("HTTPCACHE_IGNORE_SCHEMES", ["file"])
        self._codes = {int(code) for code in settings.getlist("HTTPCACHE_IGNORE_HTTP_CODES")}

    def should_cache_request(self, request: Request) -> bool:
        """Whether the cache is asked at all."""
        return request.url.partition(":")[0] not in self._schemes

    def should_cache_response(self, response: Response, request: Request) -> bool:
        """Whether a response is kept."""
        return response.status not in self._codes

    def is_cached_response_fresh(self, cached: Response, request: Request) -> bool:
        """Whether a kept response is given without asking the server; else the request may be made conditional."""
        return True

    def is_cached_response_valid(self, cached: Response, response: Response, request: Request) -> bool:
        """Whether the server's answer says that the kept response still holds."""
        return True


class RFC2616Policy(DummyPolicy):
    """Responses are kept and given as HTTP's rules for a private cache have it."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._store_all = settings.getbool("HTTPCACHE_ALWAYS_STORE", False)
        ignored = settings.getlist("HTTPCACHE_IGNORE_RESPONSE_CACHE_CONTROLS")
        self._ignored = {str(name).lower() for name in ignored}

    def should_cache_request(self, request: Request) -> bool:
        """Whether the cache is asked: GET and HEAD without no-store."""
        fit = request.method in {"GET", "HEAD"} and "no-store" not in _directives(request.headers)
        return fit and super().should_cache_request(request)

    def should_cache_response(self, response: Response, request: Request) -> bool:
        """Whether a response is kept: neither no-store nor 304, and with something to judge its age by."""
        control = self._control(response)
        if "no-store" in control or response.status == 304 or not super().should_cache_response(response, request):
            return False
        if self._store_all or "max-age" in control or b"Expires" in response.headers:
            return True
        if response.status in {300, 301, 308}:
            return True
        return response.status in {200, 203, 401} and (
            b"Last-Modified" in response.headers or b"Etag" in response.headers
        )

    def is_cached_response_fresh(self, cached: Response, request: Request) -> bool:
        """Whether a kept response is young enough; if not, the server is asked whether it changed."""
        asked, control = _directives(request.headers), self._control(cached)
        if "no-cache" in control or "no-cache" in asked:
            self._make_conditional(cached, request)
            return False
        now = time.time()
        lifetime, age = self._lifetime(cached, control, now), self._age(cached, now)
        if (most := _seconds(asked, "max-age")) is not None:
            lifetime = min(lifetime, most)
        if age < lifetime:
            return True
        if "max-stale" in asked and "must-revalidate" not in control:
            stale = asked["max-stale"]
            if stale is None or age < lifetime + (_seconds(asked, "max-stale") or 0.0):
                return True
        self._make_conditional(cached, request)
        return False

    def is_cached_response_valid(self, cached: Response, response: Response, request: Request) -> bool:
        """Whether the kept response is given: not modified, or the server fails and does not forbid it."""
        if response.status >= 500 and "must-revalidate" not in self._control(cached):
            return True
        return response.status == 304

    def _control(self, response: Response) -> dict[str, str | None]:
        directives = _directives(response.headers)
        return {name: value for name, value in directives.items() if name not in self._ignored}

    def _make_conditional(self, cached: Response, request: Request) -> None:
        for of, header in ((b"Last-Modified", b"If-Modified-Since"), (b"Etag", b"If-None-Match")):
            if of in cached.headers:
                request.headers[header] = cached.headers[of]

    def _lifetime(self, response: Response, control: dict[str, str | None], now: float) -> float:
        """How many seconds a response is fresh from its date on."""
        if (seconds := _seconds(control, "max-age")) is not None:
            return seconds
        date = _moment(response, b"Date") or now
        if b"Expires" in response.headers:
            expires = _moment(response, b"Expires")  # an invalid one is a moment that has passed
            return max(0.0, expires - date) if expires else 0.0
        changed = _moment(response, b"Last-Modified")
        if changed and changed <= date:
            return (date - changed) / 10  # what has not changed for long will not change soon
        return _YEAR if response.status in {300, 301, 308} else 0.0

    def _age(self, response: Response, now: float) -> float:
        date = _moment(response, b"Date") or now
        with contextlib.suppress(ValueError):
            return max(now - date, float(response.headers.get(b"Age") or 0))
        return max(0.0, now - date)


def _directives(headers: Headers) -> dict[str, str | None]:
    """Read Cache-Control: the names of its directives with their values."""
    found: dict[str, str | None] = {}
    for part in b",".join(headers.getlist(b"Cache-Control")).decode("latin-1").split(","):
        name, is_set, value = part.strip().partition("=")
        if name:
            found[name.lower()] = value.strip('" ') if is_set else None
    return found


def _seconds(directives: dict[str, str | None], name: str) -> float | None:
    try:
        return max(0.0, float(directives[name] or ""))
    except (KeyError, ValueError):
        return None


def _moment(response: Response, header: bytes) -> float | None:
    parsed = parsedate_tz((response.headers.get(header) or b"").decode("latin-1"))
    try:
        return float(mktime_tz(parsed)) if parsed else None
    except (ValueError, OverflowError):
        return None


class CacheStorage:
    """Responses by the fingerprint of their request, in one SQLite file; several processes may use it."""

    def __init__(self, settings: Any) -> None:
        folder = Path(settings.get("HTTPCACHE_DIR") or "httpcache")
        self._expiration = settings.getfloat("HTTPCACHE_EXPIRATION_SECS", 0)
        self.path = folder if folder.suffix in {".db", ".sqlite"} else folder / "httpcache.db"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=60, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")  # what a power cut takes is fetched again
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, stored REAL, meta BLOB, body BLOB)"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"HTTPCACHE_DIR: {self.path} cannot be opened: {error}") from None

    def retrieve(self, request: Request) -> Response | None:
        """Return the kept response; None where there is none, or an old one."""
        sql = "SELECT stored, meta, body FROM responses WHERE key = ?"
        row = self._db.execute(sql, (fingerprint(request),)).fetchone()
        if row is None or (self._expiration > 0 and time.time() - row[0] > self._expiration):
            return None
        url, status, headers = msgspec.msgpack.decode(row[1])
        raw = Headers(dict(headers))
        return response_for(request, url, status, raw, zlib.decompress(row[2]))

    def store(self, request: Request, response: Response) -> None:
        """Keep a response."""
        pairs = [(bytes(name), response.headers.getlist(name)) for name in response.headers]
        meta = msgspec.msgpack.encode((response.url, response.status, pairs))
        row = (fingerprint(request), time.time(), meta, zlib.compress(response.body, 1))
        self._db.execute("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class HttpCacheMiddleware:
    """Gives kept responses in place of downloads (flag `cached`), and keeps new ones. On by HTTPCACHE_ENABLED."""

    def __init__(self, settings: Any, stats: Any) -> None:
        if not settings.getbool("HTTPCACHE_ENABLED"):
            raise NotConfigured("HTTPCACHE_ENABLED is false")
        self.policy: DummyPolicy = _policy(settings)
        self.storage = CacheStorage(settings)
        self.ignore_missing = settings.getbool("HTTPCACHE_IGNORE_MISSING", False)
        self.stats = stats

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        """Make it for a crawl."""
        middleware = cls(crawler.settings, crawler.stats)
        crawler.signals.connect(middleware.spider_closed, signals.spider_closed)
        return middleware

    def spider_closed(self) -> None:
        """Close the file when the crawl ends."""
        self.storage.close()

    def process_request(self, request: Request, spider: Any = None) -> Response | None:
        """Give the kept response where it is fresh. Raises IgnoreRequest for what is missing, where told to."""
        if request.meta.get("dont_cache") or not self.policy.should_cache_request(request):
            return None
        cached = self.storage.retrieve(request)
        if cached is None:
            self.stats.inc_value("httpcache/miss")
            if self.ignore_missing:
                self.stats.inc_value("httpcache/ignore")
                raise IgnoreRequest(f"{request.url} is not in the cache, and HTTPCACHE_IGNORE_MISSING is set")
            return None
        cached.flags.append("cached")
        if self.policy.is_cached_response_fresh(cached, request):
            self.stats.inc_value("httpcache/hit")
            return cached
        request.meta["cached_response"] = cached
        return None

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Response:
        """Keep a response, or give the kept one where the server says that it holds."""
        if request.meta.get("dont_cache") or "cached" in response.flags:
            return response
        cached: Response | None = request.meta.pop("cached_response", None)
        if cached is None or not self.policy.is_cached_response_valid(cached, response, request):
            self._keep(request, response)
            return response
        self.stats.inc_value("httpcache/revalidate")
        if response.status == 304:
            for name in (b"Date", b"Expires", b"Cache-Control", b"Etag", b"Last-Modified"):
                if name in response.headers:
                    cached.headers[name] = response.headers.getlist(name)
            self._keep(request, cached)
        return cached

    def process_exception(self, request: Request, exception: Exception, spider: Any = None) -> Response | None:
        """Give the kept response where the server cannot be reached."""
        cached: Response | None = request.meta.pop("cached_response", None)
        if cached is not None and isinstance(exception, DownloadError | OSError):
            self.stats.inc_value("httpcache/errorrecovery")
            return cached
        return None

    def _keep(self, request: Request, response: Response) -> None:
        if not self.policy.should_cache_request(request):
            return
        if self.policy.should_cache_response(response, request):
            if b"Date" not in response.headers:
                response.headers[b"Date"] = formatdate(usegmt=True).encode()
            self.storage.store(request, response)
            self.stats.inc_value("httpcache/store")
        else:
            self.stats.inc_value("httpcache/uncacheable")


def _policy(settings: Any) -> Any:
    name = settings.get("HTTPCACHE_POLICY") or DummyPolicy
    if isinstance(name, str):  # of whatever package: Scrapy's means ours
        name = {"DummyPolicy": DummyPolicy, "RFC2616Policy": RFC2616Policy}.get(name.rpartition(".")[2], name)
    return loaded(name, "HTTPCACHE_POLICY")(settings)
