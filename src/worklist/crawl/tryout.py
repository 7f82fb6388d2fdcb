"""Single requests without a queue: for `worklist shell`, `fetch`, `view`, `parse` and `check`.

A request goes through the spider's own settings and downloader middlewares, so that a page looks as it does in a crawl;
redirects are followed at once. Nothing is remembered, and no host has a clock: this is for trying things out by hand.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from ..core.errors import ConfigError, did_you_mean
from .chain import DownloaderChain, components
from .crawler import Crawler
from .downloader import Downloader
from .exceptions import IgnoreRequest
from .request import NO_CALLBACK, Request
from .response import Response
from .settings import Settings
from .signals import SignalManager, spider_closed
from .spider import Spider
from .stats import StatsCollector

_MOST_HOPS = 20


class AnySpider(Spider):
    """Stands where a page is fetched without a spider."""

    name = "default"


class Tryout:
    """What stands for a crawler and its engine where single requests are made. Close it when done."""

    def __init__(
        self,
        kind: type[Spider] = AnySpider,
        settings: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = Settings()
        kind.update_settings(self.settings)
        self.settings.setdict(settings or {}, priority="cmdline")
        self.stats = StatsCollector()
        self.signals = SignalManager()
        self.engine = self
        self.spider = kind.from_crawler(cast("Crawler", self), **dict(arguments or {}))
        self._downloader = Downloader(self.settings)
        self._chain = DownloaderChain(components(self, "DOWNLOADER_MIDDLEWARES"), self.spider, self.download_raw)

    async def fetch(self, request: Request | str) -> Response:
        """Download a page, redirects and retries included. Raises what the downloader and the middlewares raise."""
        now = Request(request) if isinstance(request, str) else request
        for _ in range(_MOST_HOPS):
            found = await self._chain.run(now)
            if isinstance(found, Response):
                found.request = now
                return found
            now = found
        raise IgnoreRequest(f"{now.url} is redirected more than {_MOST_HOPS} times")

    download = fetch

    async def download_raw(self, request: Request) -> Response:
        """Download without middlewares."""
        return await self._downloader.fetch(request)

    async def slow_down(self, slot: str, delay: float) -> None:
        """Do nothing: there is no clock."""

    async def pause(self, slot: str, seconds: float) -> None:
        """Do nothing: there is no clock."""

    def failures(self) -> int:
        """Say that this is the last attempt: whoever tries out wants to see the answer, not to wait for another."""
        return self.settings.getint("RETRY_TIMES")

    async def close(self) -> None:
        """Close the connections."""
        await self.signals.send(spider_closed, spider=self.spider, reason="finished")
        await self._downloader.close()

    def method(self, callback: Any) -> Any:
        """Return the method of the spider that a request or a command names. Raises ConfigError for none."""
        name = callback or "parse"
        if callable(name) and name is not NO_CALLBACK:
            return name
        method = getattr(self.spider, str(name), None)
        if not callable(method):
            known = [each for each in dir(self.spider) if not each.startswith("_")]
            raise ConfigError(f"the spider {self.spider.name!r} has no method {name!r}{did_you_mean(str(name), known)}")
        return method


def spider_of(path: str, name: str | None = None) -> type[Spider]:
    """Return the spider of a file, by its name where there are several. Raises ConfigError for what is not there."""
    module = _module(path)
    kinds = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Spider) and each.__module__ == module.__name__
        and getattr(each, "name", None)
    ]  # fmt: skip
    names = [each.name for each in kinds]
    if not kinds:
        raise ConfigError(f"{path} has no spider: a class derived from Spider, with a name")
    if name is None and len(kinds) > 1:
        raise ConfigError(f"{path} has several spiders; say which by --spider: {', '.join(names)}")
    for kind in kinds:
        if name in {None, kind.name}:
            return kind
    raise ConfigError(f"{path} has no spider {name!r}{did_you_mean(str(name), names)}; it has {', '.join(names)}")


def _module(path: str) -> ModuleType:
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        raise ConfigError(f"{path!r} is no file of Python; expected the path of a spider, such as quotes.py")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
