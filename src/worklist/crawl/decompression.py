"""Unpacking of bodies, with a limit: a few kilobytes of gzip may be gigabytes of zeros."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from .exceptions import BodyTooLarge, DownloadError

try:
    import brotli
except ImportError:  # pragma: no cover - the extra [crawl] brings it
    brotli = None
try:
    import zstandard
except ImportError:  # pragma: no cover
    zstandard = None  # type: ignore[assignment]

ACCEPTED = ", ".join(["gzip", "deflate", *["br"] * (brotli is not None), *["zstd"] * (zstandard is not None)])
_PIECE = 1 << 16


def unpack(body: bytes, encoding: str, most: int) -> bytes:
    """Return a body as it was before it was packed; `encoding` as in Content-Encoding, several joined by commas.

    Raises BodyTooLarge for more than `most` bytes, 0 for any number, and DownloadError for what is damaged.
    An encoding that nobody knows is left as it is.
    """
    for one in reversed([each.strip().lower() for each in encoding.split(",")]):
        try:
            if one in {"gzip", "x-gzip"}:
                body = _inflate(body, 31, most)
            elif one == "deflate":
                body = _inflate(body, 15 if body[:1] == b"\x78" else -15, most)
            elif one == "br" and brotli is not None:
                body = _brotli(body, most)
            elif one == "zstd" and zstandard is not None:
                body = _zstd(body, most)
        except BodyTooLarge:
            raise
        except Exception as error:
            raise DownloadError(f"the body is said to be {one}, but cannot be unpacked: {error}") from None
    return body


def _inflate(body: bytes, window: int, most: int) -> bytes:
    if not body:
        return body
    machine = zlib.decompressobj(window)
    data = machine.decompress(body, most + 1 if most else 0)
    _check(len(data), most)
    return data


def _brotli(body: bytes, most: int) -> bytes:
    """Take the output in pieces: four hundred bytes of it may be a gigabyte."""
    machine = brotli.Decompressor()

    def pieces() -> Iterator[bytes]:
        piece = machine.process(body, output_buffer_limit=_PIECE)
        while piece:
            yield piece
            piece = b"" if machine.is_finished() else machine.process(b"", output_buffer_limit=_PIECE)

    return _pieces(pieces(), most)


def _zstd(body: bytes, most: int) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(body) as reader:
        return _pieces(iter(lambda: reader.read(_PIECE), b""), most)


def _pieces(pieces: Any, most: int) -> bytes:
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        _check(size, most)
    return b"".join(found)


def _check(size: int, most: int) -> None:
    if most and size > most:
        raise BodyTooLarge(f"the body has more than {most:,} bytes when it is unpacked (DOWNLOAD_MAXSIZE)")
