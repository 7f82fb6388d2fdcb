"""Scrapling with its Spider, everything in memory."""

import sys
from pathlib import Path

from bench.systems.crawling import Crawler, main


class ScraplingCrawler(Crawler):
    def crawl(self) -> list[str]:
        script = Path(__file__).parent / "spiders" / "scrapling_site.py"
        return [sys.executable, str(script), str(self.options.starts), str(self.options.items),
                str(self.options.concurrency)]  # fmt: skip


if __name__ == "__main__":
    main(ScraplingCrawler)
