"""Settings, signals and options under Scrapy's names do what they say; none of them stands in a table alone."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worklist.crawl import Request
from worklist.crawl.exceptions import NotSupported
from worklist.crawl.settings import TABLE

from .site import running
from .test_crawl import crawler, follow

SOURCE = Path(__file__).parents[2] / "src/worklist"
ONSITE = {"allowed_domains": ["127.0.0.1"]}


@pytest.fixture
def site():
    with running() as it:
        yield it


@pytest.mark.parametrize("name", [name for name in TABLE if not name.endswith("_BASE")])
def test_each_setting_is_read_somewhere(name):
    files = [path for path in SOURCE.rglob("*.py") if path.name != "settings.py"]
    composed = re.sub(r"^(CLOSESPIDER|FILES|IMAGES)_", "", name)
    texts = [path.read_text(encoding="utf-8") for path in files]
    assert any(f'"{name}"' in text or (composed != name and f'{composed}"' in text) for text in texts)


def test_large_bodies_are_told_of(site, caplog):
    crawler(site, ["/large", "/page/1"], ONSITE, {"DOWNLOAD_WARNSIZE": 1_000_000})
    told = [record.message for record in caplog.records if "DOWNLOAD_WARNSIZE" in record.message]
    assert len(told) == 1
    assert f"{site.url}/large: a body of 3000000 bytes" in told[0]
    caplog.clear()
    quiet = Request(f"{site.url}/large", meta={"download_warnsize": 0})
    crawler(site, [quiet], ONSITE, {"DOWNLOAD_WARNSIZE": 1_000_000})
    assert "DOWNLOAD_WARNSIZE" not in caplog.text


def test_cookies_and_doubles_are_shown(site, caplog):
    caplog.set_level("INFO", "worklist.crawl")

    def parse(self, response):
        yield Request(f"{site.url}/echo", callback="second")
        yield Request(f"{site.url}/echo", callback="second")

    methods = {**ONSITE, "parse": parse, "second": lambda self, response: None}
    crawler(site, ["/setcookie"], methods, {"COOKIES_DEBUG": True, "DUPEFILTER_DEBUG": True})
    assert f"received from {site.url}/setcookie: Set-Cookie:" in caplog.text
    assert f"sent to {site.url}/echo: Cookie: mine=1" in caplog.text
    assert caplog.text.count(f"dropped, since it was put before: {site.url}/echo") == 1


def test_the_crawl_ends_without_items(site):
    settings = {"CLOSESPIDER_PAGECOUNT_NO_ITEM": 5, "CONCURRENT_REQUESTS": 1}
    plain = {**ONSITE, "parse": lambda self, response: response.follow_all(css="a")}
    done, _ = crawler(site, ["/page/0"], plain, settings)
    assert done.stats.get_value("finish_reason") == "closespider_pagecount_no_item"
    assert len(site.hits) < 30
    done, _ = crawler(site, ["/page/0"], {**ONSITE, "parse": follow}, {**settings, "DEPTH_LIMIT": 1})
    assert done.stats.get_value("finish_reason") == "finished"
    site.slowness = 0.1
    settings = {"CLOSESPIDER_TIMEOUT_NO_ITEM": 0.5, "CONCURRENT_REQUESTS": 1}
    done, _ = crawler(site, ["/page/0"], plain, settings)
    assert done.stats.get_value("finish_reason") == "closespider_timeout_no_item"


class Listening:
    """An extension that notes signals."""

    heard: list

    @classmethod
    def from_crawler(cls, crawler):
        it = cls()
        cls.heard = []
        for name in ("request_scheduled", "request_dropped", "request_reached_downloader", "request_left_downloader"):
            crawler.signals.connect(lambda request, name=name: cls.heard.append((name, request.url)), name)
        return it


def test_signals_of_requests(site):
    def parse(self, response):
        yield Request("http://elsewhere.test/")
        yield Request(f"{site.url}/page/2", callback="second")
        yield Request(f"{site.url}/page/2", callback="second")

    methods = {**ONSITE, "parse": parse, "second": lambda self, response: None}
    settings = {"EXTENSIONS": {Listening: 1}, "ROBOTSTXT_OBEY": False}
    crawler(site, ["/page/1"], methods, settings)
    one, two = f"{site.url}/page/1", f"{site.url}/page/2"
    passed = ["request_scheduled", "request_reached_downloader", "request_left_downloader"]
    assert sorted(Listening.heard) == sorted(
        [(name, url) for name in passed for url in (one, two)]
        + [("request_dropped", two), ("request_dropped", "http://elsewhere.test/")]
    )


def test_what_is_logged_is_counted(site):
    def parse(self, response):
        self.logger.warning("careful")
        raise ValueError("oh")

    done, _ = crawler(site, ["/page/1"], {**ONSITE, "parse": parse})
    assert done.stats.get_value("log_count/WARNING") == 1
    assert done.stats.get_value("log_count/ERROR") == 1


SPIDER = """
from worklist.crawl import Spider

class Few(Spider):
    name = "few"
    allowed_domains = ["127.0.0.1"]
    custom_settings = {"LOG_LEVEL": "ERROR", "DEPTH_LIMIT": 1}

    def parse(self, response):
        self.logger.warning("careful")
        self.logger.error("trouble")
        yield {"url": response.url}
"""


def run(site, folder, *options):
    (folder / "spider.py").write_text(
        SPIDER.replace("def parse", f'start_urls = ["{site.url}/page/1"]\n\n    def parse')
    )
    line = [sys.executable, "-m", "worklist", "crawl", "spider.py", *options]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_log(site, tmp_path):
    done = run(site, tmp_path)
    assert "trouble" in done.stderr
    assert "careful" not in done.stderr
    done = run(site, tmp_path, "--loglevel", "warning", "-s", "LOG_FILE=crawl.log")
    assert "trouble" not in done.stderr
    assert "careful" in (tmp_path / "crawl.log").read_text()
    assert "LOG_LEVEL is 'LOUD'" in run(site, tmp_path, "-s", "LOG_LEVEL=LOUD").stderr


def test_a_feed_that_is_begun_anew(site, tmp_path):
    for option, count in (("-o", 1), ("-o", 2), ("-O", 1), ("-o", 2)):
        done = run(site, tmp_path, option, "items.json")
        assert done.returncode == 0, done.stderr
        assert len(json.loads((tmp_path / "items.json").read_text())) == count


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl a.test/x", ("GET", "http://a.test/x", b"")),
        ("curl 'https://a.test/x?q=1' -H 'X-A: b' --compressed", ("GET", "https://a.test/x?q=1", b"")),
        ("curl https://a.test -X PUT -d a=1 -d b=2", ("PUT", "https://a.test", b"a=1&b=2")),
        ("curl https://a.test --data-urlencode 'q=ü &'", ("POST", "https://a.test", b"q=%C3%BC+%26")),
        ("curl -G https://a.test/?p=1 -d q=2", ("GET", "https://a.test/?p=1&q=2", b"")),
        ("curl -I https://a.test", ("HEAD", "https://a.test", b"")),
        ("curl \\\n  --url https://a.test/y \\\n  -s", ("GET", "https://a.test/y", b"")),
    ],
)
def test_command_lines_of_curl(command, expected):
    request = Request.from_curl(command)
    assert (request.method, request.url, request.body) == expected


def test_headers_of_curl():
    request = Request.from_curl(
        "curl https://a.test -H 'X-A: b' -H 'Cookie: c=1; d=2' -b e=3 -u me:secret -A Agent -d x -x http://p.test:1",
        priority=3,
    )
    assert request.cookies == {"c": "1", "d": "2", "e": "3"}
    assert request.headers["X-A"] == b"b"
    assert request.headers["User-Agent"] == b"Agent"
    assert request.headers["Authorization"] == b"Basic bWU6c2VjcmV0"
    assert request.headers["Content-Type"] == b"application/x-www-form-urlencoded"
    assert (request.meta["proxy"], request.priority) == ("http://p.test:1", 3)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("wget https://a.test", "begins with curl"),
        ("curl", "names no URL"),
        ("curl 'https://a.test", "cannot be read"),
        ("curl https://a.test --upload-file x", "--upload-file"),
    ],
)
def test_what_curl_can_and_this_cannot(command, says):
    with pytest.raises(NotSupported, match=says):
        Request.from_curl(command)
