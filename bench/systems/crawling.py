"""The measurements of crawls, the same for every crawler: one function for each command.

A script of a crawler ends in `main(ItsCrawler)`. Pages, their times and what was fetched twice are read from the
server's log; CPU time is that of the crawler's process from its first request on, without the interpreter's start.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.systems import site
from bench.systems.process import GaveUpError, descendants, kill_all

LIMIT = 400.0
"""Seconds for one crawl."""
EARLY = 0.05
"""Seconds by which the time of a request in the log may be off on a busy machine."""
Figures = dict[str, float]


@dataclass(frozen=True)
class Options:
    """One measurement."""

    dir: Path
    """A fresh folder, which the crawler runs in."""
    concurrency: int = 16
    mode: str = ""
    """Which of the crawler's ways: see its script."""
    hosts: int = site.HOSTS
    delay: float = 1.0
    pages: int = site.LISTS
    """Pages of a thousand links for the row with a long queue."""
    kill_every: float = 3.0
    kills: int = 1_000
    jobs: int = 0
    """Not used: the number of pages is the site's."""

    @property
    def items(self) -> Path:
        """Where the crawler writes items, each a line of JSON with `url` and `title`."""
        return self.dir / "items.jsonl"

    @property
    def starts(self) -> Path:
        """The URLs to begin with, one a line."""
        return self.dir / "starts.txt"


class Crawler:
    """What a crawler under test has to offer: the commands that crawl."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def crawl(self) -> list[str]:
        """Begin with the URLs in `options.starts`, follow all links, write title and URL of each page to the items."""
        raise NotImplementedError

    def polite(self) -> list[str]:
        """The same with `options.delay` seconds between two requests to a host; it may end early (40 s)."""
        raise NotImplementedError

    def docs(self) -> list[str]:
        """Follow all links of HTML pages below the start, by the rules of the crawler's link extractor."""
        raise NotImplementedError

    def few(self, pages: int) -> list[str]:
        """The same as `crawl`, breadth first, ending after some pages."""
        raise NotImplementedError


@dataclass(frozen=True)
class Hit:
    """One request that the server answered."""

    time: float
    host: str
    path: str


class Log:
    """What is added to the server's log from now on."""

    def __init__(self) -> None:
        self._path = Path(os.environ["BENCH_SITE_FOLDER"]) / "access.log"
        self._start = self._path.stat().st_size

    def hits(self) -> list[Hit]:
        """Every request since, but for robots.txt. The server writes at most 100 ms late."""
        time.sleep(0.3)
        with self._path.open("rb") as file:
            file.seek(self._start)
            lines = file.read().decode().splitlines()
        return [hit for hit in map(_hit, lines) if hit.path != "/robots.txt"]


def _hit(line: str) -> Hit:
    moment, host, path = line.split(" ", 2)
    return Hit(float(moment), host, path)


@dataclass(frozen=True)
class Ran:
    """One process that has ended."""

    code: int
    cpu: float
    """User and system seconds, of its children too."""
    rss_mib: float
    """The most that it had resident."""
    early: list[tuple[float, float]]
    """How much CPU it had used when, for its first seconds."""

    def cpu_from(self, moment: float) -> float:
        """CPU seconds from a moment (unix time) to the end."""
        spent = [cpu for when, cpu in self.early if when <= moment]
        return self.cpu - (spent[-1] if spent else 0.0)


def run(command: Sequence[str], folder: Path, kill_after: float = 0.0) -> Ran:
    """Run a crawler in its folder to its end, or kill it (SIGKILL) so many seconds after its start."""
    with (folder / "crawler.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    begun = time.monotonic()
    early: list[tuple[float, float]] = []
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        age = time.monotonic() - begun
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return Ran(process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, early)
        if kill_after and age > kill_after:  # again and again until it is seen to have ended
            kill_all([process.pid, *descendants(process.pid)])
        if age > LIMIT:
            kill_all([process.pid, *descendants(process.pid)])
            process.wait()
            raise GaveUpError(f"not done in {LIMIT:.0f} s; log: {_last_words(folder)}")
        if age < 20:
            early.append((time.time(), _cpu(process.pid)))
        time.sleep(0.005 if age < 20 else 0.05)


def _cpu(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # see `process`
    except OSError:
        return 0.0


def _last_words(folder: Path) -> list[str]:
    return (folder / "crawler.log").read_text(errors="replace").strip().splitlines()[-4:]


# -- commands ---------------------------------------------------------------------------------------------------


def crawl(crawler: Crawler) -> Figures:
    """The site of 5,000 pages, every page once."""
    options = crawler.options
    _begin_with(options, [f"{os.environ['BENCH_SITE']}/p/0.html"])
    log = Log()
    ran = run(crawler.crawl(), options.dir)
    hits = log.hits()
    _check(ran, options, hits)
    items = _items(options)
    if len(items) != site.PAGES or len(set(items)) != site.PAGES:
        raise GaveUpError(f"{len(items)} items of {len(set(items))} pages; log: {_last_words(options.dir)}")
    return _figures(ran, hits) | {"items": float(len(items))}


def polite(crawler: Crawler) -> Figures:
    """A thousand hosts with a delay each, every page of each; delays allow `hosts / delay` pages a second."""
    options = crawler.options
    port = os.environ["BENCH_SITE"].rpartition(":")[2]
    _begin_with(options, [f"http://{host}:{port}/h/0.html" for host in site.hosts(options.hosts)])
    log = Log()
    ran = run(crawler.polite(), options.dir)
    hits = log.hits()
    _check(ran, options, hits)
    figures = _figures(ran, hits)
    rate = len(hits) / (figures["seconds"] + options.delay)
    gaps = [gap for times in _by_host(hits) for gap in _gaps(times)]
    return figures | {
        "share": rate / (options.hosts / options.delay),
        "rate": rate,
        "early": float(sum(gap < options.delay - EARLY for gap in gaps)),
        "least_gap_ms": min(gaps) * 1000,
    }


def docs(crawler: Crawler) -> Figures:
    """The documentation of Python; the URLs of the items are compared with those of the crawler that was first."""
    options = crawler.options
    if not site.DOCS.exists():
        raise GaveUpError(f"{site.DOCS} is not there (Debian: apt-get install python3.11-doc)")
    _begin_with(options, [f"{os.environ['BENCH_SITE']}/docs/index.html"])
    log = Log()
    ran = run(crawler.docs(), options.dir)
    hits = log.hits()
    _check(ran, options, hits)
    urls = sorted(set(_items(options)))
    text = "\n".join(urls)
    others = Path(os.environ["BENCH_SITE_FOLDER"]) / "docs-urls.txt"
    if not others.exists():
        others.write_text(text)
    theirs = set(others.read_text().splitlines())
    return _figures(ran, hits) | {
        "items": float(len(urls)),
        "missing": float(len(theirs - set(urls))),
        "more": float(len(set(urls) - theirs)),
        "checksum": float(zlib.crc32(text.encode())),
    }


def million(crawler: Crawler) -> Figures:
    """Pages of a thousand links each, so that at their end a thousand times as many URLs are queued."""
    options = crawler.options
    _begin_with(options, [f"{os.environ['BENCH_SITE']}/m/{number}.html" for number in range(options.pages)])
    log = Log()
    ran = run(crawler.few(options.pages + 500), options.dir)
    hits = log.hits()
    _check(ran, options, hits)
    lists = sum(hit.path.startswith("/m/") for hit in hits)
    figures = _figures(ran, hits)
    return figures | {
        "queued": float(lists * site.LIST_LINKS),
        "link_rate": lists * site.LIST_LINKS / figures["seconds"],
    }


def killed(crawler: Crawler) -> Figures:
    """The site of 5,000 pages, the crawler killed every few seconds and started again until it ends by itself.

    It is left alone once started when every page was fetched: killed after its end it would begin a second crawl.
    """
    options = crawler.options
    _begin_with(options, [f"{os.environ['BENCH_SITE']}/p/0.html"])
    log = Log()
    begun = time.monotonic()
    kills = 0
    while True:
        again = kills < options.kills and len({hit.path for hit in log.hits()}) < site.PAGES
        ran = run(crawler.crawl(), options.dir, options.kill_every if again else 0.0)
        if ran.code != -signal.SIGKILL:
            break
        kills += 1
        if time.monotonic() - begun > LIMIT / 2:
            raise GaveUpError(f"not done after {kills} kills; log: {_last_words(options.dir)}")
    hits = log.hits()
    items = Counter(_items(options))
    return {
        "kills": float(kills),
        "pages": float(len({hit.path for hit in hits})),
        "items": float(len(items)),
        "missing": float(site.PAGES - len(items)),
        "doubled": float(items.total() - len(items)),
        "again": float(len(hits) - len({hit.path for hit in hits})),
        "seconds": time.monotonic() - begun,
        "code": float(ran.code),
    }


COMMANDS: dict[str, Callable[[Crawler], Figures]] = {
    "crawl": crawl,
    "polite": polite,
    "docs": docs,
    "million": million,
    "killed": killed,
}


def _begin_with(options: Options, urls: Sequence[str]) -> None:
    options.starts.write_text("".join(f"{url}\n" for url in urls))


def _check(ran: Ran, options: Options, hits: Sequence[Hit]) -> None:
    if ran.code or not hits:
        raise GaveUpError(f"exited with {ran.code} after {len(hits)} requests; log: {_last_words(options.dir)}")


def _figures(ran: Ran, hits: Sequence[Hit]) -> Figures:
    first, last = min(hit.time for hit in hits), max(hit.time for hit in hits)
    pages = len({(hit.host, hit.path) for hit in hits})
    return {
        "rate": pages / (last - first) if last > first else 0.0,
        "cpu_ms": ran.cpu_from(first) / pages * 1000,
        "rss_mib": ran.rss_mib,
        "pages": float(pages),
        "again": float(len(hits) - pages),
        "seconds": last - first,
    }


def _items(options: Options) -> list[str]:
    """The URLs of the items. Raises GaveUpError where the file is not valid."""
    try:
        lines = options.items.read_text().splitlines()
        return [json.loads(line)["url"] for line in lines if line]
    except (OSError, ValueError, KeyError) as error:
        raise GaveUpError(f"{options.items.name}: {error!r}; log: {_last_words(options.dir)}") from None


def _by_host(hits: Sequence[Hit]) -> Iterator[list[float]]:
    times: dict[str, list[float]] = {}
    for hit in hits:
        times.setdefault(hit.host, []).append(hit.time)
    for found in times.values():
        yield sorted(found)


def _gaps(times: Sequence[float]) -> Iterator[float]:
    for before, after in itertools.pairwise(times):
        yield after - before


def main(kind: type[Crawler]) -> None:
    """Run one command for this crawler and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--dir", type=Path, required=True)
    for name in ("concurrency", "hosts", "pages", "kills", "jobs"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Options, name))
    for name in ("delay", "kill-every"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Options, name.replace("-", "_")))
    parser.add_argument("--mode", default="")
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    print(json.dumps(COMMANDS[command](kind(Options(**arguments)))))
