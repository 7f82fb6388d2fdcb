"""The spider that Worklist runs: title and all links of every page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worklist.crawl import Response, Spider


class SiteSpider(Spider):
    name = "site"

    def __init__(self, starts: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.start_urls = Path(starts).read_text().split()

    def parse(self, response: Response) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        yield from response.follow_all(css="a")
