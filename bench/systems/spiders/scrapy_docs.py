"""The CrawlSpider that Scrapy runs over a documentation: every link of every page, by the rules of its extractor."""

from pathlib import Path
from typing import Any

from scrapy.http import Response
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule


class DocsSpider(CrawlSpider):
    name = "docs"
    rules = (Rule(LinkExtractor(allow=r"/docs/"), callback="parse_page", follow=True),)

    def __init__(self, starts: str, tuned: str = "0", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.start_urls = Path(starts).read_text().split()
        self.allowed_domains = ["127.0.0.1"]

    def parse_page(self, response: Response) -> dict[str, Any]:
        title = response.css("title::text").get() if hasattr(response, "css") else None
        return {"url": response.url, "title": title}
