"""The server's own floor: wrk fetches every page of the site in turn and looks at none."""

import os

from bench.systems import servers, site
from bench.systems.crawling import COMMANDS, Crawler, Figures, Log, main, run

SECONDS = 3
SCRIPT = """
local number = 0
request = function()
  number = (number + 1) % PAGES
  return wrk.format("GET", "/p/" .. number .. ".html")
end
"""


class Wrk(Crawler):
    def crawl(self) -> list[str]:
        script = self.options.dir / "pages.lua"
        script.write_text(SCRIPT.replace("PAGES", str(site.PAGES)))
        command = [servers.program("wrk"), "-t", "1", "-c", str(self.options.concurrency), "-d", f"{SECONDS}s"]
        return [*command, "-s", str(script), os.environ["BENCH_SITE"]]


def fetch(crawler: Crawler) -> Figures:
    """As many pages as it can in some seconds."""
    log = Log()
    ran = run(crawler.crawl(), crawler.options.dir)
    hits = len(log.hits())
    return {"rate": hits / SECONDS, "cpu_ms": ran.cpu / hits * 1000, "pages": float(hits)}


COMMANDS["crawl"] = fetch

if __name__ == "__main__":
    main(Wrk)
