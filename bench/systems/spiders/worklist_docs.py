"""The CrawlSpider that Worklist runs over a documentation; but for its imports it is Scrapy's."""

from pathlib import Path
from typing import Any

from worklist.crawl import CrawlSpider, LinkExtractor, Response, Rule


class DocsSpider(CrawlSpider):
    name = "docs"
    rules = (Rule(LinkExtractor(allow=r"/docs/"), callback="parse_page", follow=True),)

    def __init__(self, starts: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.start_urls = Path(starts).read_text().split()
        self.allowed_domains = ["127.0.0.1"]

    def parse_page(self, response: Response) -> dict[str, Any]:
        title = response.css("title::text").get() if hasattr(response, "css") else None
        return {"url": response.url, "title": title}
