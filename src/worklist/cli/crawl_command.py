"""``worklist crawl``: run a spider of a file, show how it goes, and say what came of it.

Exit codes: 0 finished; 1 finished, but the spider's own code or a pipeline raised, or nothing could be fetched;
130 interrupted, to be gone on with where the crawl has a name or a URL.
"""

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from ..core.errors import ConfigError, did_you_mean
from .load import load_script
from .program import EXIT_FAILED, EXIT_INTERRUPTED
from .render import console, spelt_seconds

_LOOK_SECONDS = 0.5
_SLOW_HOSTS = 3
_LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command()
@click.argument("file", metavar="SPIDER.PY")
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "-o", "--output", multiple=True, metavar="FILE", help="Where items go: .jsonl .json .csv .xml ..., a URL."
)
@click.option("-O", "overwrite", multiple=True, metavar="FILE", help="The same, and begin the file anew.")
@click.option("-a", "arguments", multiple=True, metavar="KEY=VALUE", help="An argument of the spider.")
@click.option("-s", "settings", multiple=True, metavar="NAME=VALUE", help="A setting, such as DOWNLOAD_DELAY=0.5.")
@click.option("--job", metavar="NAME", help="Keep the crawl in .worklist/NAME.db, to go on with it; its name in --url.")
@click.option("--url", metavar="URL", help="Keep the crawl in this broker; several machines may share it.")
@click.option("--restart", is_flag=True, help="Begin anew where the crawl of this name has ended.")
@click.option("--join", is_flag=True, help="Help with the crawl of this name that another process began.")
@click.option(
    "--loglevel", type=click.Choice(_LEVELS, case_sensitive=False), help="What is logged.  [default: as LOG_LEVEL]"
)
def crawl(
    file: str,
    name: str | None,
    output: tuple[str, ...],
    overwrite: tuple[str, ...],
    arguments: tuple[str, ...],
    settings: tuple[str, ...],
    job: str | None,
    url: str | None,
    restart: bool,
    join: bool,
    loglevel: str | None,
) -> int:
    """Run the spider of a file: worklist crawl quotes.py -o quotes.jsonl.

    With --job or --url a crawl that ended early, by Ctrl-C or by a kill, goes on where it was when it is started again.
    """
    crawling = _crawler_module()
    if join and (restart or not (job or url)):
        raise click.UsageError("--join helps with a crawl under way; expected its --job or --url, and no --restart")
    spider = spider_of(file, name)
    own: dict[str, Any] = {}
    known = {**crawling.TABLE, **crawling.WITHOUT_EFFECT}
    for key, value in _pairs(settings, "-s", "DOWNLOAD_DELAY=0.5"):
        if near := did_you_mean(key, known) if key not in known else "":
            raise click.UsageError(f"there is no setting {key!r}{near}")
        own[key] = _value(value)
    if overwrite:
        own["FEEDS"] = {**own.get("FEEDS", {}), **{name: {"overwrite": True} for name in overwrite}}
    crawler = crawling.make_crawler(
        spider, url=url, job=job, settings=own, output=list(output), restart=restart, join=join
    )
    spider.update_settings(crawler.settings)
    level, file_of_log = loglevel or str(crawler.settings.get("LOG_LEVEL")), crawler.settings.get("LOG_FILE")
    if level.lower() not in _LEVELS:
        raise ConfigError(f"LOG_LEVEL is {level!r}; expected {', '.join(_LEVELS).upper()}")
    with _logging(level, file_of_log):
        return asyncio.run(_run(crawler, dict(_pairs(arguments, "-a", "tag=books"))))


def _crawler_module() -> ModuleType:
    try:
        from ..crawl import crawler  # noqa: PLC0415 - its libraries are an extra
    except ImportError as error:
        raise ConfigError(
            f"the crawler needs {error.name}, which is not installed: pip install 'worklist[crawl]'"
        ) from None
    return crawler


def spider_of(file: str, name: str | None) -> Any:
    """Return the spider class of a file, the one of this name where there are several. Raises ConfigError."""
    from ..crawl.spider import Spider  # noqa: PLC0415 - its libraries are an extra

    path = Path(file)
    if not path.is_file():
        there = [str(each) for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(f"there is no file {file}{did_you_mean(file, there)}; expected the file of a spider")
    module = path.stem
    sys.path.insert(0, str(path.parent.resolve()))
    load_script(module, str(path))
    classes = [
        each
        for each in vars(sys.modules[module]).values()
        if isinstance(each, type) and issubclass(each, Spider) and each.__module__ == module
    ]
    spiders = {str(each.name): each for each in classes if getattr(each, "name", None)}
    if not spiders:
        unnamed = f"; {classes[0].__name__} has no name: give it one, name = 'quotes'" if classes else ""
        raise ConfigError(f"{file} holds no spider{unnamed or ', no class that inherits from worklist.crawl.Spider'}")
    if name is None and len(spiders) == 1:
        return next(iter(spiders.values()))
    if name is None:
        raise ConfigError(f"{file} holds the spiders {', '.join(spiders)}; name one: worklist crawl {file} NAME")
    if name not in spiders:
        raise ConfigError(f"{file} holds no spider {name!r}{did_you_mean(name, spiders)}; it has {', '.join(spiders)}")
    return spiders[name]


def _pairs(given: tuple[str, ...], option: str, example: str) -> Iterator[tuple[str, str]]:
    for each in given:
        key, sign, value = each.partition("=")
        if not key or not sign:
            raise click.UsageError(f"{option} is {each!r}; expected a name and a value, such as {option} {example}")
        yield key.strip(), value


def _value(text: str) -> Any:
    """Read a number, a truth, a list or a dict as JSON; anything else is text."""
    try:
        return json.loads(text.lower() if text in {"True", "False"} else text)
    except ValueError:
        return None if text == "None" else text


@contextlib.contextmanager
def _logging(level: str, file: str | None) -> Iterator[None]:
    """Show what the crawl logs, above the progress line where there is one, or write it to a file."""
    screen = console(stderr=True)
    handler: logging.Handler
    if file is None and screen.is_terminal:
        handler = RichHandler(console=screen, show_path=False, rich_tracebacks=False, markup=False)
    else:
        try:
            handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
        except OSError as error:
            raise ConfigError(f"LOG_FILE is {file!r}, which cannot be written: {error}") from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(before)


async def _run(crawler: Any, arguments: dict[str, str]) -> int:
    loop = asyncio.get_running_loop()
    asked = 0

    def interrupt() -> None:
        nonlocal asked
        asked += 1
        if crawler.engine is None:
            raise KeyboardInterrupt
        crawler.engine.close_spider(reason="shutdown")
        if asked > 1:
            crawler.engine.hurry()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    watching = asyncio.ensure_future(_watch(crawler))
    try:
        await crawler.crawl(**arguments)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    _say_end(crawler)
    if asked:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if _went_wrong(crawler.stats.get_stats()) else 0


def _went_wrong(stats: dict[str, Any]) -> bool:
    raised = stats.get("spider_exceptions/count", 0) + stats.get("item_error_count", 0)
    nothing = stats.get("crawl/failed_count", 0) and not stats.get("response_received_count", 0)
    return bool(raised or nothing or stats.get("finish_reason") in {"browser_missing", "feed_failed"})


async def _watch(crawler: Any) -> None:
    """Keep the progress line up to date, where stderr is a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        return
    begun, last, pages, rate = time.monotonic(), time.monotonic(), 0, 0.0
    with Live(Text("starting"), console=screen, refresh_per_second=4, transient=True) as live:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if crawler.engine is None:
                continue
            now, count = time.monotonic(), crawler.stats.get_value("response_received_count", 0)
            rate = (rate + (count - pages) / (now - last)) / 2 if pages else count / (now - begun)
            last, pages = now, count
            live.update(Text(await asyncio.to_thread(progress_line, crawler, rate)))


def progress_line(crawler: Any, rate: float) -> str:
    """Return how far a crawl is, in one line."""
    stats = crawler.stats.get_value
    group = crawler.app.load_group(crawler.engine.frontier.group)
    errors = stats("crawl/failed_count", 0) + stats("spider_exceptions/count", 0) + stats("item_error_count", 0)
    means = [(total / count, host) for host, (count, total) in [*crawler.engine.latencies.items()]]
    slowest = sorted(means, reverse=True)
    hosts = ", ".join(f"{host} {spelt_seconds(seconds)}" for seconds, host in slowest[:_SLOW_HOSTS])
    return (
        f"{stats('response_received_count', 0):,} pages · {rate:,.0f}/s · {group.waiting if group else 0:,} queued · "
        f"{stats('item_scraped_count', 0):,} items · {errors:,} errors · {spelt_size(crawler.engine.downloader.bytes)}"
        + (f" · slowest: {hosts}" if hosts else "")
    )


def spelt_size(count: float) -> str:
    """Return bytes as a person would say them."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GB"


def _say_end(crawler: Any) -> None:
    stats = crawler.stats.get_stats()
    lines = "\n".join(f"  {name}: {value}" for name, value in sorted(stats.items()))
    sys.stderr.write(f"crawl of {crawler.spider.name!r} ended ({stats.get('finish_reason')}):\n{lines}\n")
    if crawler.resumed and not stats.get("downloader/request_count"):
        sys.stderr.write("nothing was left to do: this crawl had ended; --restart begins anew\n")
    if stats.get("finish_reason") != "finished" and crawler.crawl_id:
        sys.stderr.write("what is queued is kept: start it again in the same way to go on\n")
