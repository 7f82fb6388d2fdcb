"""A server of TLS that speaks HTTP/2 and HTTP/1.1, and a proxy, both on loopback, for the tests."""

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypercorn.asyncio
import trustme
from hypercorn.config import Config

from tests.servers.ports import free_port, wait_for

from .site import end


async def answer(scope, receive, send) -> None:
    """Answer with what was asked for, and by which protocol."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = scope["path"]
    headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    text = f"{scope['http_version']} {scope['method']} {path} {body.decode()}".encode()
    if path == "/bomb":
        headers.append((b"content-encoding", b"gzip"))
        text = gzip.compress(b"0" * 50_000_000)
    await send({"type": "http.response.start", "status": 404 if path == "/robots.txt" else 200, "headers": headers})
    if path == "/endless":
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0.001)
        return
    if path == "/hang":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(30)
    await send({"type": "http.response.body", "body": text})


@contextmanager
def in_a_thread(serve: Callable[[asyncio.Event], Awaitable[None]], port: int) -> Iterator[int]:
    """Run a server on an event loop of its own until the block ends."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(stop))
        end(loop)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_for(port)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


@contextmanager
def secure(folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve by TLS; give the URL, and the file of the authority that signed the certificate."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", "localhost")
    made.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(made.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    config = Config()
    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = str(folder / "cert.pem"), str(folder / "key.pem")
    config.graceful_timeout = 0.1
    config.errorlog = None

    async def serve(stop: asyncio.Event) -> None:
        await hypercorn.asyncio.serve(answer, config, shutdown_trigger=stop.wait)

    with in_a_thread(serve, port):
        yield f"https://127.0.0.1:{port}", folder / "authority.pem"


@contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    """Pass requests and tunnels on; give the port, and the first lines and logins that came."""
    port, seen = free_port(), []

    async def serve(stop: asyncio.Event) -> None:
        server = await asyncio.start_server(lambda reader, writer: _pass_on(reader, writer, seen), "127.0.0.1", port)
        await stop.wait()
        server.close()

    with in_a_thread(serve, port):
        yield port, seen


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[str]) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.split("\r\n")
        seen += [line, *[field for field in fields if field.lower().startswith("proxy-authorization")]]
        method, target, _ = line.split()
        place = target if method == "CONNECT" else target.split("/")[2]
        host, _, port = place.partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port or 80))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            kept = [field for field in fields if not field.lower().startswith("proxy-")]
            own = "\r\n".join([line.replace(f"http://{place}", ""), *kept])
            far_writer.write(own.encode("latin-1"))
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    except (OSError, ValueError, asyncio.IncompleteReadError):
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
