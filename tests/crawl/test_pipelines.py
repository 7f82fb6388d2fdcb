"""Pipelines: order, kinds, hooks; files and images from a real server."""

import asyncio
import functools
import hashlib
import http.server
import io
import os
import threading
import types
import urllib.error
import urllib.request
from typing import ClassVar

import pytest
from PIL import Image

from worklist.core.errors import ConfigError
from worklist.crawl.exceptions import DownloadError, DropItem, NotConfigured
from worklist.crawl.media import FilesPipeline, ImagesPipeline
from worklist.crawl.pipelines import ItemPipelines
from worklist.crawl.response import response_for
from worklist.crawl.settings import Settings
from worklist.crawl.stats import StatsCollector


def crawler(**settings):
    return types.SimpleNamespace(settings=Settings(settings), stats=StatsCollector(), spider=SPIDER)


SPIDER = types.SimpleNamespace(name="books")
LOG: list[str] = []


class Sync:
    def process_item(self, item, spider):
        LOG.append(f"sync of {spider.name}")
        return {**item, "sync": True}

    def open_spider(self, spider):
        LOG.append("sync opens")

    def close_spider(self, spider):
        LOG.append("sync closes")


class Async:
    @classmethod
    def from_crawler(cls, crawler):
        pipeline = cls()
        pipeline.word = crawler.settings.get("WORD")
        return pipeline

    async def open_spider(self):
        LOG.append("async opens")

    async def process_item(self, item):
        await asyncio.sleep(0)
        if item.get("bad"):
            raise DropItem("it is bad")
        return {**item, "word": self.word}

    async def close_spider(self, spider):
        LOG.append("async closes")
        raise RuntimeError("cannot close")


class Off:
    def __init__(self):
        raise NotConfigured("no key")


class Forgets:
    def process_item(self, item, spider):
        pass


def test_pipelines_in_their_order():
    async def run():
        LOG.clear()
        pipelines = ItemPipelines.from_crawler(
            crawler(ITEM_PIPELINES={Async: 300, f"{__name__}.Sync": 100, Off: 200, Forgets: None}, WORD="w")
        )
        await pipelines.open(SPIDER)
        assert await pipelines.process({"a": 1}, None, SPIDER) == {"a": 1, "sync": True, "word": "w"}
        with pytest.raises(DropItem, match="it is bad"):
            await pipelines.process({"bad": 1}, None, SPIDER)
        with pytest.raises(RuntimeError, match="cannot close"):
            await pipelines.close(SPIDER)
        return LOG

    assert asyncio.run(run()) == [
        "sync opens", "async opens", "sync of books", "sync of books", "async closes", "sync closes",
    ]  # fmt: skip


def test_a_pipeline_that_forgets_the_item_is_told():
    pipelines = ItemPipelines.from_crawler(crawler(ITEM_PIPELINES={Forgets: 1}))
    with pytest.raises(TypeError, match=r"Forgets.process_item returned None"):
        asyncio.run(pipelines.process({}, None, SPIDER))


def test_a_pipeline_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match=r"'no.such.Pipeline', which cannot be imported"):
        ItemPipelines.from_crawler(crawler(ITEM_PIPELINES={"no.such.Pipeline": 1}))


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"text")
    buffer = io.BytesIO()
    Image.new("RGBA", (60, 40), (255, 0, 0, 0)).save(buffer, "PNG")
    (folder / "a.png").write_bytes(buffer.getvalue())
    (folder / "broken.png").write_bytes(buffer.getvalue()[:50])

    class Handler(http.server.SimpleHTTPRequestHandler):
        seen: ClassVar[list[str]] = []

        def log_message(self, format, *args):
            self.seen.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", seen=Handler.seen)
    server.shutdown()
    server.server_close()


class Engine:
    """The part of the engine that pipelines use, over the standard library's client."""

    async def download(self, request):
        return await asyncio.to_thread(self._get, request)

    def _get(self, request):
        try:
            with urllib.request.urlopen(request.url, timeout=10) as answer:
                return response_for(request, request.url, answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return response_for(request, request.url, error.code, {}, error.read())
        except urllib.error.URLError as error:
            raise DownloadError(str(error.reason)) from None


def test_files(site, tmp_path):
    async def run():
        owner = crawler(FILES_STORE=str(tmp_path / "store"))
        owner.engine = Engine()
        pipeline = FilesPipeline.from_crawler(owner)
        item = {"file_urls": [f"{site.url}/a.txt", f"{site.url}/a.txt", f"{site.url}/none.txt", "http://127.0.0.1:9/x"]}
        await pipeline.process_item(item, SPIDER)
        again = await FilesPipeline.from_crawler(owner).process_item({"file_urls": [f"{site.url}/a.txt"]}, SPIDER)
        return item, again, owner.stats.get_stats()

    item, again, stats = asyncio.run(run())
    path = f"full/{hashlib.sha1(f'{site.url}/a.txt'.encode()).hexdigest()}.txt"
    checksum = hashlib.md5(b"text").hexdigest()
    facts = {"url": f"{site.url}/a.txt", "path": path, "checksum": checksum, "status": "downloaded"}
    assert item["files"] == [facts, facts]
    assert (tmp_path / "store" / path).read_bytes() == b"text"
    assert again["files"] == [{**facts, "status": "uptodate"}]
    assert site.seen.count("/a.txt") == 1
    assert stats == {"file_status_count/downloaded": 1, "file_status_count/failed": 2, "file_status_count/uptodate": 1}


def test_an_old_file_is_fetched_again(site, tmp_path):
    async def run():
        owner = crawler(FILES_STORE=str(tmp_path / "store"), FILES_EXPIRES=1)
        owner.engine = Engine()
        pipeline = FilesPipeline.from_crawler(owner)
        item = await pipeline.process_item({"file_urls": [f"{site.url}/a.txt"]}, SPIDER)
        os.utime(tmp_path / "store" / item["files"][0]["path"], (0, 0))
        return await pipeline.process_item({"file_urls": [f"{site.url}/a.txt"]}, SPIDER)

    assert asyncio.run(run())["files"][0]["status"] == "downloaded"


def test_images(site, tmp_path):
    async def run(**settings):
        owner = crawler(IMAGES_STORE=str(tmp_path / "store"), IMAGES_THUMBS={"small": (30, 30)}, **settings)
        owner.engine = Engine()
        urls = [f"{site.url}/a.png", f"{site.url}/broken.png", f"{site.url}/a.txt"]
        return await ImagesPipeline.from_crawler(owner).process_item({"image_urls": urls}, SPIDER)

    assert asyncio.run(run(IMAGES_MIN_WIDTH=100))["images"] == []
    (image,) = asyncio.run(run())["images"]
    with Image.open(tmp_path / "store" / image["path"]) as big:
        assert (big.size, big.format, big.getpixel((0, 0))) == ((60, 40), "JPEG", (255, 255, 255))
    with Image.open(tmp_path / "store" / image["path"].replace("full", "thumbs/small")) as small:
        assert small.size == (30, 20)


def test_mistakes_of_media_pipelines(tmp_path):
    with pytest.raises(ConfigError, match="FILES_STORE"):
        FilesPipeline.from_crawler(crawler())
    with pytest.raises(ConfigError, match="folder of this machine"):
        FilesPipeline.from_crawler(crawler(FILES_STORE="s3://bucket/x"))
    pipeline = FilesPipeline.from_crawler(crawler(FILES_STORE=str(tmp_path)))
    with pytest.raises(TypeError, match="expected a list"):
        asyncio.run(pipeline.process_item({"file_urls": "http://s/x"}, SPIDER))
    with pytest.raises(ValueError, match="outside of"):
        pipeline.store.persist("../x", b"")
