"""A handler that speaks HTTP/2 where the server does, and HTTP/1.1 elsewhere. httpx2 carries it (extra [http2]).

    DOWNLOAD_HANDLERS = {"https": "worklist.crawl.http2.Http2Downloader"}

One connection to a host carries all requests to it. Limits are kept as by the usual downloader.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ConfigError
from .bodies import check_announced, gathered, headers_of, timed, unpacked, written
from .headers import Headers
from .request import Request
from .response import Response, response_for
from .settings import Settings

if TYPE_CHECKING:
    import httpx2


class Http2Downloader:
    """Makes requests, with one client for each proxy."""

    def __init__(self, settings: Settings) -> None:
        try:
            import h2  # noqa: F401, PLC0415 - an extra
            import httpx2  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"HTTP/2 needs {error.name}, which is missing: pip install 'worklist[http2]'") from None
        self._library = httpx2
        self._timeout = settings.getfloat("DOWNLOAD_TIMEOUT", 180.0)
        self._most = settings.getint("DOWNLOAD_MAXSIZE")
        self._unpack = settings.getbool("COMPRESSION_ENABLED", True)
        self._verify = settings.getbool("DOWNLOAD_VERIFY_CERTIFICATES", True)
        self._clients: dict[str | None, httpx2.AsyncClient] = {}
        self.bytes = 0

    def _client(self, proxy: str | None) -> httpx2.AsyncClient:
        client = self._clients.get(proxy)
        if client is None:
            client = self._clients[proxy] = self._library.AsyncClient(
                http2=True,
                verify=ssl.create_default_context() if self._verify else False,
                proxy=proxy,
                timeout=None,
                limits=self._library.Limits(max_connections=None, max_keepalive_connections=None),
                trust_env=False,
            )
        return client

    async def fetch(self, request: Request) -> Response:
        """Make one request. Raises DownloadError, of which DownloadTimeout and BodyTooLarge are kinds."""
        errors = (self._library.HTTPError, self._library.InvalidURL, OSError, ValueError)
        return await timed(request, self._exchange(request), self._timeout, errors)

    async def _exchange(self, request: Request) -> Response:
        headers = headers_of(request, self._unpack)
        asked = self._library.Request(
            request.method, request.url.partition("#")[0], headers=headers, content=request.body or None
        )
        answer = await self._client(request.meta.get("proxy")).send(asked, stream=True, follow_redirects=False)
        try:
            return await self._answer(request, answer)
        finally:
            await answer.aclose()

    async def _answer(self, request: Request, answer: httpx2.Response) -> Response:
        known = Headers.from_raw(answer.headers.raw)
        most = int(request.meta.get("download_maxsize", self._most))
        said = known.get(b"Content-Length")
        check_announced(int(said) if said and said.isdigit() else None, most, request.url)
        if path := request.meta.get("download_to"):
            self.bytes += await written(answer.aiter_raw(), Path(path), most, request.url)
            body = b""
        else:
            body = await gathered(answer.aiter_raw(), most, request.url)
            self.bytes += len(body)
            body = unpacked(known, body, most, request.url) if self._unpack else body
        url = request.url.partition("#")[0]
        return response_for(request, url, answer.status_code, known, body, protocol=answer.http_version)

    async def close(self) -> None:
        """Give back the connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            with contextlib.suppress(Exception):
                await client.aclose()
