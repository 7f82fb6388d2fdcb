"""The floor of crawling: asyncio with aiohttp and selectolax's lexbor parser, a set of seen URLs and nothing else."""

import sys
from pathlib import Path

from bench.systems.crawling import Crawler, main


class FloorCrawler(Crawler):
    def crawl(self) -> list[str]:
        script = Path(__file__).parent / "spiders" / "floor_site.py"
        return [sys.executable, str(script), str(self.options.starts), str(self.options.items),
                str(self.options.concurrency)]  # fmt: skip


if __name__ == "__main__":
    main(FloorCrawler)
