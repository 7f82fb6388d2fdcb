"""Whole crawls of a real server: what is fetched, how often, how fast, and what becomes of everything bad."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from worklist import Worklist
from worklist.core.job import JobState
from worklist.crawl import (
    CloseSpider,
    CrawlSpider,
    DropItem,
    FormRequest,
    IgnoreRequest,
    LinkExtractor,
    Request,
    Rule,
    Spider,
    run_crawl,
)
from worklist.crawl.presence import present

from .site import running

logging.getLogger("aiohttp.access").disabled = True
QUICK = {"RETRY_DELAY": 0.05, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}


@pytest.fixture
def site():
    with running() as it:
        yield it


def crawler(site, paths, methods=None, settings=None, **options):
    """Crawl these paths with a spider that notes what its callbacks got."""
    got: list = []

    def parse(self, response, **kwargs):
        got.append(response)

    def failed(self, failure):
        got.append(failure)

    def start_requests(self):
        for path in paths:
            yield path if isinstance(path, Request) else Request(site.url + path, errback=self.failed)

    body = {"name": "test", "parse": parse, "failed": failed, "start_requests": start_requests, **(methods or {})}
    spider = type("TestSpider", (Spider,), body)
    done = run_crawl(spider, settings={**QUICK, **(settings or {})}, **options)
    return done, got


def follow(self, response):
    yield {"url": response.url, "title": response.css("title::text").get()}
    yield from response.follow_all(css="a")


def test_every_page_once(site, tmp_path):
    output = tmp_path / "items.jsonl"
    done, _ = crawler(site, ["/page/0"], {"parse": follow}, output=output)
    items = [json.loads(line) for line in output.read_text().splitlines()]
    assert {item["url"] for item in items} == {f"{site.url}/page/{n}" for n in range(site.pages)}
    assert len(items) == site.pages
    assert sorted(set(site.paths())) == sorted(site.paths())
    assert done.stats.get_value("item_scraped_count") == site.pages
    assert done.stats.get_value("finish_reason") == "finished"
    assert site.most_under_way <= 16


def test_kinds_of_callbacks(site):
    seen = []

    async def coroutine(self, response):
        seen.append("coroutine")
        return [Request(site.url + "/page/2", callback=self.generator)]

    async def async_generator(self, response):
        seen.append("async generator")
        yield Request(site.url + "/page/3", callback="plain", cb_kwargs={"tag": "x"})

    def generator(self, response):
        seen.append("generator")
        yield Request(site.url + "/page/4", callback=self.async_generator, meta={"deep": [1, 2]})

    def plain(self, response, tag):
        seen.append(tag)
        assert response.meta["depth"] == 3

    methods = {each.__name__: each for each in (async_generator, generator, plain)}
    done, _ = crawler(site, ["/page/1"], {"parse": coroutine, **methods})
    assert seen == ["coroutine", "generator", "async generator", "x"]
    assert not done.stats.get_value("spider_exceptions/count")


def test_a_closure_is_refused(site, caplog):
    def parse(self, response):
        yield Request(site.url + "/page/2", callback=lambda response: None)

    done, _ = crawler(site, ["/page/1"], {"parse": parse})
    assert done.stats.get_value("spider_exceptions/TypeError") == 1
    assert "make it a method of the spider" in caplog.text


def test_a_callback_that_raises_keeps_what_it_yielded(site, caplog):
    def parse(self, response):
        yield {"n": 1}
        yield Request(site.url + "/page/2", callback=self.fine)
        raise ZeroDivisionError("oh")

    def fine(self, response):
        yield {"n": 2}

    done, _ = crawler(site, ["/page/1"], {"parse": parse, "fine": fine})
    assert done.stats.get_value("item_scraped_count") == 2
    assert done.stats.get_value("spider_exceptions/ZeroDivisionError") == 1
    assert f"{site.url}/page/1 raised ZeroDivisionError" in caplog.text


class Picky:
    def process_item(self, item, spider):
        if item["n"] == 1:
            raise DropItem("not this one")
        if item["n"] == 2:
            raise ValueError("broken")
        return item


def test_pipelines_that_drop_and_raise(site):
    def parse(self, response):
        yield from ({"n": n} for n in range(4))

    done, _ = crawler(site, ["/page/1"], {"parse": parse}, {"ITEM_PIPELINES": {Picky: 1}})
    stats = done.stats.get_stats()
    assert (stats["item_scraped_count"], stats["item_dropped_count"], stats["item_error_count"]) == (2, 1, 1)


# -- the web ------------------------------------------------------------------------------------------------------


def test_redirects(site):
    _, got = crawler(site, ["/redirect/3"])
    assert [response.url for response in got] == [f"{site.url}/page/1"]
    assert got[0].meta["redirect_times"] == 4
    assert got[0].meta["redirect_urls"][0] == f"{site.url}/redirect/3"


def test_a_loop_of_redirects_ends(site):
    _, got = crawler(site, ["/loop"], settings={"REDIRECT_MAX_TIMES": 5})
    assert site.count("/loop") <= 6
    assert [type(failure.value) for failure in got] == [IgnoreRequest]


def test_meta_refresh(site):
    _, got = crawler(site, ["/refresh"])
    assert [response.url for response in got] == [f"{site.url}/page/2"]


def test_retries_with_back_off(site):
    done, got = crawler(site, ["/flaky/a"], settings={"RETRY_DELAY": 0.1})
    assert [response.text for response in got] == ["at last"]
    times = [at for path, at, _ in site.hits if path == "/flaky/a"]
    assert times[1] - times[0] >= 0.1
    assert times[2] - times[1] >= 0.2
    assert done.stats.get_value("retry/count") == 2


def test_retries_end(site):
    _, got = crawler(site, ["/status/500"])
    assert site.count("/status/500") == 3
    assert got[0].check("HttpError")
    assert got[0].value.response.status == 500


def test_retry_after_pauses_the_host_alone(site):
    with running("127.0.0.2") as other:
        urls = [Request(f"http://127.0.0.2:{other.port}/page/{n}", delay=0.3) for n in range(5)]
        _, got = crawler(site, ["/busy", *urls, *[Request(f"{site.url}/page/{n}", delay=0.2) for n in range(3)]])
        assert len(got) == 9
        first = next(at for path, at, _ in site.hits if path == "/busy")
        assert all(at - first >= 0.99 for path, at, _ in site.hits if path.startswith("/page"))
        assert all(at - first < 0.95 for path, at, _ in other.hits if path.startswith("/page"))


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/hang", "DownloadTimeout"),
        ("/reset", "DownloadError"),
        ("/bomb", "BodyTooLarge"),
        ("/large", "BodyTooLarge"),
        ("/badgzip", "DownloadError"),
    ],
)
def test_bad_answers_reach_the_errback(site, path, error):
    settings = {"DOWNLOAD_TIMEOUT": 1, "DOWNLOAD_MAXSIZE": 1_000_000, "RETRY_TIMES": 1}
    _, got = crawler(site, [path, "/page/1"], settings=settings)
    assert {type(each).__name__ for each in got} == {"Failure", "HtmlResponse"}
    assert next(each for each in got if hasattr(each, "value")).check(error)
    if path == "/reset":  # the client takes a dropped connection for one that had grown old, and asks once more at once
        assert site.count(path) == 4
    else:
        assert site.count(path) == (1 if error == "BodyTooLarge" else 2)


def test_no_server_and_no_errback(site, caplog):
    done, _ = crawler(site, [Request("http://127.0.0.1:9/x"), Request("ftp://127.0.0.1/x"), "/page/1"])
    assert done.stats.get_value("crawl/failed_count") == 2
    assert "http://127.0.0.1:9/x" in caplog.text
    assert done.stats.get_value("response_received_count") == 1


def test_compressed_and_binary(site):
    _, got = crawler(site, ["/gzip", "/binary"])
    assert sorted(type(each).__name__ for each in got) == ["HtmlResponse", "Response"]
    assert any("Page 3" in getattr(each, "body", b"").decode("latin-1") for each in got)


def test_bad_links(site):
    crawler(site, ["/badlinks"], {"parse": follow})
    assert site.count("/page/1") == 1


def test_cookies_go_back_to_their_host_alone(site):
    def parse(self, response):
        yield from response.follow_all(css="a", callback=self.echo)

    seen = []

    def echo(self, response):
        seen.append(response.json()["cookies"])

    crawler(site, ["/setcookie"], {"parse": parse, "echo": echo})
    assert seen == [{"mine": "1"}]


def test_headers_and_forms(site):
    requests = [Request(site.url + "/echo", headers={"X-Mine": "1"}, cookies={"a": "b"})]
    _, got = crawler(site, [*requests, FormRequest(site.url + "/form", formdata={"q": "ü", "n": ["1"]})])
    echoed = next(each.json() for each in got if "headers" in each.json())
    assert echoed["headers"]["X-Mine"] == "1"
    assert echoed["headers"]["User-Agent"].startswith("Worklist")
    assert echoed["cookies"] == {"a": "b"}
    assert next(each.json() for each in got if "fields" in each.json())["fields"] == {"q": "ü", "n": "1"}


def test_to_a_file(site, tmp_path):
    target = tmp_path / "files" / "large"
    _, got = crawler(site, [Request(site.url + "/large", meta={"download_to": str(target)})])
    assert target.stat().st_size == 3_000_000
    assert got[0].body == b""
    assert list(target.parent.iterdir()) == [target]


# -- manners ------------------------------------------------------------------------------------------------------


def test_robots_txt_is_fetched_once_and_obeyed(site):
    site.robots = "User-agent: *\nDisallow: /page/3\n"
    _, got = crawler(site, [f"/page/{n}" for n in range(1, 7)])
    assert site.count("/robots.txt") == 1
    assert site.count("/page/3") == 0
    assert sum(1 for each in got if hasattr(each, "value")) == 1


def test_crawl_delay(site):
    site.robots = "User-agent: *\nCrawl-delay: 0.2\n"
    crawler(site, [f"/page/{n}" for n in range(5)])
    assert_polite(site, 0.2)


def assert_polite(site, delay):
    times = sorted(at for path, at, _ in site.hits if path != "/robots.txt")
    assert min(after - before for before, after in pairwise(times)) >= delay - 0.01


def test_a_delay_is_kept_by_each_host(site):
    with running("127.0.0.2") as other:
        begun = time.monotonic()
        paths = [Request(f"{each.url}/page/{n}".replace("127.0.0.1", host)) for each, host in
                 ((site, "127.0.0.1"), (other, "127.0.0.2")) for n in range(8)]  # fmt: skip
        crawler(site, paths, settings={"DOWNLOAD_DELAY": 0.2, "ROBOTSTXT_OBEY": False})
        took = time.monotonic() - begun
        assert_polite(site, 0.2)
        assert_polite(other, 0.2)
        assert took < 2 * 8 * 0.2, "the hosts waited for each other"


def test_limits(site):
    chain = {"parse": follow}
    crawler(site, ["/calendar/0"], chain, {"DEPTH_LIMIT": 5})
    assert site.count("/calendar/5") == 1
    assert site.count("/calendar/6") == 0
    crawler(site, ["/calendar/100"], chain, {"HOST_MAX_PAGES": 4})
    assert site.count("/calendar/103") == 1
    assert site.count("/calendar/104") == 0


def test_offsite(site):
    def parse(self, response):
        yield Request("http://example.com/")
        yield Request(site.url + "/page/2", callback=self.fine)

    def fine(self, response):
        pass

    methods = {"parse": parse, "fine": fine, "allowed_domains": ["127.0.0.1"]}
    done, _ = crawler(site, ["/page/1"], methods)
    assert done.stats.get_value("offsite/filtered") == 1
    assert site.count("/page/2") == 1


@pytest.mark.parametrize("by", ["setting", "exception"])
def test_closing(site, by):
    def parse(self, response):
        yield from response.follow_all(css="a")
        if by == "exception" and response.meta["depth"] == 1:
            raise CloseSpider("enough")

    settings = {"CLOSESPIDER_PAGECOUNT": 5} if by == "setting" else {}
    site.slowness = 0.02
    done, _ = crawler(site, ["/page/0"], {"parse": parse}, {**settings, "CONCURRENT_REQUESTS": 2})
    assert done.stats.get_value("finish_reason") == ("closespider_pagecount" if by == "setting" else "enough")
    assert len(site.hits) < 60


def test_depth_first(site):
    crawler(site, ["/page/0"], {"parse": follow}, {"DEPTH_PRIORITY": -1, "CONCURRENT_REQUESTS": 1, "DEPTH_LIMIT": 4})
    order = [path for path in site.paths() if path.startswith("/page")]
    assert order[1] == "/page/1"
    assert order[2] == "/page/8", "a link of the second page comes before the second link of the first"


# -- going on -----------------------------------------------------------------------------------------------------

SPIDER = """
from worklist.crawl import Spider

class Pages(Spider):
    name = "pages"
    custom_settings = {"CONCURRENT_REQUESTS_PER_DOMAIN": 16}

    def __init__(self, base=None, **kwargs):
        super().__init__(**kwargs)
        self.start_urls = [base + "/page/0"]

    def parse(self, response):
        yield {"url": response.url}
        yield from response.follow_all(css="a")
"""


def start(site, folder: Path, *more: str) -> subprocess.Popen:
    (folder / "spider.py").write_text(SPIDER)
    line = [sys.executable, "-m", "worklist", "crawl", "spider.py", "-o", "items.jsonl", "--job", "pages"]
    options = ["-a", f"base={site.url}", "--loglevel", "warning", *more]
    return subprocess.Popen([*line, *options], cwd=folder, stderr=subprocess.PIPE, env={**os.environ, "COLUMNS": "200"})


def items_in(folder: Path) -> list[str]:
    return [json.loads(line)["url"] for line in (folder / "items.jsonl").read_text().splitlines()]


def test_killed_again_and_again(site, tmp_path):
    """SIGKILL in the middle of the crawl, thrice: each page's item is there once, and few pages are fetched twice."""
    site.slowness = 0.05
    for kill in range(3):
        process = start(site, tmp_path)
        wanted = len(site.hits) + 40
        end = time.monotonic() + 30
        while len(site.hits) < wanted and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert process.poll() is None, f"it ended before kill {kill}"
        process.kill()
        process.communicate()
    process = start(site, tmp_path)
    error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0, error
    assert sorted(items_in(tmp_path)) == sorted(f"{site.url}/page/{n}" for n in range(site.pages))
    pages = [path for path in site.paths() if path.startswith("/page")]
    assert len(pages) - len(set(pages)) <= 3 * 16


def test_interrupted_and_gone_on_with(site, tmp_path):
    site.slowness = 0.05
    process = start(site, tmp_path)
    while len(site.hits) < 40 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130, error
    assert "start it again" in error
    before = len(site.hits)
    process = start(site, tmp_path)
    assert process.communicate(timeout=60)[0] is None
    assert process.returncode == 0
    assert sorted(items_in(tmp_path)) == sorted(f"{site.url}/page/{n}" for n in range(site.pages))
    pages = [path for path in site.paths() if path.startswith("/page")]
    assert len(pages) == len(set(pages)), "pages under way were finished, so none is fetched again"
    assert before > 0
    process = start(site, tmp_path)
    assert "--restart" in process.communicate(timeout=60)[1].decode()
    assert len(items_in(tmp_path)) == site.pages


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.py"], "there is no file nothing.py"),
        (["empty.py"], "holds no spider"),
        (["two.py"], "holds the spiders a, b; name one"),
        (["two.py", "aa"], "did you mean 'a'"),
        (["two.py", "a", "-s", "DOWNLOAD_DELY=1"], "did you mean 'DOWNLOAD_DELAY'"),
        (["two.py", "a", "-a", "x"], "expected a name and a value"),
        (["two.py", "a", "--job", "x", "--url", "memory://"], "leave out the url"),
        (["two.py", "a", "--join"], "expected its --job or --url"),
        (["two.py", "a", "--join", "--job", "new"], "no crawl named 'new' is under way"),
    ],
)
def test_what_the_command_refuses(tmp_path, arguments, says):
    (tmp_path / "empty.py").write_text("x = 1\n")
    two = "from worklist.crawl import Spider\nclass A(Spider):\n    name = 'a'\nclass B(Spider):\n    name = 'b'\n"
    (tmp_path / "two.py").write_text(two)
    line = [sys.executable, "-m", "worklist", "crawl", *arguments]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_killed_crawl_held_is_taken_back_at_once(site, tmp_path):
    site.slowness = 0.05
    process = start(site, tmp_path)
    while len(site.hits) < 40 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    job = f"sqlite:///{tmp_path}/.worklist/pages.db"
    with Worklist(job) as app:
        assert running_in(app) > 0
        with present(tmp_path / ".worklist" / "pages.lock", lambda: app.store.let_lapse("another")):
            assert app.store.lease("me", ["nothing"], 1, 5) == []
            assert running_in(app) > 0, "they are of another queue"
            with present(tmp_path / ".worklist" / "pages.lock", lambda: pytest.fail("one is present")):
                pass
        with present(tmp_path / ".worklist" / "pages.lock", lambda: app.store.let_lapse("crawl-pages")):
            app.store.lease("me", ["nothing"], 1, 5)
            assert running_in(app) == 0


def running_in(app):
    return app.store.counts()["crawl-pages"].get(JobState.RUNNING, 0)


def test_a_crawl_spiders_rules_see_the_start_page_where_it_is_linked(site):
    class Pages(CrawlSpider):
        name = "pages"
        start_urls = (site.url + "/page/0",)
        allowed_domains = ("127.0.0.1",)
        rules = (Rule(LinkExtractor(allow="/page/"), callback="keep", follow=True),)
        kept: ClassVar = []

        def keep(self, response):
            self.kept.append(response.url)

    run_crawl(Pages, settings=QUICK)
    assert sorted(Pages.kept) == sorted(f"{site.url}/page/{n}" for n in range(site.pages))
    assert site.count("/page/0") == 2
    assert len(site.paths()) == len({*site.paths()}) + 1


def test_the_url_of_a_response_is_without_fragment(site):
    _, got = crawler(site, ["/page/1#here"])
    assert [each.url for each in got] == [f"{site.url}/page/1"]
    assert got[0].request.url == f"{site.url}/page/1#here"
