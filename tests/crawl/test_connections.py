"""How servers are reached: HTTP/2 and other handlers, certificates, proxies; and how AutoThrottle slows down."""

import logging
from itertools import pairwise

import pytest

from worklist.core.errors import ConfigError
from worklist.crawl import FormRequest, Request
from worklist.crawl.response import TextResponse

from .site import running
from .test_crawl import crawler
from .tls import proxy, secure

logging.getLogger("aiohttp.access").disabled = True
ONSITE = {"allowed_domains": ["127.0.0.1"]}
HTTP2 = {"DOWNLOAD_HANDLERS": {"https": "worklist.crawl.http2.Http2Downloader"}}
BOTH = pytest.mark.parametrize("handlers", [HTTP2, {}], ids=["http2", "http1"])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with secure(tmp_path_factory.mktemp("tls")) as it:
        yield it


@pytest.fixture
def url(served, monkeypatch):
    """Return the URL of a server whose authority is known."""
    monkeypatch.setenv("SSL_CERT_FILE", str(served[1]))
    return served[0]


def ask(*requests, settings=None):
    done, got = crawler(None, [each.replace(errback="failed") for each in requests], ONSITE, settings)
    return done.stats.get_stats(), got


def test_http_2(url):
    paths = [Request(f"{url}/{n}", method="GET") for n in range(20)]
    stats, got = ask(*paths, FormRequest(f"{url}/form", formdata={"q": "ü"}), settings=HTTP2)
    assert {each.protocol for each in got} == {"HTTP/2"}
    assert sorted(each.text for each in got) == sorted([f"2 GET /{n} " for n in range(20)] + ["2 POST /form q=%C3%BC"])
    assert got[0].headers.getlist("Set-Cookie") == [b"a=1", b"b=2"]
    assert stats["downloader/response_count"] == 22, "robots.txt is asked for, once, by the same handler"


def test_the_usual_handler_speaks_http_1(served):
    settings = {"DOWNLOAD_VERIFY_CERTIFICATES": False}
    _, got = ask(Request(f"{served[0]}/x"), settings=settings)
    assert [each.text for each in got] == ["1.1 GET /x "]


@BOTH
def test_limits_hold(served, url, handlers, tmp_path):
    limits = {"DOWNLOAD_MAXSIZE": 1_000_000, "DOWNLOAD_TIMEOUT": 3, "RETRY_TIMES": 0,
              "DOWNLOAD_VERIFY_CERTIFICATES": False}  # fmt: skip
    to_file = Request(f"{url}/endless?file", meta={"download_to": str(tmp_path / "file")})
    requests = [Request(f"{url}/{name}") for name in ("bomb", "endless", "hang", "fine")]
    stats, got = ask(*requests, to_file, settings={**handlers, **limits})
    kinds = {each.request.url.rpartition("/")[2]: getattr(each, "type", type(each)).__name__ for each in got}
    assert kinds == {
        "bomb": "BodyTooLarge",
        "endless": "BodyTooLarge",
        "endless?file": "BodyTooLarge",
        "hang": "DownloadTimeout",
        "fine": "TextResponse",
    }
    assert all(each.request.url in str(each.value) for each in got if hasattr(each, "value"))
    assert not list(tmp_path.iterdir())
    assert stats["downloader/exception_count"] == 4


@BOTH
def test_an_unknown_certificate_is_refused_with_a_sentence(served, handlers):
    stats, got = ask(Request(f"{served[0]}/x"), settings={**handlers, "ROBOTSTXT_OBEY": False})
    assert got[0].check("CertificateRefused")
    assert f"{served[0]}/x: the certificate of the server is refused: " in str(got[0].value)
    assert "DOWNLOAD_VERIFY_CERTIFICATES" in str(got[0].value)
    assert stats["downloader/exception_count"] == 1, "it is not tried again"


@BOTH
def test_through_a_proxy(served, handlers):
    """A tunnel for https; for http the whole URL is given to the proxy; the login goes to the proxy alone."""
    with proxy() as (port, seen), running() as site:
        meta = {"proxy": f"http://me:secret@127.0.0.1:{port}"}
        requests = [Request(f"{served[0]}/x", meta=meta), Request(f"{site.url}/echo", meta=meta)]
        settings = {**handlers, "DOWNLOAD_VERIFY_CERTIFICATES": False, "ROBOTSTXT_OBEY": False}
        _, got = ask(*requests, settings=settings)
        assert {type(each).__name__ for each in got} == {"TextResponse", "JsonResponse"}
        assert f"CONNECT {served[0].removeprefix('https://')} HTTP/1.1" in seen
        assert f"GET {site.url}/echo HTTP/1.1" in seen
        assert sum("Basic bWU6c2VjcmV0" in line for line in seen) >= 2
        assert not any("Proxy-Authorization" in headers for _, _, headers in site.hits)


def test_a_proxy_of_the_environment(monkeypatch):
    with proxy() as (port, seen), running() as site, running("127.0.0.2") as other:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "127.0.0.2")
        ask(Request(f"{site.url}/page/1"), Request(f"http://127.0.0.2:{other.port}/page/2", dont_filter=True))
        assert any("/page/1" in line for line in seen)
        assert not any("/page/2" in line for line in seen)
        assert other.count("/page/2") == 1


def test_a_proxy_that_is_not_there():
    with running() as site:
        meta = {"proxy": "http://me:secret@127.0.0.1:9"}
        _, got = ask(Request(f"{site.url}/page/1", meta=meta), settings={"RETRY_TIMES": 0})
        assert got[0].check("DownloadError")
        assert "secret" not in str(got[0].value)
        assert site.hits == []


class Canned:
    """A handler of a user's own."""

    def __init__(self, settings):
        self.bytes = 0

    async def fetch(self, request):
        self.bytes += 1
        return TextResponse(request.url, body=b"canned", request=request)

    async def close(self):
        pass


def test_a_handler_of_ones_own():
    settings = {"DOWNLOAD_HANDLERS": {"canned": Canned, "http": None}, "ROBOTSTXT_OBEY": False}
    _, got = ask(Request("canned://127.0.0.1/x"), Request("http://127.0.0.1/x"), settings=settings)
    canned, refused = sorted(got, key=lambda each: hasattr(each, "value"))
    assert canned.text == "canned"
    assert "nothing is there for http:, only for https, canned (DOWNLOAD_HANDLERS)" in str(refused.value)


def test_what_http_2_needs_is_said(monkeypatch):
    from worklist.crawl.http2 import Http2Downloader

    monkeypatch.setitem(__import__("sys").modules, "httpx2", None)
    with pytest.raises(ConfigError, match=r"pip install 'worklist\[http2\]'"):
        Http2Downloader({})


def test_autothrottle_follows_the_latency():
    """Beginning at AUTOTHROTTLE_START_DELAY: a slow server is asked as often as it can answer, a fast one faster."""
    settings = {"AUTOTHROTTLE_ENABLED": True, "ROBOTSTXT_OBEY": False}
    with running() as site:
        site.slowness = 0.4
        gaps = gaps_of(site, 10, {**settings, "AUTOTHROTTLE_START_DELAY": 0.1})
        assert gaps[0] >= 0.05, "the start delay does not hold"
        assert sum(gaps[-2:]) >= 0.7, "it does not slow down"
        site.slowness = 0.9
        gaps = gaps_of(site, 15, {**settings, "AUTOTHROTTLE_START_DELAY": 0.1, "AUTOTHROTTLE_MAX_DELAY": 0.2})
        assert sum(gaps[-2:]) >= 0.35
        assert sum(gaps) < 4, "the most does not hold"
        site.slowness = 0.0
        gaps = gaps_of(site, 9, {**settings, "AUTOTHROTTLE_START_DELAY": 0.8})
        assert gaps[0] >= 0.7
        assert gaps[-1] < 0.4, "it does not become faster"


def test_autothrottle_is_never_faster_than_robots_txt():
    with running() as site:
        site.robots = "User-agent: *\nCrawl-delay: 0.3\n"
        settings = {"AUTOTHROTTLE_ENABLED": True, "AUTOTHROTTLE_START_DELAY": 0.1}
        gaps = gaps_of(site, 6, settings)
        assert sum(gaps) >= 5 * 0.3 - 0.05
        assert min(gaps) >= 0.15, "a request may arrive late, but is not sent early"


def gaps_of(site, pages, settings) -> list[float]:
    """Return the seconds between the requests of a crawl of so many pages."""
    site.hits.clear()
    ask(*[Request(f"{site.url}/page/{n}") for n in range(pages)], settings=settings)
    times = [at for path, at, _ in site.hits if path != "/robots.txt"]
    return [after - before for before, after in pairwise(times)]
