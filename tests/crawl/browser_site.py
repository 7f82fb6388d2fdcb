"""Pages that need a browser, for the tests of it: routes added to a Site's server."""

import asyncio

from aiohttp import web

from .site import html

EMPTY = "<html><head><title>App</title></head><body><div id='root'></div>{}</body></html>"
LIST = """<script>
fetch('/api/quotes').then(r => r.json()).then(quotes => {
  document.getElementById('root').innerHTML =
    quotes.map(q => '<p class=quote>' + q + '</p>').join('') + '<a href="/page/1">next</a>' +
    '<button onclick="this.outerHTML=`<i id=more>more</i>`">more</button>';
});
</script>"""
COOKIES = "<script>document.getElementById('root').textContent = document.cookie; document.cookie = 'fresh=2'</script>"
MINE = "<script>fetch('/private/x').catch(e => 0); fetch('/api/quotes')</script>"
GROWS = "<script>document.body.hidden = true; document.body.innerHTML = 'x'.repeat(2e6)</script>"


def add_pages(app: web.Application) -> None:
    def get(path, make):
        async def handle(request: web.Request) -> web.StreamResponse:
            return await make(request)

        app.router.add_get(path, handle)

    get("/app", lambda _: html(EMPTY.format(LIST)))
    get("/api/quotes", lambda _: _json(["To be", "or not"]))
    get("/cookies", lambda _: html(EMPTY.format(COOKIES)))
    get("/busyscript", lambda _: html(EMPTY.format("<script>while (true) {}</script>")))
    get("/never", lambda _: html(EMPTY.format("<script>fetch('/hang')</script>")))
    get("/grows", lambda _: html(EMPTY.format(GROWS)))
    get("/away", lambda _: html(EMPTY.format("<script>location = 'http://127.0.0.3:9/'</script>")))
    get("/onward", lambda _: html(EMPTY.format("<script>location = '/page/3'</script>")))
    get("/nosy", lambda _: html(EMPTY.format(MINE)))
    get("/private/{x}", lambda _: _json("secret"))


async def _json(value) -> web.Response:
    await asyncio.sleep(0.05)
    return web.json_response(value)
