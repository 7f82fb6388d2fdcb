"""Download the files that an item names, and note in the item where they lie.

The item's `file_urls` are asked for through the crawl's own downloader, with its delays and retries; `files` tells of
each its `url`, `path`, `checksum` and `status` (`downloaded`, or `uptodate` where a young enough copy was there).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mimetypes
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from ...core.errors import ConfigError
from ..exceptions import DownloadError, Failure, IgnoreRequest
from ..items import ItemAdapter
from ..request import NO_CALLBACK, Request
from ..response import Response

logger = logging.getLogger("worklist.crawl")
_DAY = 86400.0


class FileStore:
    """Files in a folder. A file is written aside and renamed: whoever sees it sees it whole."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder.removeprefix("file://"))

    def persist(self, path: str, data: bytes) -> None:
        """Write a file."""
        target = self._inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}.part")
        aside.write_bytes(data)
        aside.replace(target)

    def stat(self, path: str) -> tuple[float, str] | None:
        """Return the age in seconds and the MD5 of a file; None where there is none."""
        target = self._inside(path)
        try:
            data = target.read_bytes()
            return time.time() - target.stat().st_mtime, _checksum(data)
        except OSError:
            return None

    def _inside(self, path: str) -> Path:
        target = (self.folder / path).resolve()
        if not target.is_relative_to(self.folder.resolve()):
            raise ValueError(f"file_path() gave {path!r}, which is outside of {self.folder}")
        return target


def _checksum(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class FilesPipeline:
    """Downloads the URLs in `file_urls` into FILES_STORE.

    Made to be overridden: `get_media_requests`, `file_path`, `item_completed`.
    """

    prefix = "FILES"
    urls_field = "file_urls"
    result_field = "files"

    def __init__(self, store: FileStore, settings: Any, crawler: Any) -> None:
        self.store = store
        self.crawler = crawler
        self.expires = settings.getfloat(f"{self.prefix}_EXPIRES", 90.0)  # days
        self.urls_field = settings.get(f"{self.prefix}_URLS_FIELD", self.urls_field)
        self.result_field = settings.get(f"{self.prefix}_RESULT_FIELD", self.result_field)
        self._under_way: dict[str, asyncio.Future[dict[str, Any]]] = {}

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        """Make it. Raises ConfigError where the setting FILES_STORE (IMAGES_STORE) is missing."""
        where = crawler.settings.get(f"{cls.prefix}_STORE")
        if not where:
            raise ConfigError(f"{cls.__name__} needs the setting {cls.prefix}_STORE, the folder for what it downloads")
        scheme = urlsplit(str(where)).scheme
        if len(scheme) > 1 and scheme != "file":
            raise ConfigError(f"{cls.prefix}_STORE is {str(where)!r}; expected a folder of this machine")
        return cls(FileStore(str(where)), crawler.settings, crawler)

    # -- what users override ----------------------------------------------------------------------------------------

    def get_media_requests(self, item: Any, info: Any = None) -> Iterable[Request]:
        """Give the requests for the files of an item."""
        urls = ItemAdapter(item).get(self.urls_field) or []
        if isinstance(urls, str):
            raise TypeError(f"{self.urls_field} of an item is text; expected a list of URLs: [{urls!r}]")
        return [Request(url, callback=NO_CALLBACK) for url in urls]

    def file_path(self, request: Request, response: Any = None, info: Any = None, *, item: Any = None) -> str:
        """Give the path of a file within the store: by default full/<SHA-1 of the URL>.<ending>."""
        name = hashlib.sha1(request.url.encode(), usedforsecurity=False).hexdigest()
        ending = os.path.splitext(urlsplit(request.url).path)[1]
        if ending.lower() not in mimetypes.types_map:
            ending = mimetypes.guess_extension(mimetypes.guess_type(request.url)[0] or "") or ""
        return f"full/{name}{ending}"

    def item_completed(self, results: list[tuple[bool, Any]], item: Any, info: Any = None) -> Any:
        """Note in the item what was downloaded; `results` are pairs of success and facts, or the Failure."""
        adapter = ItemAdapter(item)
        if self.result_field in adapter.field_names() or isinstance(item, dict):
            adapter[self.result_field] = [facts for fine, facts in results if fine]
        return item

    def media_downloaded(self, response: Response, request: Request, info: Any = None, *, item: Any = None) -> str:
        """Store a file; give its checksum."""
        self.store.persist(self.file_path(request, response, info, item=item), response.body)
        return _checksum(response.body)

    # -- the work ---------------------------------------------------------------------------------------------------

    async def process_item(self, item: Any, spider: Any) -> Any:
        """Download the files of an item, all at once."""
        requests = list(self.get_media_requests(item, self) or [])
        results = await asyncio.gather(*(self._result(request, item) for request in requests))
        return self.item_completed(results, item, self)

    async def _result(self, request: Request, item: Any) -> tuple[bool, Any]:
        try:
            return True, await self._once(request, item)
        except (DownloadError, IgnoreRequest, OSError, ValueError) as error:
            logger.warning("%s could not be had for an item: %s", request.url, error)
            self.crawler.stats.inc_value("file_status_count/failed")
            return False, Failure(error, request)

    async def _once(self, request: Request, item: Any) -> dict[str, Any]:
        """Download a file; whoever wants it at the same time waits for the same download."""
        running = self._under_way.get(request.url)
        if running is None:
            running = asyncio.ensure_future(self._facts(request, item))
            self._under_way[request.url] = running
            running.add_done_callback(lambda _: self._under_way.pop(request.url, None))
        return dict(await asyncio.shield(running))

    async def _facts(self, request: Request, item: Any) -> dict[str, Any]:
        path = self.file_path(request, None, self, item=item)
        known = self.store.stat(path)
        if known is not None and known[0] < self.expires * _DAY:
            self.crawler.stats.inc_value("file_status_count/uptodate")
            return {"url": request.url, "path": path, "checksum": known[1], "status": "uptodate"}
        response = await self.crawler.engine.download(request)
        if response.status != 200 or not response.body:
            raise DownloadError(f"the server answered {response.status} with {len(response.body)} bytes")
        checksum = self.media_downloaded(response, request, self, item=item)
        self.crawler.stats.inc_value("file_status_count/downloaded")
        path = self.file_path(request, response, self, item=item)
        return {"url": request.url, "path": path, "checksum": checksum, "status": "downloaded"}
