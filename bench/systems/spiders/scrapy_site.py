"""The spider that Scrapy runs: title and all links of every page."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response


class SiteSpider(Spider):
    name = "site"

    def __init__(self, starts: str, tuned: str = "0", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.start_urls = Path(starts).read_text().split()
        if tuned == "1":
            self.seen = set(self.start_urls)
            self.parse = self.parse_tuned  # type: ignore[method-assign]

    async def start(self) -> AsyncIterator[Request]:
        """As installed, the first pages are fetched once more when a link to them is met."""
        for url in self.start_urls:
            yield Request(url)

    def parse(self, response: Response) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        yield from response.follow_all(css="a")

    def parse_tuned(self, response: Response) -> Iterator[Any]:
        """A set that is asked before a Request is built, since nearly all links are known already."""
        yield {"url": response.url, "title": response.xpath("//title/text()").get()}
        root = "/".join(response.url.split("/", 3)[:3])
        for href in response.xpath("//a/@href").getall():
            url = root + href if href.startswith("/") else response.urljoin(href)
            if url not in self.seen:
                self.seen.add(url)
                yield Request(url, dont_filter=True)
