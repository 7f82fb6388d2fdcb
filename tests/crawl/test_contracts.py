"""Contracts in docstrings: kept ones, broken ones, mistaken ones."""

import asyncio

import pytest

from worklist.core.errors import ConfigError
from worklist.crawl.contracts import Contract, ContractFail, check_spider
from worklist.crawl.request import Request
from worklist.crawl.response import HtmlResponse
from worklist.crawl.settings import Settings
from worklist.crawl.spider import Spider


async def fetch(request):
    return HtmlResponse(request.url, body=b"<a href=1>x</a><a href=2>y</a>", request=request, encoding="utf-8")


def check(parse, **settings):
    kind = type("Demo", (Spider,), {"name": "demo", "parse": parse})
    spider = kind()
    spider.settings = Settings(settings)
    return asyncio.run(check_spider(spider, fetch))


def links(self, response, **kwargs):
    for link in response.css("a"):
        yield {"text": link.css("::text").get(), **kwargs, **response.meta}
    yield from response.follow_all(css="a")


@pytest.mark.parametrize(
    ("promises", "errors"),
    [
        ("@returns items 2 2\n@returns requests 1 5\n@scrapes text", ["", "", ""]),
        ("@returns items 3", ["it gave 2 items; promised are 3 or more"]),
        ("@returns items 1 1", ["it gave 2 items; promised are 1"]),
        ("@returns requests 0 1", ["it gave 2 requests; promised are 0 to 1"]),
        ("@returns items", [""]),
        ("@scrapes text price", ["an item lacks price: {'text': 'x'}"]),
        ('@cb_kwargs {"price": 1}\n@meta {"m": 2}\n@scrapes text price m', [""]),
        ('@request {"method": "POST"}\n@returns items 2', [""]),
        ("", []),
    ],
)
def test_promises(promises, errors):
    async def parse(self, response, **kwargs):
        for each in links(self, response, **kwargs):
            yield each

    parse.__doc__ = f"Parse.\n\n@url http://site.test/\n{promises}"
    assert [result.error for result in check(parse)] == errors


def test_a_callback_that_raises_and_one_without_promises():
    def parse(self, response):
        """@url http://site.test/
        @returns items 1
        """
        raise ValueError("broken")

    (result,) = check(parse)
    assert (result.name.endswith("parse"), result.error) == (True, "ValueError: broken")
    assert check(links) == []


@pytest.mark.parametrize(
    ("promise", "says"),
    [
        ("@retruns items 1", "did you mean 'returns'"),
        ("@returns itmes 1", "did you mean 'items'"),
        ("@returns items many", "the least number"),
        ("@meta {broken", "expected a JSON object"),
    ],
)
def test_mistakes_are_told(promise, says):
    def parse(self, response):
        pass

    parse.__doc__ = f"@url http://site.test/\n{promise}"
    with pytest.raises(ConfigError, match=says):
        check(parse)


class Status(Contract):
    name = "status"

    def adjust_request_args(self, args):
        return {**args, "headers": {"X": "1"}}

    def pre_process(self, response):
        if response.status != int(self.args[0]) or b"X" not in response.request.headers:
            raise ContractFail(f"the status is {response.status}")


def test_contracts_of_ones_own():
    def parse(self, response):
        """@url http://site.test/
        @status 404"""
        return Request("http://site.test/next")

    (result,) = check(parse, SPIDER_CONTRACTS={Status: 10})
    assert result.error == "the status is 200"
