"""Kinds of spiders, callback by callback: rules, sitemaps, feeds of XML and CSV."""

import asyncio
import gzip

import pytest

from worklist.core.errors import ConfigError
from worklist.crawl.exceptions import Failure
from worklist.crawl.links import LinkExtractor
from worklist.crawl.request import Request
from worklist.crawl.response import HtmlResponse, Response, XmlResponse, response_for
from worklist.crawl.spiders import CrawlSpider, CSVFeedSpider, Rule, SitemapSpider, XMLFeedSpider, all_of

PAGE = b"<a href='/item/1'>one</a><a href='/list/2'>two</a><a href='/item/3?x'>three</a><a href='/other'>o</a>"


def gathered(result):
    return asyncio.run(all_of(result))


def answer(request, body=PAGE, headers=None):
    return response_for(request, request.url, 200, headers or {"Content-Type": "text/html"}, body)


class Shop(CrawlSpider):
    name = "shop"
    rules = (
        Rule(LinkExtractor(allow="/item/"), callback="parse_item", cb_kwargs={"n": 1}, process_links="without_query"),
        Rule(LinkExtractor(allow=("/list/", "/item/1")), process_request="marked", errback="failed"),
    )

    def parse_item(self, response, n):
        yield {"url": response.url, "n": n, "text": response.meta["link_text"]}

    def without_query(self, links):
        return [link for link in links if "?" not in link.url]

    def marked(self, request, response):
        return request.replace(meta={**request.meta, "from": response.url})

    def failed(self, failure):
        return {"failed": failure.request.url}

    async def parse_start_url(self, response):
        return [{"start": response.url}]


def test_rules():
    spider = Shop()
    start, item, page = gathered(spider.parse(answer(Request("http://shop.test/"))))
    assert start == {"start": "http://shop.test/"}
    assert (item.url, item.meta["rule"], item.callback.__name__) == ("http://shop.test/item/1", 0, "_callback")
    assert (page.url, page.meta["from"], page.meta["rule"]) == ("http://shop.test/list/2", "http://shop.test/", 1)
    found = gathered(spider._callback(answer(item)))
    assert found == [{"url": item.url, "n": 1, "text": "one"}]  # a callback: not followed
    assert [each.url for each in gathered(spider._callback(answer(page)))] == [item.url, page.url]
    assert gathered(spider._errback(Failure(OSError(), page))) == [{"failed": page.url}]
    assert gathered(spider._errback(Failure(OSError(), item))) == []
    assert page.to_dict(spider=spider)["callback"] == "_callback"


def test_rules_follow_nothing_in_what_is_no_html():
    request = Request("http://shop.test/x", meta={"rule": 1, "link_text": ""})
    assert gathered(Shop()._callback(answer(request, b"\0", {"Content-Type": "image/png"}))) == []


def test_a_rule_without_its_method_is_told():
    class Wrong(CrawlSpider):
        name = "wrong"
        rules = (Rule(callback="parse_itm"),)

    with pytest.raises(ConfigError, match="parse_itm"):
        Wrong()


SITEMAP = b"""<?xml version="1.0"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:xhtml="http://www.w3.org/1999/xhtml">
<!-- a comment --><url><loc> http://s.test/shop/1 </loc><lastmod>2026-01-02</lastmod>
<xhtml:link rel="alternate" hreflang="de" href="http://s.test/de/shop/1"/></url>
<url><loc>http://s.test/news/2</loc><lastmod>2020-01-02</lastmod></url><url><lastmod>2020</lastmod></url>
<url><loc>http://s.test/about</loc></url></urlset>"""
INDEX = b"""<sitemapindex><sitemap><loc>http://s.test/shop.xml.gz</loc></sitemap>
<sitemap><loc>http://s.test/old.xml</loc></sitemap></sitemapindex>"""


class Site(SitemapSpider):
    name = "site"
    sitemap_urls = ("http://s.test/robots.txt",)
    sitemap_rules = (("/shop/", "parse_shop"), ("/news/", "parse_news"))
    sitemap_follow = ("shop",)

    def parse_shop(self, response):
        pass

    def parse_news(self, response):
        pass


def sitemap(spider, url, body, headers=None):
    return [(each.url, str(each.callback)) for each in spider._parse_sitemap(answer(Request(url), body, headers))]


def test_sitemaps():
    spider = Site()
    (start,) = gathered(spider.start())
    assert start.url == "http://s.test/robots.txt"
    robots = b"User-agent: *\nSitemap: /index.xml\nsitemap:http://s.test/b.xml\n"
    found = list(spider._parse_sitemap(answer(start, robots, {"Content-Type": "text/plain"})))
    assert [each.url for each in found] == ["http://s.test/index.xml", "http://s.test/b.xml"]
    assert found[0].to_dict(spider=spider)["callback"] == "_parse_sitemap"
    assert [url for url, _ in sitemap(spider, "http://s.test/i", INDEX)] == ["http://s.test/shop.xml.gz"]
    expected = [("http://s.test/shop/1", "parse_shop"), ("http://s.test/news/2", "parse_news")]
    assert sitemap(spider, "http://s.test/x", SITEMAP, {"Content-Type": "text/xml"}) == expected
    assert sitemap(spider, "http://s.test/x.gz", gzip.compress(SITEMAP), {}) == expected
    spider.sitemap_alternate_links = True
    assert ("http://s.test/de/shop/1", "parse_shop") in sitemap(spider, "http://s.test/x", SITEMAP)


def test_sitemap_entries_are_filtered():
    class New(Site):
        def sitemap_filter(self, entries):
            return [entry for entry in entries if entry.get("lastmod", "") > "2025"]

    assert sitemap(New(), "http://s.test/x", SITEMAP) == [("http://s.test/shop/1", "parse_shop")]


NO_SITEMAPS = [b"", b"not xml", b"<html/>", gzip.compress(SITEMAP)[:40], gzip.compress(b"x" * 60_000_000)]


@pytest.mark.parametrize("body", NO_SITEMAPS, ids=["empty", "text", "html", "cut", "bomb"])
def test_what_is_no_sitemap_is_passed_over(body, caplog):
    assert sitemap(Site(), "http://s.test/x.xml", body, {}) == []
    assert "http://s.test/x.xml" in caplog.text


def test_a_sitemap_that_is_cut_off_gives_what_it_has():
    assert sitemap(Site(), "http://s.test/x", SITEMAP[: SITEMAP.index(b"<url><lastmod>")])[0][0].endswith("/shop/1")


FEED = b"<f xmlns:g='urn:g'><item id='1'><g:n>a</g:n></item><item id='2'><g:n>b</g:n></item></f>"


@pytest.mark.parametrize("iterator", ["iternodes", "xml", "html"])
def test_feeds_of_xml(iterator):
    class Feed(XMLFeedSpider):
        name = "feed"
        namespaces = (("g", "urn:g"),)

        def parse_node(self, response, node):
            return {"id": node.xpath("@id").get(), "n": node.xpath("g:n/text()").get()}

        def process_results(self, response, results):
            return [{**each, "seen": True} for each in results]

    spider = Feed()
    spider.iterator = iterator
    found = gathered(spider.parse(XmlResponse("http://s.test/feed", body=FEED)))
    assert [each["id"] for each in found] == ["1", "2"]
    assert all(each["seen"] for each in found)
    if iterator != "html":
        assert [each["n"] for each in found] == ["a", "b"]


def test_feeds_of_csv(caplog):
    class Feed(CSVFeedSpider):
        name = "feed"
        delimiter = ";"

        async def parse_row(self, response, row):
            yield row

    body = 'a;b\n1;"x;\ny"\n2\n\n3;ü\n'.encode()
    spider = Feed()
    found = gathered(spider.parse(HtmlResponse("http://s.test/x.csv", body=body, encoding="utf-8")))
    assert found == [{"a": "1", "b": "x;\ny"}, {"a": "3", "b": "ü"}]
    assert "has 1 values; expected 2" in caplog.text
    spider.headers = ["p", "q"]
    assert gathered(spider.parse(Response("http://s.test/x.csv", body=b"1;2\n"))) == [{"p": "1", "q": "2"}]
