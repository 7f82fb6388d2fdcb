"""A server on loopback that answers as servers should not. It speaks raw bytes: each path is one way to be bad."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import brotli
import zstandard

from tests.servers.ports import free_port

from .tls import in_a_thread

ZEROS = b"0" * 100_000_000
BOMBS = {
    "gzip": gzip.compress(ZEROS),
    "deflate": zlib.compress(ZEROS),
    "br": brotli.compress(ZEROS, quality=5),
    "zstd": zstandard.compress(ZEROS),
}
LINKS = """
<a href="http://[bad">1</a> <a href="http://">2</a> <a href="http:///x">3</a> <a href="//">4</a>
<a href="http://127.0.0.1:99999/">5</a> <a href="javascript:x()">6</a> <a href="mailto:a@b.test">7</a>
<a href="tel:1">8</a> <a href="data:text/html,x">9</a> <a href="ftp://127.0.0.1/x">10</a>
<a href="http://127.0.0.1:port/">11</a> <a href="http://xn--/">12</a> <a href="http://ex ample.test/">13</a>
<a href="http://&#0;/">14</a> <a href="/a%zz">15</a> <a href="/%">16</a> <a href="{long}">17</a>
<a href="http://user:pass@127.0.0.1:{port}/fine?login">18</a> <a href="/fine?ü=é&#10;x">19</a>
<a href="file:///etc/passwd">20</a> <a href="/fine">21</a> <a>22</a> <a href="">23</a> <a href="#x">24</a>
""".replace("{long}", "/long/" + "x" * 10_000)


class Hostile:
    """A running server: `url`, and `hits`, the paths that were asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.hits: list[str] = []
        self.robots = b""

    async def serve(self, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        await stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[0]
            path = line.split()[1]
            self.hits.append(path)
            async for piece in self._pieces(path):
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort() if "abort" in self.hits[-1:] else writer.close()

    def _pieces(self, path: str) -> AsyncIterator[bytes]:
        name = path.strip("/").partition("/")[0].partition("?")[0]
        special: dict[str, Callable[[str], AsyncIterator[bytes]]] = {
            "huge": _huge, "endless": _endless, "hang": _hang, "slow": _slow, "silent": _silent, "half": _half,
        }  # fmt: skip
        if name in special:
            return special[name](path)
        return _once(self._whole(path, name))

    def _whole(self, path: str, name: str) -> bytes:
        if name == "robots.txt":
            return self.robots or head("404 Not Found")
        if name == "bomb":
            coding = path.rpartition("/")[2]
            return html(BOMBS[coding], f"Content-Encoding: {coding}\r\n")
        if name == "calendar":
            day = int(path.rpartition("/")[2])
            return html(f"<a href='/calendar/{day + 1}'>next</a><a href='/calendar/{day - 1}'>back</a>".encode())
        if name == "session":
            number = len(self.hits)
            return html(b"".join(b"<a href='/session?id=%d-%d'>s</a>" % (number, k) for k in range(5)))
        if name == "links":
            return html(LINKS.replace("{port}", str(self.port)).encode())
        return PAGES.get(name, html(b"<title>fine</title>"))


def head(status: str = "200 OK", more: str = "", length: int = 0) -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n".encode("latin-1")


def html(body: bytes, more: str = "", kind: str = "text/html") -> bytes:
    return head("200 OK", f"Content-Type: {kind}\r\n{more}", len(body)) + body


PAGES = {
    "loop": head("302 Found", "Location: /loop\r\n"),
    "ping": head("301 Moved", "Location: /pong\r\n"),
    "pong": head("301 Moved", "Location: /ping\r\n"),
    "nowhere": head("302 Found", "Location: http://[bad\r\n"),
    "toscheme": head("302 Found", "Location: file:///etc/passwd\r\n"),
    "refreshloop": html(b"<meta http-equiv=refresh content='0; url=/refreshloop2'>"),
    "refreshloop2": html(b"<meta http-equiv=refresh content='0; url=/refreshloop'>"),
    "latin": html("<title>café</title>".encode("latin-1"), kind="text/html; charset=utf-8"),
    "nonsense": html("<title>café</title>".encode(), kind="text/html; charset=x-nonsense"),
    "declared": html("<meta charset=utf-16><title>café</title>".encode()),
    "broken": html(b"<html><title>broken<body><p><a href=/fine?b<b>x</i></a><table><td><div></p>\0<a href='/fine"),
    "deep": html(b"<div>" * 100_000 + b"<a href=/fine>x</a>"),
    "entities": html(b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
                     b"<title>&b;</title>", kind="application/xml"),
    "binary": html(bytes(range(256)) * 100),
    "png": html(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "empty": html(b""),
    "twolengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "twotypes": html(b"<title>two</title>", "Content-Type: application/octet-stream\r\n"),
    "longheader": html(b"x", "X-Long: " + "y" * 200_000 + "\r\n"),
    "manyheaders": html(b"x", "".join(f"X-{n}: {n}\r\n" for n in range(50_000))),
    "rawheader": html(b"<title>raw</title>", "X-Raw: \xff\xfe\r\nX-Empty:\r\n"),
    "noheader": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\nx",
    "garbage": b"\x00\x01\x02 nothing like HTTP\r\n\r\n",
    "status999": head("999 Odd"),
    "statusword": b"HTTP/1.1 OK\r\n\r\n",
    "nolength": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<title>till the end</title>",
    "badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "badgzip": html(b"no gzip", "Content-Encoding: gzip\r\n"),
    "badcoding": html(b"<title>odd coding</title>", "Content-Encoding: rot13\r\n"),
    "theircookie": html(b"x", "Set-Cookie: theirs=1; Domain=example.com\r\nSet-Cookie: \r\nSet-Cookie: =;;=\r\n"
                              "Set-Cookie: mine=1\r\n"),
    "later": head("503 Busy", "Retry-After: soon\r\n"),
}  # fmt: skip


async def _once(answer: bytes) -> AsyncIterator[bytes]:
    yield answer


async def _huge(_: str) -> AsyncIterator[bytes]:
    """Announce 10 GB, and send what is wanted of it."""
    yield head("200 OK", "", 10_000_000_000)
    for _n in range(10_000):
        yield b"x" * 1_000_000


async def _endless(_: str) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _n in range(10_000):
        yield b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"


async def _hang(_: str) -> AsyncIterator[bytes]:
    """Stop in the middle of the body."""
    yield head("200 OK", "", 100) + b"half"
    await asyncio.sleep(60)


async def _slow(_: str) -> AsyncIterator[bytes]:
    """A byte of the head now and then."""
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        yield bytes([byte])
        await asyncio.sleep(0.2)


async def _silent(_: str) -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


async def _half(_: str) -> AsyncIterator[bytes]:
    """End before the body does."""
    yield head("200 OK", "", 100) + b"half"


@contextmanager
def hostile() -> Iterator[Hostile]:
    """Serve until the block ends."""
    server = Hostile(free_port())
    with in_a_thread(server.serve, server.port):
        server.hits.clear()
        yield server
