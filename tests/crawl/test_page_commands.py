"""shell, fetch, view, parse and check, as real processes against a real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .test_tutorial_spiders import Shop, running

SPIDER = '''
from worklist import crawl as scrapy

class Quotes(scrapy.Spider):
    name = "quotes"

    def parse(self, response):
        """Look at a page.

        @url {url}/page/0
        @returns items 5 5
        @scrapes text author
        """
        for quote in response.css("div.quote"):
            yield {{"text": quote.css("span::text").get()}}
        yield from response.follow_all(css=".next a")
'''


@pytest.fixture(scope="module")
def shop():
    with running(Shop()) as found:
        yield found


@pytest.fixture
def run(shop, tmp_path):
    (tmp_path / "quotes.py").write_text(SPIDER.format(url=shop.url))

    def call(*words: str, code: int = 0, given: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "worklist", *words], cwd=tmp_path, input=given, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def test_fetch(shop, run):
    assert "Quote 0" in run("fetch", shop.url).stdout
    headers = run("fetch", "--headers", f"{shop.url}/none", "-s", "USER_AGENT=me").stdout
    assert "> User-Agent: me" in headers
    assert "< 404" in headers


def test_view(shop, run):
    path = Path(run("view", "--no-browser", shop.url).stdout.strip())
    assert "Quote 0" in path.read_text()
    path.unlink()


def test_parse(shop, run):
    done = run("parse", f"{shop.url}/page/0", "--spider", "quotes.py")
    assert [item["text"] for item in json.loads(done.stdout)] == [f"Quote {n}" for n in range(5)]
    assert f"-> <GET {shop.url}/page/1>" in done.stderr
    done = run("parse", f"{shop.url}/page/0", "--spider", "quotes.py:quotes", "-d", "2", "--nolinks")
    assert len(json.loads(done.stdout)) == 10


def test_check(run):
    done = run("check", "quotes.py", code=1)
    assert "ok   Quotes.parse @returns items 5 5" in done.stdout
    assert "FAIL Quotes.parse @scrapes text author: an item lacks author" in done.stdout
    assert "2 promises, 1 broken" in done.stdout


def test_shell(shop, run):
    code = "response.css('.text::text').get(), sel.xpath('//small/text()').get(), request.url"
    assert run("shell", shop.url, "-c", code).stdout.strip() == f"('Quote 0', 'Austen', '{shop.url}')"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["fetch", "http://127.0.0.1:9/"], 1, "127.0.0.1:9"),
        (["parse", "http://127.0.0.1:9/"], 2, "--spider is missing"),
        (["parse", "http://x/", "--spider", "quotes.py", "-c", "pars"], 1, "did you mean 'parse'"),
        (["check", "nothing.py"], 1, "nothing.py"),
        (["fetch", "http://x/", "-s", "USER_AGENT"], 2, "expected NAME=VALUE"),
    ],
)
def test_mistakes_are_told(run, words, code, says):
    assert says in run(*words, code=code).stderr
