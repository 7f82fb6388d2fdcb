"""The HTTP client: one request, one response. aiohttp carries it (docs/decisions/0016).

It knows neither queue nor spider. Limits are kept while the body arrives, so that nothing large is held in memory;
`meta["download_to"]` names a file for the body to go to instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import yarl

from .bodies import check_announced, gathered, headers_of, timed, unpacked, written
from .exceptions import BodyTooLarge, NotSupported
from .fingerprint import is_canonical
from .headers import Headers
from .request import Request
from .response import Response, response_for
from .settings import Settings

_PIECE = 1 << 16


class Downloader:
    """Makes requests, with one pool of connections."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.getfloat("DOWNLOAD_TIMEOUT", 180.0)
        self._most = settings.getint("DOWNLOAD_MAXSIZE")
        self._unpack = settings.getbool("COMPRESSION_ENABLED", True)
        self._verify = settings.getbool("DOWNLOAD_VERIFY_CERTIFICATES", True)
        self._dns_cache = settings.getbool("DNSCACHE_ENABLED", True)
        self._connect = settings.getfloat("DNS_TIMEOUT", 60.0)
        self._per_host = settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN", 8)
        self._session: aiohttp.ClientSession | None = None
        self._telling: aiohttp.ClientSession | None = None
        self.leaves: Callable[[Request], Callable[[], None] | None] = lambda request: None
        """Returns what is to be called when a request leaves, None for most."""
        self.bytes = 0

    def _open(self, told: Callable[[], None] | None) -> aiohttp.ClientSession:
        """Return the session; there is one more, of the same connections, for requests that tell when they leave."""
        if self._session is None:
            verify: ssl.SSLContext | bool = True if self._verify else False  # noqa: SIM210
            connector = aiohttp.TCPConnector(
                limit=0, use_dns_cache=self._dns_cache, ttl_dns_cache=300, ssl=verify, enable_cleanup_closed=False
            )
            self._session = _session(connector)
        if told is None:
            return self._session
        if self._telling is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_tell)
            self._telling = _session(self._session.connector, connector_owner=False, trace_configs=[trace])
        return self._telling

    async def fetch(self, request: Request) -> Response:
        """Make one request. Raises DownloadError, of which DownloadTimeout and BodyTooLarge are kinds."""
        if not request.url.startswith(("http://", "https://")):
            raise NotSupported(f"{request.url} is no URL of http or https")
        errors = (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError)
        return await timed(request, self._exchange(request, request.meta), self._timeout, errors)

    async def _exchange(self, request: Request, meta: dict[str, Any]) -> Response:
        headers = headers_of(request, self._unpack)
        url = request.url.partition("#")[0]
        told = self.leaves(request)
        async with self._open(told).request(
            request.method,
            yarl.URL(url, encoded=True) if is_canonical(url) else yarl.URL(url, encoded="%" in url),
            headers=headers,
            data=request.body or None,
            allow_redirects=False,
            proxy=meta.get("proxy"),
            trace_request_ctx=told,
        ) as answer:
            known = Headers.from_raw(answer.raw_headers)
            most = int(meta.get("download_maxsize", self._most))
            said = answer.content_length
            try:
                check_announced(said, most, request.url)
                body = await self._received(answer, said, most, meta, request.url)
            except BodyTooLarge:
                answer.close()  # what is still to come is not waited for
                raise
            return self._response(request, answer, known, body, most)

    async def _received(
        self, answer: aiohttp.ClientResponse, said: int | None, most: int, meta: dict[str, Any], url: str
    ) -> bytes:
        """Return the body; nothing where it went to a file."""
        if path := meta.get("download_to"):
            self.bytes += await written(answer.content.iter_any(), Path(path), most, url)
            return b""
        if said is not None and said <= _PIECE * 16:
            body = await answer.content.read(-1)
        else:
            body = await gathered(answer.content.iter_any(), most, url)
        self.bytes += len(body)
        return body

    def _response(
        self, request: Request, answer: aiohttp.ClientResponse, headers: Headers, body: bytes, most: int
    ) -> Response:
        if self._unpack:
            body = unpacked(headers, body, most, request.url)
        version = answer.version
        protocol = f"HTTP/{version.major}.{version.minor}" if version is not None else None
        return response_for(request, request.url.partition("#")[0], answer.status, headers, body, protocol=protocol)

    async def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            sessions, self._session, self._telling = (self._telling, self._session), None, None
            for session in filter(None, sessions):
                with contextlib.suppress(Exception):
                    await session.close()
            await asyncio.sleep(0)


def _session(connector: aiohttp.BaseConnector | None, **more: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_field_size=1 << 16,
        max_line_size=1 << 16,
        **more,
    )


async def _tell(session: aiohttp.ClientSession, context: Any, parameters: Any) -> None:
    context.trace_request_ctx()
