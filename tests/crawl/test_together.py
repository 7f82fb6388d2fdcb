"""Several processes at one crawl, and crawls that code starts: in a program, and inside a task."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.postgres import Database, postgres_server, postgres_url  # noqa: F401 - fixtures
from worklist import Worklist
from worklist.core.errors import ConfigError
from worklist.crawl import Spider, crawl, run_crawl

from .site import running

logging.getLogger("aiohttp.access").disabled = True

SPIDER = """
from worklist.crawl import Request, Spider

class Pages(Spider):
    name = "pages"
    allowed_domains = ["127.0.0.1"]
    custom_settings = {"CONCURRENT_REQUESTS_PER_DOMAIN": 16, "CONCURRENT_REQUESTS": 4, "ROBOTSTXT_OBEY": False}

    def start_requests(self):
        print("start", flush=True)
        yield Request(self.base + "/page/0")

    def parse(self, response):
        yield {"url": response.url}
        yield from response.follow_all(css="a")
"""


@pytest.fixture
def site():
    with running() as it:
        it.slowness = 0.04
        yield it


def start(site, folder: Path, *options: str) -> subprocess.Popen:
    (folder / "spider.py").write_text(SPIDER)
    line = [sys.executable, "-m", "worklist", "crawl", "spider.py", "-a", f"base={site.url}", *options]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_under_way(site, process) -> None:
    end = time.monotonic() + 30
    while len(site.hits) < 5 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def ended(*processes: subprocess.Popen) -> list[str]:
    """Wait until they have ended well; return how many pages each fetched, and what it printed."""
    said = []
    for process in processes:
        out, error = process.communicate(timeout=90)
        assert process.returncode == 0, error
        fetched = [line.split()[1] for line in error.splitlines() if "response_received_count:" in line]
        said.append((int(fetched[0]) if fetched else 0, out.strip()))
    return said


def urls(*files: Path) -> list[str]:
    return sorted(json.loads(line)["url"] for file in files for line in file.read_text().splitlines())


def all_urls(site) -> list[str]:
    return sorted(f"{site.url}/page/{n}" for n in range(site.pages))


def test_two_processes_share_a_file_and_a_feed(site, tmp_path):
    """The same command twice, at once: both run the start, which is put once."""
    options = ["--job", "pages", "-o", "items.jsonl"]
    (left, _), (right, _) = ended(start(site, tmp_path, *options), start(site, tmp_path, *options))
    assert urls(tmp_path / "items.jsonl") == all_urls(site)
    assert sorted(site.paths()) == sorted(set(site.paths())), "a page was fetched twice"
    assert left + right == site.pages
    assert min(left, right) > 0, "one of them did nothing"


def test_joined_on_a_server_with_a_feed_for_each(site, tmp_path, postgres_url):  # noqa: F811
    database = Database(postgres_url)
    try:
        options = ["--url", database.url, "--job", "shop"]
        first = start(site, tmp_path, *options, "-o", "first.jsonl")
        until_under_way(site, first)
        second = start(site, tmp_path, *options, "-o", "second.jsonl", "--join")
        (left, told), (right, silent) = ended(first, second)
        assert urls(tmp_path / "first.jsonl", tmp_path / "second.jsonl") == all_urls(site)
        assert sorted(site.paths()) == sorted(set(site.paths())), "a page was fetched twice"
        assert left + right == site.pages
        assert right > 0
        assert (told, silent) == ("start", "")
        late = start(site, tmp_path, *options, "--join")
        assert "no crawl named 'shop' is under way" in late.communicate(timeout=60)[1]
        assert late.returncode == 1
    finally:
        database.close()


def test_joined_with_a_table_for_all(site, tmp_path, postgres_url):  # noqa: F811
    database = Database(postgres_url)
    try:
        table = f"{database.schema}_items"
        options = ["--url", database.url, "-o", f"{postgres_url}?table={table}"]
        first = start(site, tmp_path, *options)
        until_under_way(site, first)
        ended(first, start(site, tmp_path, *options, "--join"))
        assert sorted(row[0] for row in database.execute(f"SELECT url FROM {table}")) == all_urls(site)
        database.execute(f"DROP TABLE {table}, {table}_pages")
    finally:
        database.close()


def test_one_is_killed_and_the_other_does_the_rest(site, tmp_path):
    options = ["--job", "pages", "-o", "items.jsonl"]
    first = start(site, tmp_path, *options)
    until_under_way(site, first)
    second = start(site, tmp_path, *options, "--join")
    until = time.monotonic() + 30
    while len(site.hits) < 60 and time.monotonic() < until:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    ended(second)
    assert urls(tmp_path / "items.jsonl") == all_urls(site)
    twice = len(site.paths()) - len(set(site.paths()))
    assert twice <= 4, "more were fetched twice than were under way in the one that was killed"


def test_a_crawl_that_has_ended_leaves_its_feed_alone(site, tmp_path):
    site.slowness = 0
    spider = type("Once", (Spider,), {"name": "once", "start_urls": [f"{site.url}/page/1"],
                  "allowed_domains": ["127.0.0.1"], "parse": lambda self, response: {"n": 1}})  # fmt: skip
    for ending in ("jsonl", "parquet"):
        feed = tmp_path / f"items.{ending}"
        options = {"url": f"sqlite:///{tmp_path}/{ending}.db", "settings": {"FEEDS": {str(feed): {"overwrite": True}}}}
        run_crawl(spider, **options)
        before = feed.read_bytes()
        assert before
        again = run_crawl(spider, **options)
        assert again.over
        assert feed.read_bytes() == before


def test_what_join_needs(tmp_path):
    with pytest.raises(ConfigError, match="expected its job or url"):
        run_crawl(Spider, join=True)


# -- from code ----------------------------------------------------------------------------------------------------


class Few(Spider):
    name = "few"
    allowed_domains = ("127.0.0.1",)
    custom_settings = {"DEPTH_LIMIT": 1}  # noqa: RUF012

    def parse(self, response):
        yield {"url": response.url}
        yield from response.follow_all(css="a")


def test_from_a_coroutine(site):
    async def main() -> list[int]:
        both = await asyncio.gather(*[crawl(Few, start_urls=[f"{site.url}/page/{n}"]) for n in (0, 100)])
        return [each.stats.get_value("item_scraped_count") for each in both]

    assert asyncio.run(main()) == [11, 11]


@pytest.mark.parametrize("kind", ["thread", "async"])
@pytest.mark.parametrize("where", ["memory://", "file"])
def test_inside_a_task(site, tmp_path, kind, where):
    url = f"sqlite:///{tmp_path}/jobs.db" if where == "file" else where
    app = Worklist(url)

    if kind == "thread":

        @app.task(retries=0)
        def visit(page: int) -> int:
            done = run_crawl(Few, start_urls=[f"{site.url}/page/{page}"])
            return int(done.stats.get_value("item_scraped_count"))
    else:

        @app.task(retries=0)
        async def visit(page: int) -> int:
            done = await crawl(Few, start_urls=[f"{site.url}/page/{page}"])
            return int(done.stats.get_value("item_scraped_count"))

    with app:
        jobs = visit.enqueue_many([(0,), (100,)])
        app.work(until_empty=True)
        assert [job.result(timeout=1) for job in jobs] == [11, 11]


def test_a_crawl_on_the_file_of_the_task_that_starts_it(site, tmp_path):
    """The crawl's queue and group are its own, beside the app's jobs."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    app = Worklist(url)

    @app.task(retries=0)
    def visit() -> int:
        done = run_crawl(Few, url=url, start_urls=[f"{site.url}/page/0"])
        return int(done.stats.get_value("item_scraped_count"))

    with app:
        job = visit.enqueue()
        app.work(until_empty=True)
        assert job.result(timeout=1) == 11


def test_nothing_hangs_on_asserts(tmp_path, site):
    """With -O, where asserts are no code."""
    (tmp_path / "spider.py").write_text(SPIDER)
    line = [sys.executable, "-m", "worklist", "crawl", "spider.py", "-a", f"base={site.url}", "-o", "out.json"]
    done = subprocess.run(
        [*line, "-s", "DEPTH_LIMIT=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONOPTIMIZE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out.json").read_text())) == 11
