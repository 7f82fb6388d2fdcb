"""The spider that Scrapling runs: title and all links of every page, as plain requests without a browser's disguise."""

import json
import logging
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from scrapling.fetchers import FetcherSession
from scrapling.spiders import Request, Response, Spider


class SiteSpider(Spider):
    name = "site"
    start_urls = Path(sys.argv[1]).read_text().split()
    concurrent_requests = int(sys.argv[3])
    logging_level = logging.ERROR

    def configure_sessions(self, manager: Any) -> None:
        manager.add("default", FetcherSession(impersonate=None, stealthy_headers=False))

    async def parse(self, response: Response) -> AsyncGenerator[dict[str, Any] | Request | None, None]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    found = SiteSpider().start()
    with Path(sys.argv[2]).open("w") as file:
        for item in found.items:
            file.write(json.dumps(item) + "\n")
