"""Crawlee with its ParselCrawler and everything in memory."""

import sys
from pathlib import Path

from bench.systems.crawling import Crawler, main


class CrawleeCrawler(Crawler):
    def crawl(self) -> list[str]:
        script = Path(__file__).parent / "spiders" / "crawlee_site.py"
        return [sys.executable, str(script), str(self.options.starts), str(self.options.items),
                str(self.options.concurrency)]  # fmt: skip

    def docs(self) -> list[str]:
        return self.crawl()


if __name__ == "__main__":
    main(CrawleeCrawler)
