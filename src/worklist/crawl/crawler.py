"""A crawl put together: spider, settings, statistics, signals, queue. `crawl` and `run_crawl` start one from code."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..app import Worklist
from ..core.errors import ConfigError
from ..core.job import GroupId, new_group_id
from .engine import Engine
from .fingerprint import fingerprint
from .frontier import Frontier
from .presence import present
from .settings import TABLE, WITHOUT_EFFECT, Settings
from .signals import SignalManager
from .spider import Spider
from .stats import StatsCollector

logger = logging.getLogger("worklist.crawl")
__all__ = ["TABLE", "WITHOUT_EFFECT", "Crawler", "crawl", "make_crawler", "run_crawl"]
JOB_FOLDER = ".worklist"
LEASE = 15.0
"""Seconds after which the pages of a process that was killed are due again, where others are at work on the crawl."""


class Fingerprinter:
    """What tells whether two requests are the same."""

    def fingerprint(self, request: Any) -> bytes:
        """Return the key of a request."""
        return bytes.fromhex(fingerprint(request))


class Crawler:
    """One crawl of one spider. `url` says where its requests wait; `job` names it, so that it can be gone on with.

    `restart`: where the crawl of this name has ended, a new one begins. Without it nothing is left to do then.
    `join`: help with what another process began, without running the spider's start.
    """

    def __init__(
        self,
        spidercls: type[Spider],
        settings: Settings | Mapping[str, Any] | None = None,
        *,
        url: str | None = None,
        job: str | None = None,
        restart: bool = False,
        join: bool = False,
    ) -> None:
        if join and (restart or not (url or job)):
            raise ConfigError("join helps with a crawl under way; expected its job or url, and no restart")
        if url is not None and job is not None and url.startswith("memory:"):
            raise ConfigError(f"job is {job!r}, but what lies in memory cannot be gone on with; leave out the url")
        self.spidercls = spidercls
        self.settings = settings if isinstance(settings, Settings) else Settings(settings, "cmdline")
        self.stats = StatsCollector()
        self.signals = SignalManager()
        self.request_fingerprinter = Fingerprinter()
        self.url = url or (job_url(job) if job else "memory://")
        self.job = job
        self.restart = restart
        self.join = join
        self.crawl_id: str | None = None
        """Which crawl this is, where it can be gone on with; None: it lies in memory."""
        self.resumed = False
        """Whether it goes on with what a process before it began."""
        self.over = False
        """Whether it had ended before this process began, so that nothing is left to do."""
        self.spider: Any = None
        self.engine: Any = None
        self.on_progress: Callable[[Crawler], None] | None = None

    @property
    def extensions(self) -> list[Any]:
        """The extensions of the crawl."""
        return list(self.engine.extensions) if self.engine is not None else []

    async def crawl(self, *args: Any, **kwargs: Any) -> Crawler:
        """Crawl until nothing is left to do; `kwargs` are the spider's arguments. Returns itself."""
        self.spidercls.update_settings(self.settings)
        self.settings.warn_unknown()
        self.spider = self.spidercls.from_crawler(self, *args, **kwargs)
        with Worklist(self.url) as app, self._present(app):
            app.environment.log_level = None
            group = self._group(app)
            queue = self._queue() if self.crawl_id else "crawl"
            self.engine = Engine(self, app, Frontier(self.settings, self.spider, group, queue), LEASE)
            self.app = app
            begun = dt.datetime.now(dt.UTC)
            self.stats.set_value("start_time", begun)
            try:
                reason = await self.engine.run()
                self.stats.set_value("finish_reason", reason)
            finally:
                ended = dt.datetime.now(dt.UTC)
                self.stats.set_value("finish_time", ended)
                self.stats.set_value("elapsed_time_seconds", (ended - begun).total_seconds())
        return self

    def _present(self, app: Worklist) -> AbstractContextManager[None]:
        """Return what is entered while it runs. Where no other process crawls, what such held is due again at once."""
        store: Any = app.store
        if not hasattr(store, "let_lapse"):  # no file, so others may be on other machines
            return nullcontext()
        return present(store.path.with_suffix(".lock"), lambda: store.let_lapse(self._queue()))

    def _queue(self) -> str:
        return f"crawl-{self._name()}"

    def _name(self) -> str:
        return re.sub(r"[^A-Za-z0-9_.\-]", "-", Path(self.job).stem if self.job else self.spider.name)[:100]

    def _group(self, app: Worklist) -> GroupId:
        """Return the group of this crawl: the last one of its name, or a new one where there is none to go on with."""
        if not app.capabilities.durable:
            return new_group_id()
        number = 1
        while (record := app.load_group(f"gcrawl-{self._name()}-{number}")) is not None:
            following = app.load_group(f"gcrawl-{self._name()}-{number + 1}")
            if following is None and (record.ended is None or not self.restart):
                break
            number += 1
        if self.join and (record is None or record.ended is not None):
            raise ConfigError(
                f"no crawl named {self._name()!r} is under way on {app.place.shown}; begin it first, without join"
            )
        self.resumed = record is not None
        self.over = record is not None and record.ended is not None
        self.crawl_id = f"gcrawl-{self._name()}-{number}"
        return self.crawl_id


def job_url(job: str) -> str:
    """Return where the crawl of this name lies: a SQLite file, in the folder .worklist unless the name is a path."""
    path = Path(job)
    if path.suffix not in {".db", ".sqlite"}:
        path = path.with_name(f"{path.name}.db")
    if path.parent == Path():
        path = Path(JOB_FOLDER) / path
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"


def make_crawler(
    spidercls: type[Spider],
    *,
    url: str | None = None,
    job: str | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | list[str] | None = None,
    restart: bool = False,
    join: bool = False,
) -> Crawler:
    """Return a crawler; `output` names files or tables for its items, whose endings say the format."""
    own = dict(settings or {})
    if output:
        names = output if isinstance(output, list) else [str(output)]
        own["FEEDS"] = {**{name: {} for name in names}, **own.get("FEEDS", {})}
    return Crawler(spidercls, own, url=url, job=job, restart=restart, join=join)


async def crawl(
    spidercls: type[Spider],
    *,
    url: str | None = None,
    job: str | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | list[str] | None = None,
    restart: bool = False,
    join: bool = False,
    **arguments: Any,
) -> Crawler:
    """Crawl, on this event loop, until nothing is left to do; return the crawler, whose `stats` tell how it went.

    In memory; with `job` in a file, so that it can be gone on with after any end; with `url` in any broker, where
    several processes share it; a crawl that has ended begins anew with `restart` alone. `join` helps with one that
    another process began.
    `arguments` are the spider's.
    """
    crawler = make_crawler(spidercls, url=url, job=job, settings=settings, output=output, restart=restart, join=join)
    return await crawler.crawl(**arguments)


def run_crawl(spidercls: type[Spider], **options: Any) -> Crawler:
    """Do what `crawl` does, from code without an event loop."""
    return asyncio.run(crawl(spidercls, **options))
