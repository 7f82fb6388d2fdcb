"""The loop of the floor: title and all links of every page."""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
from selectolax.lexbor import LexborHTMLParser


async def crawl(starts: Path, items: Path, concurrency: int) -> None:
    urls = starts.read_text().split()
    seen = set(urls)
    waiting: asyncio.Queue[str] = asyncio.Queue()
    for url in urls:
        waiting.put_nowait(url)
    with items.open("w") as file:

        async def fetch_all(session: aiohttp.ClientSession) -> None:
            while True:
                url = await waiting.get()
                async with session.get(url) as response:
                    body = await response.read()
                page = LexborHTMLParser(body)
                title = page.css_first("title")
                file.write(json.dumps({"url": url, "title": title.text() if title else None}) + "\n")
                for link in page.css("a"):
                    target = urljoin(url, link.attributes.get("href") or "")
                    if target not in seen:
                        seen.add(target)
                        waiting.put_nowait(target)
                waiting.task_done()

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
            tasks = [asyncio.create_task(fetch_all(session)) for _ in range(concurrency)]
            await waiting.join()
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    asyncio.run(crawl(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
