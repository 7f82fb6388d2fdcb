"""A site on loopback for the tests: an aiohttp server in a thread, which notes when it was asked for what."""

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

PAGES = 200
BOMB = gzip.compress(b"0" * 50_000_000)
LINKS = 10


def page(number: int, pages: int = PAGES) -> str:
    links = "".join(f'<a href="/page/{(number * 7 + k * 13 + 1) % pages}">{k}</a>' for k in range(LINKS))
    last = f"<a href='/page/{(number + 1) % pages}'>n</a>"
    return f"<html><head><title>Page {number}</title></head><body>{links}{last}</body></html>"


class Site:
    """What a running server knows: `url`, and `hits` as (path, time, headers)."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, float, dict[str, str]]] = []
        self.port = 0
        self.under_way = 0
        self.most_under_way = 0
        self.slowness = 0.0
        self.robots: str | None = None
        self.pages = PAGES

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.hits]

    def count(self, path: str) -> int:
        return self.paths().count(path)

    @web.middleware
    async def note(self, request: web.Request, handler) -> web.StreamResponse:
        self.hits.append((request.path_qs, time.time(), dict(request.headers)))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.slowness:
                await asyncio.sleep(self.slowness)
            return await handler(request)
        finally:
            self.under_way -= 1

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.note])

        def get(path, handler):
            async def handle(request: web.Request) -> web.StreamResponse:
                return await handler(request)

            app.router.add_get(path, handle)

        get("/robots.txt", self.robots_txt)
        get("/page/{n}", lambda r: html(page(int(r.match_info["n"]), self.pages)))
        get("/redirect/{n}", self.redirect)
        get("/loop", lambda _: found("/loop"))
        get("/status/{code}", lambda r: respond(web.Response(status=int(r.match_info["code"]), text="x")))
        get("/flaky/{name}", self.flaky)
        get("/busy", self.busy)
        get("/hang", self.hang)
        get("/reset", self.reset)
        get("/bomb", lambda _: respond(packed(BOMB, "gzip")))
        get("/gzip", lambda _: respond(packed(gzip.compress(page(3).encode()), "gzip", "text/html")))
        get("/badgzip", lambda _: respond(packed(b"no gzip at all", "gzip", "text/html")))
        get("/large", lambda _: respond(web.Response(body=b"x" * 3_000_000)))
        get(
            "/badlinks",
            lambda _: html("<a href='http://[bad'>1</a><a href='javascript:x()'>2</a><a href='/page/1'>3</a>"),
        )
        get("/setcookie", self.set_cookie)
        get("/echo", lambda r: respond(web.json_response({"headers": dict(r.headers), "cookies": dict(r.cookies)})))
        get("/calendar/{day}", lambda r: html(f"<a href='/calendar/{int(r.match_info['day']) + 1}'>next</a>"))
        get("/binary", lambda _: respond(web.Response(body=b"\x89PNG\r\n\x1a\n\0\0", content_type="text/html")))
        get("/refresh", lambda _: html("<meta http-equiv='refresh' content='0; url=/page/2'>"))
        app.router.add_post("/form", self.form)
        return app

    async def robots_txt(self, _: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(text=self.robots) if self.robots is not None else web.Response(status=404)

    async def redirect(self, request: web.Request) -> web.Response:
        left = int(request.match_info["n"])
        return await found(f"/redirect/{left - 1}" if left else "/page/1")

    async def flaky(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self.count(request.path_qs) < 3 else 200, text="at last")

    async def busy(self, request: web.Request) -> web.Response:
        if self.count("/busy") == 1:
            return web.Response(status=429, headers={"Retry-After": "1"})
        return web.Response(text="free")

    async def hang(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        await asyncio.sleep(30)
        return answer

    async def reset(self, request: web.Request) -> web.StreamResponse:
        request.transport.abort()
        return web.Response()

    async def set_cookie(self, _: web.Request) -> web.Response:
        answer = web.Response(text="<a href='/echo'>e</a>", content_type="text/html")
        answer.headers.add("Set-Cookie", "mine=1; Path=/")
        answer.headers.add("Set-Cookie", "theirs=1; Domain=example.com; Path=/")
        return answer

    async def form(self, request: web.Request) -> web.Response:
        return web.json_response({"fields": dict(await request.post())})


async def respond(answer: web.Response) -> web.Response:
    return answer


async def html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


async def found(place: str) -> web.Response:
    return web.Response(status=302, headers={"Location": place})


def packed(body: bytes, encoding: str, kind: str = "text/plain") -> web.Response:
    return web.Response(body=body, headers={"Content-Encoding": encoding}, content_type=kind)


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a loop that has stopped, and close it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


@contextmanager
def running(host: str = "127.0.0.1", more: Callable[[web.Application], None] | None = None) -> Iterator[Site]:
    """Serve until the block ends; `more` adds pages."""
    site = Site()
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def serve() -> web.AppRunner:
        app = site.app()
        if more is not None:
            more(app)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        tcp = web.TCPSite(runner, host, 0)
        await tcp.start()
        site.port = tcp._server.sockets[0].getsockname()[1]
        ready.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        end(loop)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
