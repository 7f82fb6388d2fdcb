"""Scrapy, run by its own `scrapy runspider`. Modes: as installed, `tuned` for speed, and `jobdir`, which can go on.

As installed it logs at INFO instead of DEBUG, which would print every item. Tuned, it has no extensions, cookies,
retries or middlewares that a plain crawl can do without, and asks a set of its own before it builds a Request.
"""

import sys
from pathlib import Path

from bench.systems.crawling import Crawler, main

SPIDERS = Path(__file__).parent / "spiders"
OFF = {
    "LOG_ENABLED": "False",
    "TELNETCONSOLE_ENABLED": "False",
    "COOKIES_ENABLED": "False",
    "RETRY_ENABLED": "False",
    "REDIRECT_ENABLED": "False",
    "REFERER_ENABLED": "False",
    "METAREFRESH_ENABLED": "False",
    "COMPRESSION_ENABLED": "False",
    "HTTPPROXY_ENABLED": "False",
    "LOGSTATS_INTERVAL": "0",
    "MEMUSAGE_ENABLED": "False",
    "CORESTATS_ENABLED": "False",
    "STATS_DUMP": "False",
    "DEPTH_STATS": "False",
    "SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.ScrapyPriorityQueue",
}


class ScrapyCrawler(Crawler):
    def crawl(self) -> list[str]:
        return self._run("scrapy_site.py", CONCURRENT_REQUESTS_PER_DOMAIN=str(self.options.concurrency))

    def polite(self) -> list[str]:
        return self._run(
            "scrapy_site.py",
            CONCURRENT_REQUESTS_PER_DOMAIN="1",
            DOWNLOAD_DELAY=str(self.options.delay),
            RANDOMIZE_DOWNLOAD_DELAY="False",
            CLOSESPIDER_TIMEOUT="40",  # it has shown its pace by then
        )

    def docs(self) -> list[str]:
        return self._run("scrapy_docs.py", CONCURRENT_REQUESTS_PER_DOMAIN=str(self.options.concurrency))

    def few(self, pages: int) -> list[str]:
        return self._run(
            "scrapy_site.py",
            CONCURRENT_REQUESTS_PER_DOMAIN=str(self.options.concurrency),
            CLOSESPIDER_PAGECOUNT=str(pages),
            DEPTH_PRIORITY="1",
            SCHEDULER_DISK_QUEUE="scrapy.squeues.PickleFifoDiskQueue",
            SCHEDULER_MEMORY_QUEUE="scrapy.squeues.FifoMemoryQueue",
        )

    def _run(self, spider: str, **settings: str) -> list[str]:
        settings |= {"CONCURRENT_REQUESTS": str(self.options.concurrency), "ROBOTSTXT_OBEY": "False"}
        settings |= {"LOG_LEVEL": "INFO"}
        if self.options.mode == "tuned":
            settings |= OFF
        if self.options.mode == "jobdir":
            settings["JOBDIR"] = "job"
        command = [sys.executable, "-m", "scrapy", "runspider", str(SPIDERS / spider), "-o", self.options.items.name]
        command += ["-a", f"starts={self.options.starts}", "-a", f"tuned={int(self.options.mode == 'tuned')}"]
        for name, value in settings.items():
            command += ["-s", f"{name}={value}"]
        return command


if __name__ == "__main__":
    main(ScrapyCrawler)
