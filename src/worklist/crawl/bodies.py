"""What all HTTP clients of the crawler have in common: limits of time and size, and errors in plain words."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

from .decompression import ACCEPTED, unpack
from .exceptions import BodyTooLarge, CertificateRefused, DownloadError, DownloadTimeout
from .headers import Headers
from .request import Request
from .response import Response


async def timed(
    request: Request, answer: Awaitable[Response], usual: float, errors: tuple[type[Exception], ...]
) -> Response:
    """Return a client's answer to a request, and note how long it took.

    Raises DownloadTimeout after the request's own limit or `usual` seconds (0: none), DownloadError for `errors`.
    """
    limit = float(request.meta.get("download_timeout") or usual)
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(limit or None):
            response = await answer
    except TimeoutError:
        raise DownloadTimeout(f"{request.url} took longer than {limit:g} s") from None
    except errors as error:
        raise as_download_error(request.url, error) from error
    request.meta["download_latency"] = time.perf_counter() - begun
    return response


def headers_of(request: Request, unpacks: bool) -> list[tuple[str, str]]:
    """Return the headers to send; where bodies are unpacked, they say which packings are understood."""
    headers = request.headers.pairs()
    if unpacks and b"Accept-Encoding" not in request.headers:
        headers.append(("Accept-Encoding", ACCEPTED))
    return headers


def check_size(size: int, most: int, url: str) -> None:
    """Raise BodyTooLarge for more than `most` bytes; 0: any number."""
    if most and size > most:
        raise BodyTooLarge(f"{url}: a body of more than DOWNLOAD_MAXSIZE ({most:,} bytes)")


def check_announced(size: int | None, most: int, url: str) -> None:
    """Raise BodyTooLarge where a server announces more than `most` bytes."""
    if most and size is not None and size > most:
        raise BodyTooLarge(f"{url}: a body of {size:,} bytes, more than DOWNLOAD_MAXSIZE ({most:,})")


async def gathered(pieces: AsyncIterator[bytes], most: int, url: str) -> bytes:
    """Return a body that arrives in pieces. Raises BodyTooLarge as soon as it is."""
    found: list[bytes] = []
    size = 0
    async for piece in pieces:
        found.append(piece)
        size += len(piece)
        check_size(size, most, url)
    return b"".join(found)


async def written(pieces: AsyncIterator[bytes], path: Path, most: int, url: str) -> int:
    """Write a body to a file, which is there when it is complete; return its size."""
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    try:
        with part.open("wb") as file:
            async for piece in pieces:
                file.write(piece)
                size += len(piece)
                check_size(size, most, url)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size


def unpacked(headers: Headers, body: bytes, most: int, url: str) -> bytes:
    """Return a body without its Content-Encoding, and remove that header. Raises BodyTooLarge, DownloadError."""
    packed = headers.get(b"Content-Encoding")
    if packed and body:
        try:
            body = unpack(body, packed.decode("latin-1"), most)
        except DownloadError as error:
            raise type(error)(f"{url}: {error}") from None
        del headers[b"Content-Encoding"]
    return body


def as_download_error(url: str, error: BaseException) -> DownloadError:
    """Return what a client raised as a sentence about the URL."""
    reason = _certificate_error(error)
    if reason is not None:
        return CertificateRefused(
            f"{url}: the certificate of the server is refused: {reason}; "
            "DOWNLOAD_VERIFY_CERTIFICATES=False does without the check"
        )
    text = str(error)
    return DownloadError(f"{url}: {type(error).__name__}: {text}" if text else f"{url}: {type(error).__name__}")


def _certificate_error(error: BaseException | None) -> str | None:
    """Return what is wrong with a certificate, where this is what an error is about."""
    while error is not None:
        message = getattr(error, "verify_message", None)
        if isinstance(error, ssl.SSLCertVerificationError) and message:
            return str(message)
        error = getattr(error, "certificate_error", None) or error.__cause__ or error.__context__
    return None
