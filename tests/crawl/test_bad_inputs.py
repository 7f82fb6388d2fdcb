"""Everything bad that a server, a page, a spider or a disk can do: the crawl goes on, and each is counted and shown."""

import json
import logging
import resource
import subprocess
import sys
import time

import pytest

from worklist.crawl import Request

from .hostile import BOMBS, PAGES, hostile
from .test_crawl import crawler, follow

ONSITE = {"allowed_domains": ["127.0.0.1"]}
LIMITS = {"DOWNLOAD_TIMEOUT": 2, "DOWNLOAD_MAXSIZE": 2_000_000, "RETRY_TIMES": 1, "REDIRECT_MAX_TIMES": 4,
          "CONCURRENT_REQUESTS": 16}  # fmt: skip
FAILS = {
    "BodyTooLarge": ["huge", "endless", *[f"bomb/{coding}" for coding in BOMBS]],
    "DownloadTimeout": ["hang", "slow", "silent"],
    "DownloadError": ["half", "twolengths", "longheader", "noheader", "garbage", "statusword", "badchunk", "badgzip"],
    "IgnoreRequest": ["loop", "ping", "refreshloop"],
    "HttpError": ["status999", "later", "nowhere", "toscheme"],
}
WORKS = [
    "latin", "nonsense", "declared", "broken", "deep", "entities", "binary", "png", "empty", "twotypes", "rawheader",
    "nolength", "badcoding", "theircookie",
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with hostile() as it:
        yield it


@pytest.fixture(scope="module")
def asked(server):
    """Crawl all that is bad, at once; give what came of each path, the statistics, and the seconds."""
    paths = [*WORKS, *[path for fails in FAILS.values() for path in fails]]
    begun = time.monotonic()
    done, got = crawler(server, [f"/{path}" for path in paths], ONSITE, LIMITS)
    took = time.monotonic() - begun
    outcomes = {}
    for each in got:
        request = each.request
        first = (request.meta.get("redirect_urls") or [request.url])[0]
        outcomes[first.removeprefix(f"{server.url}/")] = each
    return outcomes, done.stats.get_stats(), took


def test_every_request_has_an_outcome_in_time(asked):
    outcomes, stats, took = asked
    assert sorted(outcomes) == sorted([*WORKS, *[path for fails in FAILS.values() for path in fails]])
    assert stats["finish_reason"] == "finished"
    assert took < 20, "three that hang, twice each for 2 seconds, at once"


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in FAILS.items() for path in paths])
def test_what_fails(server, asked, kind, path):
    failure = asked[0][path]
    assert failure.type.__name__ == kind
    shown = f"{failure.value} {getattr(getattr(failure.value, 'response', None), 'url', '')}"
    assert server.url in shown, "the URL is not shown"
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("path", WORKS)
def test_what_is_made_the_best_of(asked, path):
    response = asked[0][path]
    assert response.status == 200
    if path == "png":
        assert type(response).__name__ == "Response"
    elif path not in ("binary", "deep", "empty", "entities", "theircookie"):
        assert response.css("title::text").get()
    else:
        assert not getattr(response, "text", "") or not response.css("title::text").get()


def test_encodings(asked):
    titles = {path: asked[0][path].css("title::text").get() for path in ("latin", "nonsense", "declared")}
    assert titles["nonsense"] == titles["declared"] == "café"
    assert titles["latin"].startswith("caf")


def test_all_is_counted(asked):
    stats = asked[1]
    failed = sum(map(len, FAILS.values())) - len(FAILS["HttpError"]) - len(FAILS["IgnoreRequest"])
    retried = len(FAILS["DownloadError"]) + len(FAILS["DownloadTimeout"])
    assert stats["downloader/exception_count"] == failed + retried
    assert stats["httperror/response_ignored_count"] == len(FAILS["HttpError"])
    assert stats["redirect/max_reached"] == len(FAILS["IgnoreRequest"])


@pytest.mark.parametrize("path", ["manyheaders"])
def test_what_may_be_either(server, path):
    """A client may refuse it or not, but the crawl goes on."""
    _, got = crawler(server, [f"/{path}", "/fine"], ONSITE, LIMITS)
    assert len(got) == 2


def test_without_an_errback_each_is_logged_with_its_url(server, caplog):
    paths = ["hang", "huge", "garbage", "bomb/br"]
    done, _ = crawler(server, [Request(f"{server.url}/{path}") for path in paths], ONSITE, {**LIMITS, "RETRY_TIMES": 0})
    for path in paths:
        assert sum(f"{server.url}/{path}" in record.message for record in caplog.records) == 1, path
    assert done.stats.get_value("crawl/failed_count") == len(paths)


@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_takes_no_memory(tmp_path, coding):
    (tmp_path / "bomb").write_bytes(BOMBS[coding])
    code = """
import sys, tracemalloc, resource
from pathlib import Path
from worklist.crawl.decompression import unpack
resource.setrlimit(resource.RLIMIT_AS, (400_000_000,) * 2)
try:
    unpack(Path("bomb").read_bytes(), sys.argv[1], 1_000_000)
except Exception as error:
    print(type(error).__name__)
tracemalloc.start()
try:
    unpack(Path("bomb").read_bytes(), sys.argv[1], 1_000_000)
except Exception:
    assert tracemalloc.get_traced_memory()[1] < 4_000_000, tracemalloc.get_traced_memory()
"""
    line = [sys.executable, "-c", code, coding]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("BodyTooLarge\n", "")


def test_a_large_body_is_not_held(server):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    crawler(server, ["/huge", "/endless"], ONSITE, {**LIMITS, "DOWNLOAD_MAXSIZE": 50_000_000, "RETRY_TIMES": 0})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_traps_have_an_end(server):
    server.hits.clear()
    done, _ = crawler(server, ["/calendar/0"], {**ONSITE, "parse": follow}, {"DEPTH_LIMIT": 6})
    assert len([path for path in server.hits if "calendar" in path]) == 13
    assert done.stats.get_value("depth/request_ignored_count") == 2
    server.hits.clear()
    done, _ = crawler(server, ["/session"], {**ONSITE, "parse": follow}, {"HOST_MAX_PAGES": 30})
    assert len([path for path in server.hits if "session" in path]) == 30
    assert done.stats.get_value("hostlimit/request_ignored_count") > 50


def test_links_that_are_none(server, caplog):
    server.hits.clear()
    done, _ = crawler(server, ["/links"], {**ONSITE, "parse": follow}, {**LIMITS, "RETRY_TIMES": 0})
    stats = done.stats.get_stats()
    assert "/fine" in server.hits
    assert not any(path.startswith("/long/") for path in server.hits)
    assert stats["finish_reason"] == "finished"
    assert not stats.get("spider_exceptions/count")
    assert stats["urllength/request_ignored_count"] == 1
    assert "99999" in caplog.text


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(range(256)) * 10, True),
        (b"HTTP/1.1 200 OK\r\n\r\nUser-agent: *\nDisallow: /fi\xff\nDisallow\nCrawl-delay: x\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\xef\xbb\xbfUser-agent: *\nDisallow: /fine\n", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /robots.txt\r\nConnection: close\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nUser-agent: *", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", True),
        (b"garbage", True),
    ],
)  # fmt: skip
def test_robots_txt_that_is_none(server, answer, allowed):
    server.robots = answer
    try:
        _, got = crawler(server, ["/fine"], ONSITE, LIMITS)
    finally:
        server.robots = b""
    assert hasattr(got[0], "value") is not allowed


def test_a_cookie_for_another_domain_is_not_kept(server):
    seen = []

    def parse(self, response):
        yield Request(f"{server.url}/fine", callback=self.second, dont_filter=True)

    def second(self, response):
        seen.append(response.request.headers.get("Cookie"))

    crawler(server, ["/theircookie"], {**ONSITE, "parse": parse, "second": second})
    assert seen == [b"mine=1"]


# -- a disk that is full ------------------------------------------------------------------------------------------

SPIDER = """
import resource, signal, sys
from worklist.crawl import Request, Spider

class Items(Spider):
    name = "items"
    allowed_domains = ["127.0.0.1"]
    custom_settings = {"ROBOTSTXT_OBEY": False, "FEED_PATIENCE": 1, "CONCURRENT_REQUESTS": 2}

    def start_requests(self):
        for n in range(30):
            yield Request(f"{self.base}/fine?{n}")

    def parse(self, response):
        yield {"url": response.url, "text": "x" * 1000}

if getattr(sys.modules["__main__"], "LIMITED", False):
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
"""


def test_a_full_disk_ends_the_crawl_with_a_sentence(server, tmp_path):
    """No file may be larger than 10 kB: what is in the feed is whole, and the crawl ends, with exit code 1."""
    (tmp_path / "spider.py").write_text(SPIDER)
    code = "import sys; LIMITED = True; from worklist.cli import main; main()"
    line = [sys.executable, "-c", code, "crawl", "spider.py", "-o", "items.json", "-a", f"base={server.url}"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "items could not be written to items.json" in done.stderr
    assert done.stderr.count("the crawl ends (FEED_PATIENCE)") == 1
    assert "Traceback" not in done.stderr
    items = json.loads((tmp_path / "items.json").read_text())
    assert 5 < len(items) < 10
    assert all(len(item["text"]) == 1000 for item in items)


def test_the_server_knows_all_that_is_tested():
    known = {*WORKS, *[path for paths in FAILS.values() for path in paths]}
    assert set(PAGES) - known == {"pong", "refreshloop2", "manyheaders"}
    logging.getLogger("asyncio").setLevel(logging.WARNING)
