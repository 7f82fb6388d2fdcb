"""The crawler over Crawlee: title and all links of every page."""

import asyncio
import json
import logging
import sys
from pathlib import Path

from crawlee import ConcurrencySettings
from crawlee.crawlers import ParselCrawler, ParselCrawlingContext
from crawlee.storage_clients import MemoryStorageClient


async def crawl(starts: Path, items: Path, concurrency: int) -> None:
    crawler = ParselCrawler(
        concurrency_settings=ConcurrencySettings(
            min_concurrency=concurrency, max_concurrency=concurrency, desired_concurrency=concurrency
        ),
        storage_client=MemoryStorageClient(),
        configure_logging=False,
        max_request_retries=0,
    )
    with items.open("w") as file:

        @crawler.router.default_handler
        async def handle(context: ParselCrawlingContext) -> None:
            title = context.selector.xpath("//title/text()").get()
            file.write(json.dumps({"url": context.request.url, "title": title}) + "\n")
            await context.enqueue_links()

        await crawler.run(starts.read_text().split())


if __name__ == "__main__":
    logging.disable(logging.INFO)
    asyncio.run(crawl(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
