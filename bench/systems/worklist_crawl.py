"""Worklist's crawler, run by its own `worklist crawl`. Modes: in memory, and `durable`, which goes on after a stop."""

import sys
from pathlib import Path

from bench.systems.crawling import Crawler, main

SPIDERS = Path(__file__).parent / "spiders"


class WorklistCrawler(Crawler):
    def crawl(self) -> list[str]:
        return self._run("worklist_site.py", CONCURRENT_REQUESTS_PER_DOMAIN=str(self.options.concurrency))

    def polite(self) -> list[str]:
        return self._run(
            "worklist_site.py",
            CONCURRENT_REQUESTS_PER_DOMAIN="1",
            DOWNLOAD_DELAY=str(self.options.delay),
            RANDOMIZE_DOWNLOAD_DELAY="False",
        )

    def docs(self) -> list[str]:
        return self._run("worklist_docs.py", CONCURRENT_REQUESTS_PER_DOMAIN=str(self.options.concurrency))

    def few(self, pages: int) -> list[str]:
        return self._run(
            "worklist_site.py",
            CONCURRENT_REQUESTS_PER_DOMAIN=str(self.options.concurrency),
            CLOSESPIDER_PAGECOUNT=str(pages),
        )

    def _run(self, spider: str, **settings: str) -> list[str]:
        settings |= {"CONCURRENT_REQUESTS": str(self.options.concurrency), "ROBOTSTXT_OBEY": "False"}
        command = [sys.executable, "-m", "worklist", "crawl", str(SPIDERS / spider), "-o", self.options.items.name]
        command += ["-a", f"starts={self.options.starts}"]
        if self.options.mode == "durable":
            command += ["--job", "bench"]
        for name, value in settings.items():
            command += ["-s", f"{name}={value}"]
        return command


if __name__ == "__main__":
    main(WorklistCrawler)
