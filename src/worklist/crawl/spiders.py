"""Kinds of spiders: by rules over links, by sitemaps, by feeds of XML and CSV.

Each is a `Spider` whose callbacks are methods, so its requests survive in the queue like all others.
"""

from __future__ import annotations

import copy
import csv
import inspect
import io
import logging
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from re import Pattern
from typing import Any
from urllib.parse import urljoin

from lxml import etree
from parsel import Selector

from ..core.errors import ConfigError
from .exceptions import NotConfigured
from .links import Link, LinkExtractor
from .request import Request
from .response import HtmlResponse, Response, TextResponse, XmlResponse
from .spider import Spider

logger = logging.getLogger("worklist.crawl")
_LARGEST = 50 * 1024 * 1024  # bytes that a sitemap may unpack to, as sitemaps.org has it


class Rule:
    """Which links a `CrawlSpider` follows, and what becomes of their pages.

    `callback`, `errback`, `process_links`, `process_request` are methods of the spider, or their names; `follow`: look
    for links in these pages too (by default where there is no callback).
    """

    def __init__(
        self,
        link_extractor: LinkExtractor | None = None,
        callback: Callable[..., Any] | str | None = None,
        cb_kwargs: dict[str, Any] | None = None,
        follow: bool | None = None,
        process_links: Callable[..., Any] | str | None = None,
        process_request: Callable[..., Any] | str | None = None,
        errback: Callable[..., Any] | str | None = None,
    ) -> None:
        self.link_extractor = link_extractor or LinkExtractor()
        self.callback = callback
        self.errback = errback
        self.cb_kwargs = cb_kwargs or {}
        self.process_links = process_links
        self.process_request = process_request
        self.follow = not callback if follow is None else follow

    def bound_to(self, spider: Spider) -> Rule:
        """Return this rule with the methods of a spider in place of their names."""
        rule = copy.copy(self)
        for what in ("callback", "errback", "process_links", "process_request"):
            value = getattr(self, what)
            if isinstance(value, str):
                if not callable(getattr(spider, value, None)):
                    raise ConfigError(
                        f"a rule of {spider.name!r} has {what}={value!r}, which is no method of the spider"
                    )
                value = getattr(spider, value)
            setattr(rule, what, value)
        return rule


class CrawlSpider(Spider):
    """Follows links by `rules`: of those that match a link the first counts.

    Do not name a callback `parse`: that is the spider's own. The responses of `start_urls` go to `parse_start_url`.
    """

    rules: Sequence[Rule] = ()
    meets_start_pages_again = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rules = [rule.bound_to(self) for rule in self.rules]

    async def parse(self, response: Response, **kwargs: Any) -> AsyncIterator[Any]:
        """Handle a start page."""
        async for each in self.parse_with_rules(response, self.parse_start_url, kwargs):
            yield each

    def parse_start_url(self, response: Response, **kwargs: Any) -> Any:
        """Make something of a start page; by default nothing."""
        return ()

    def process_results(self, response: Response, results: Iterable[Any]) -> Iterable[Any]:
        """Change what the callbacks give; by default nothing."""
        return results

    async def parse_with_rules(
        self, response: Response, callback: Callable[..., Any] | None, cb_kwargs: dict[str, Any], follow: bool = True
    ) -> AsyncIterator[Any]:
        """Call back, then follow the links of the page."""
        if callback:
            for each in self.process_results(response, await all_of(callback(response, **cb_kwargs))):
                yield each
        if follow:
            for request in self._requests_to_follow(response):
                yield request

    def _requests_to_follow(self, response: Response) -> Iterator[Request]:
        if not isinstance(response, HtmlResponse):
            return
        seen: set[Link] = set()
        for number, rule in enumerate(self._rules):
            links = [link for link in rule.link_extractor.extract_links(response) if link not in seen]
            for link in rule.process_links(links) if callable(rule.process_links) else links:
                seen.add(link)
                request = self._build_request(number, link)
                if callable(rule.process_request):
                    request = rule.process_request(request, response)
                if request is not None:
                    yield request

    def _build_request(self, number: int, link: Link) -> Request:
        meta = {"rule": number, "link_text": link.text}
        return Request(link.url, callback=self._callback, errback=self._errback, meta=meta)

    async def _callback(self, response: Response, **cb_kwargs: Any) -> AsyncIterator[Any]:
        rule = self._rules[response.meta["rule"]]
        callback = rule.callback if callable(rule.callback) else None
        async for each in self.parse_with_rules(response, callback, {**rule.cb_kwargs, **cb_kwargs}, rule.follow):
            yield each

    async def _errback(self, failure: Any) -> Any:
        rule = self._rules[failure.request.meta["rule"]]
        return await all_of(rule.errback(failure)) if callable(rule.errback) else []


async def all_of(result: Any) -> list[Any]:
    """Gather what a callback of any kind gives: nothing, one thing, an iterable, a coroutine, an async generator."""
    if inspect.isawaitable(result):
        result = await result
    if hasattr(result, "__aiter__"):
        return [each async for each in result]
    if result is None:
        return []
    single = isinstance(result, Mapping | Request | str | bytes) or not hasattr(result, "__iter__")
    return [result] if single else list(result)


class SitemapSpider(Spider):
    """Visits the pages that sitemaps name: sitemaps, indexes of them, gzipped ones, and robots.txt that names them.

    `sitemap_rules`: pairs of a regular expression and a callback, of which the first that matches counts;
    `sitemap_follow`: regular expressions of the sitemaps of an index to follow; `sitemap_alternate_links`: whether
    other languages of a page are visited too.
    """

    sitemap_urls: Sequence[str] = ()
    sitemap_rules: Sequence[tuple[Pattern[str] | str, Callable[..., Any] | str]] = (("", "parse"),)
    sitemap_follow: Sequence[Pattern[str] | str] = ("",)
    sitemap_alternate_links: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._callbacks = [(re.compile(pattern), callback) for pattern, callback in self.sitemap_rules]
        self._followed = [re.compile(pattern) for pattern in self.sitemap_follow]

    async def start(self) -> AsyncIterator[Any]:
        """Ask for the sitemaps."""
        for url in self.sitemap_urls:
            yield Request(url, callback=self._parse_sitemap)

    def sitemap_filter(self, entries: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """Leave out entries (dicts of `loc`, `lastmod`, …); by default none."""
        yield from entries

    def _parse_sitemap(self, response: Response) -> Iterator[Request]:
        if response.url.partition("?")[0].endswith("/robots.txt"):
            for url in _sitemaps_of_robots(response.body, response.url):
                yield Request(url, callback=self._parse_sitemap)
            return
        kind, entries = _sitemap(self._sitemap_body(response))
        if kind not in {"urlset", "sitemapindex"}:
            logger.warning("%s is no sitemap; expected <urlset> or <sitemapindex>", response.url)
            return
        for entry in self.sitemap_filter(entries):
            for url in self._urls_of(entry):
                callback = self._parse_sitemap if kind == "sitemapindex" else self._callback_for(url)
                if callback and (kind == "urlset" or any(each.search(url) for each in self._followed)):
                    yield Request(urljoin(response.url, url), callback=callback)

    def _urls_of(self, entry: dict[str, Any]) -> Iterator[str]:
        yield entry["loc"]
        if self.sitemap_alternate_links:
            yield from entry.get("alternate", ())

    def _callback_for(self, url: str) -> Callable[..., Any] | str | None:
        return next((callback for pattern, callback in self._callbacks if pattern.search(url)), None)

    def _sitemap_body(self, response: Response) -> bytes:
        if not response.body.startswith(b"\x1f\x8b"):
            return response.body
        unpacker = zlib.decompressobj(31)
        try:
            body = unpacker.decompress(response.body, _LARGEST)
        except zlib.error as error:
            logger.warning("the sitemap %s is broken: %s", response.url, error)
            return b""
        if unpacker.unconsumed_tail:
            logger.warning("the sitemap %s is larger than %d MiB", response.url, _LARGEST >> 20)
            return b""
        return body


def _sitemaps_of_robots(body: bytes, base: str) -> Iterator[str]:
    for line in body.decode("utf-8", "replace").splitlines():
        if line.lstrip().lower().startswith("sitemap:"):
            yield urljoin(base, line.partition(":")[2].strip())


def _sitemap(body: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Read a sitemap: the name of its root, and its entries. A broken one gives what can be read."""
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(body.strip(), parser)
    except (etree.XMLSyntaxError, ValueError):
        root = None
    if root is None:
        return "", []
    entries = (_entry(each) for each in root if _local(each) in {"url", "sitemap"})
    return _local(root), [entry for entry in entries if entry.get("loc")]


def _entry(element: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for child in element:
        if _local(child) == "link":
            entry.setdefault("alternate", []).extend(filter(None, [child.get("href")]))
        else:
            entry[_local(child)] = (child.text or "").strip()
    return entry


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


class XMLFeedSpider(Spider):
    """Calls `parse_node` for each `itertag` of a document of XML.

    `iterator`: "iternodes" and "xml" read XML, "html" what is none; `namespaces`: pairs of prefix and URI.
    """

    iterator: str = "iternodes"
    itertag: str = "item"
    namespaces: Sequence[tuple[str, str]] = ()

    def process_results(self, response: Response, results: Iterable[Any]) -> Iterable[Any]:
        """Change what `parse_node` gives; by default nothing."""
        return results

    def adapt_response(self, response: Response) -> Response:
        """Change the response before it is read; by default nothing."""
        return response

    def parse_node(self, response: Response, selector: Selector) -> Any:
        """Make something of one node."""
        raise NotImplementedError(f"the spider {self.name!r} has no method parse_node(self, response, selector)")

    async def parse(self, response: Response, **kwargs: Any) -> AsyncIterator[Any]:
        """Handle a document."""
        response = self.adapt_response(response)
        for node in self._nodes(response):
            for each in self.process_results(response, await all_of(self.parse_node(response, node))):
                yield each

    def _nodes(self, response: Response) -> Iterable[Selector]:
        if not isinstance(response, TextResponse):
            raise NotConfigured(f"{response.url} is no text; an XMLFeedSpider reads XML")
        kinds = {"iternodes": "xml", "xml": "xml", "html": "html"}
        if self.iterator not in kinds:
            raise ValueError(f"iterator of {self.name!r} is {self.iterator!r}; expected iternodes, xml or html")
        kind = kinds[self.iterator]
        known = isinstance(response, XmlResponse) == (kind == "xml")
        selector = response.selector if known else Selector(text=response.text, type=kind, base_url=response.url)
        for prefix, uri in self.namespaces:
            selector.register_namespace(prefix, uri)
        if ":" in self.itertag:
            return selector.xpath(f"//{self.itertag}")
        return selector.xpath("//*[local-name()=$tag]", tag=self.itertag)


class CSVFeedSpider(Spider):
    """Calls `parse_row` for each row of a document of CSV, a dict by header.

    `delimiter`, `quotechar`: by default a comma and a double quote; `headers`: by default the first row.
    """

    delimiter: str | None = None
    quotechar: str | None = None
    headers: Sequence[str] | None = None

    def process_results(self, response: Response, results: Iterable[Any]) -> Iterable[Any]:
        """Change what `parse_row` gives; by default nothing."""
        return results

    def adapt_response(self, response: Response) -> Response:
        """Change the response before it is read; by default nothing."""
        return response

    def parse_row(self, response: Response, row: dict[str, str]) -> Any:
        """Make something of one row."""
        raise NotImplementedError(f"the spider {self.name!r} has no method parse_row(self, response, row)")

    async def parse(self, response: Response, **kwargs: Any) -> AsyncIterator[Any]:
        """Handle a document."""
        response = self.adapt_response(response)
        for row in self._rows(response):
            for each in self.process_results(response, await all_of(self.parse_row(response, row))):
                yield each

    def _rows(self, response: Response) -> Iterator[dict[str, str]]:
        text = response.text if isinstance(response, TextResponse) else response.body.decode("utf-8-sig", "replace")
        rows = csv.reader(
            io.StringIO(text, newline=""), delimiter=self.delimiter or ",", quotechar=self.quotechar or '"'
        )
        headers = list(self.headers) if self.headers else next(rows, [])
        for row in rows:
            if len(row) == len(headers):
                yield dict(zip(headers, row, strict=True))
            elif row:
                logger.warning(
                    "row %d of %s has %d values; expected %d", rows.line_num, response.url, len(row), len(headers)
                )
