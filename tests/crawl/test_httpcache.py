"""The HTTP cache before a real server: what is kept, for how long, and what is asked when it is too old."""

import http.server
import threading
import time
import types
import urllib.error
import urllib.request
from email.utils import formatdate

import pytest

from worklist.core.errors import ConfigError
from worklist.crawl.exceptions import DownloadError, IgnoreRequest, NotConfigured
from worklist.crawl.headers import Headers
from worklist.crawl.httpcache import HttpCacheMiddleware
from worklist.crawl.request import Request
from worklist.crawl.response import HtmlResponse, response_for
from worklist.crawl.settings import Settings
from worklist.crawl.signals import SignalManager
from worklist.crawl.stats import StatsCollector


class Server(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that the query of the URL asks for; counts, and knows If-None-Match."""

    count = 0
    etag = '"v1"'
    status = 200

    def do_GET(self):
        type(self).count += 1
        _, _, query = self.path.partition("?")
        if self.status == 200 and self.headers.get("If-None-Match") == self.etag:
            self.send_response(304)
        else:
            self.send_response(self.status)
        for pair in filter(None, urllib.request.unquote(query).split("&")):
            name, _, value = pair.partition(":")
            self.send_header(name, value)
        body = b"" if self.status == 304 else f"<p>{self.count}".encode()
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def site():
    handler = type("Handler", (Server,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", handler=handler)
    server.shutdown()
    server.server_close()


def made(tmp_path, **settings) -> HttpCacheMiddleware:
    values = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path / "cache"), **settings}
    crawler = types.SimpleNamespace(settings=Settings(values), stats=StatsCollector(), signals=SignalManager())
    return HttpCacheMiddleware.from_crawler(crawler)


def get(middleware, url, headers=None, *, down=False):
    """Do what the engine does with a request: through the cache, to the server, and back."""
    request = Request(url, headers=headers)
    found = middleware.process_request(request)
    if found is not None:
        return middleware.process_response(request, found)
    try:
        if down:
            raise DownloadError("the server is down")
        response = download(request)
    except DownloadError as error:
        rescued = middleware.process_exception(request, error)
        if rescued is None:
            raise
        return rescued
    return middleware.process_response(request, response)


def download(request):
    raw = {name.decode(): b",".join(request.headers.getlist(name)).decode() for name in request.headers}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(request.url, headers=raw), timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return response_for(request, request.url, answer.status, Headers(list(answer.headers.items())), answer.read())


RFC = {"HTTPCACHE_POLICY": "scrapy.extensions.httpcache.RFC2616Policy"}


def test_the_dummy_policy_gives_what_there_is(tmp_path, site):
    cache = made(tmp_path)
    first, second = (
        get(cache, f"{site.url}/x?Cache-Control:no-store"),
        get(cache, f"{site.url}/x?Cache-Control:no-store"),
    )
    assert (first.text, second.text, second.flags, type(second)) == ("<p>1", "<p>1", ["cached"], HtmlResponse)
    assert site.handler.count == 1
    cache.spider_closed()
    again = made(tmp_path)  # it outlives the crawl
    assert get(again, f"{site.url}/x?Cache-Control:no-store").text == "<p>1"
    assert again.stats.get_value("httpcache/hit") == 1
    again.spider_closed()


def test_dont_cache_expiration_codes_and_missing(tmp_path, site):
    cache = made(tmp_path, HTTPCACHE_IGNORE_HTTP_CODES=[500], HTTPCACHE_EXPIRATION_SECS=0.05)
    request = Request(f"{site.url}/x", meta={"dont_cache": True})
    assert cache.process_request(request) is None
    assert cache.process_response(request, download(request)).text == "<p>1"
    assert get(cache, f"{site.url}/x").text == "<p>2"
    time.sleep(0.06)
    assert get(cache, f"{site.url}/x").text == "<p>3"
    site.handler.status = 500
    assert [get(cache, f"{site.url}/y").text for _ in range(2)] == ["<p>4", "<p>5"]
    cache.spider_closed()
    offline = made(tmp_path, HTTPCACHE_IGNORE_MISSING=True)
    with pytest.raises(IgnoreRequest, match="not in the cache"):
        get(offline, f"{site.url}/z")
    offline.spider_closed()


@pytest.mark.parametrize(
    ("headers", "asked", "fetches"),
    [
        ("Cache-Control:max-age=100", None, 1),
        ("Cache-Control:no-store", None, 2),
        ("Cache-Control:max-age=100", {"Cache-Control": "no-cache"}, 2),
        ("Cache-Control:max-age=100", {"Cache-Control": "max-age=0"}, 2),
        ("Cache-Control:no-cache, max-age=100", None, 2),
        ("Cache-Control:max-age=0", {"Cache-Control": "max-stale=100"}, 1),
        ("Cache-Control:max-age=0, must-revalidate", {"Cache-Control": "max-stale"}, 2),
        ("Cache-Control:max-age=100&Age:200", None, 2),
        (f"Expires:{formatdate(time.time() + 86_400, usegmt=True)}", None, 1),
        ("Expires:0", None, 2),
        (f"Last-Modified:{formatdate(time.time() - 1e6, usegmt=True)}", None, 1),
        ("", None, 2),
    ],
    ids=[
        "fresh", "no-store", "asked no-cache", "asked max-age", "no-cache", "asked max-stale", "must-revalidate", "old",
        "expires", "expired", "by its age", "nothing",
    ],
)  # fmt: skip
def test_the_rules_of_http(tmp_path, site, headers, asked, fetches):
    cache = made(tmp_path, **RFC)
    get(cache, f"{site.url}/x?{urllib.request.quote(headers)}", asked)
    get(cache, f"{site.url}/x?{urllib.request.quote(headers)}", asked)
    assert site.handler.count == fetches
    cache.spider_closed()


def test_an_etag_is_asked_about(tmp_path, site):
    cache = made(tmp_path, **RFC)
    url = f"{site.url}/x?" + urllib.request.quote('ETag:"v1"&Cache-Control:max-age=0')
    assert [get(cache, url).text for _ in range(3)] == ["<p>1"] * 3
    assert site.handler.count == 3
    assert cache.stats.get_value("httpcache/revalidate") == 2
    site.handler.etag = '"v2"'
    assert get(cache, url).text == "<p>4"
    cache.spider_closed()


def test_a_server_that_fails_or_is_down_is_stood_in_for(tmp_path, site):
    cache = made(tmp_path, **RFC)
    url = f"{site.url}/x?" + urllib.request.quote('ETag:"v1"&Cache-Control:max-age=0')
    get(cache, url)
    site.handler.status = 503
    assert (get(cache, url).text, get(cache, url, down=True).text) == ("<p>1", "<p>1")
    with pytest.raises(DownloadError):
        get(cache, f"{site.url}/other", down=True)
    cache.spider_closed()


def test_it_is_off_by_default_and_mistakes_are_told(tmp_path):
    with pytest.raises(NotConfigured):
        made(tmp_path, HTTPCACHE_ENABLED=False)
    with pytest.raises(ConfigError, match="HTTPCACHE_POLICY names 'no.such'"):
        made(tmp_path, HTTPCACHE_POLICY="no.such")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError, match="HTTPCACHE_DIR"):
        made(tmp_path)
