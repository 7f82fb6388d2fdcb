"""The end of the demo: the standard library as a site on this machine, and a crawl of it.

Each source file is a page with its number of lines and links to what it imports; the front page links to all. One page
is forbidden by the site's robots.txt. The spider follows every link, and yields an item for each module.
"""

import html
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

MOST_PAGES = 400
IMPORT = re.compile(r"^(?:from|import) ([\w.]+)", re.MULTILINE)
ROBOTS = "User-agent: *\nDisallow: /private/\n"


def crawl_library(console: Console, library: Path, files: Sequence[Path]) -> int:
    """Serve these files, crawl them, and print what came of it; return the exit code."""
    try:
        from worklist.crawl import Spider, run_crawl  # noqa: PLC0415 - an extra
    except ImportError as error:
        console.print(f"  no crawl: it needs {error.name}; pip install 'worklist[crawl]'", style="yellow")
        return 0

    class Library(Spider):
        name = "library"
        allowed_domains = ("127.0.0.1",)

        def parse(self, response: Any, **kwargs: Any) -> Iterator[Any]:
            if lines := response.css("b.lines::text").get():
                yield {"module": response.css("h1::text").get(), "lines": int(lines)}
            yield from response.follow_all(css="a")

    pages = pages_of(library, files[:MOST_PAGES])
    with served(pages) as url, tempfile.TemporaryDirectory(prefix="worklist-demo-") as folder:
        feed = Path(folder) / "modules.jsonl"
        console.print(Text(f"\n  The same library as a site of {len(pages):,} pages on this machine, crawled", "bold"))
        done = run_crawl(Library, start_urls=[f"{url}/"], output=feed, settings={"LOG_LEVEL": "ERROR"})
        return say(console, done.stats.get_stats(), len(feed.read_text().splitlines()), len(pages))


def say(console: Console, stats: dict[str, Any], items: int, pages: int) -> int:
    """Print the summary; return 0 where every page was fetched and every item is in the feed."""
    count = {name: stats.get(name, 0) for name in ("response_received_count", "dupefilter/filtered")}
    fetched, seconds = count["response_received_count"], stats["elapsed_time_seconds"]
    errors = stats.get("spider_exceptions/count", 0) + stats.get("crawl/failed_count", 0)
    line = Text()
    line.append(f"{fetched:,} pages", "bold green" if fetched == pages else "bold red")
    line.append(f" in {seconds:.1f} s, {fetched / seconds:,.0f}/s; {items:,} items in a feed of lines of JSON; ")
    line.append(f"{count['dupefilter/filtered']:,} links that had been seen; ")
    line.append(f"{stats.get('robotstxt/forbidden', 0)} forbidden by robots.txt; ")
    line.append(f"{errors} errors", "red" if errors else "green")
    console.print(Padding(line, (0, 0, 0, 2)))
    return 0 if fetched == pages == items + 1 and not errors else 1


def pages_of(library: Path, files: Sequence[Path]) -> dict[str, str]:
    """Return the pages of the site by their paths."""
    names = {
        ".".join(file.relative_to(library).with_suffix("").parts).removesuffix(".__init__"): file for file in files
    }
    links = "".join(f'<a href="/{name}">{name}</a> ' for name in names)
    pages = {"/": f'<h1>Library</h1>{links}<a href="/private/diary">private</a>'}
    for name, file in names.items():
        text = file.read_text(encoding="utf-8", errors="replace")
        imported = "".join(f'<a href="/{each}">{each}</a> ' for each in IMPORT.findall(text) if each in names)
        lines = text.count("\n")
        pages[f"/{name}"] = f'<h1>{html.escape(name)}</h1><b class="lines">{lines}</b>{imported}<a href="/">all</a>'
    return pages


@contextmanager
def served(pages: dict[str, str]) -> Iterator[str]:
    """Serve pages on a free port of this machine until the block ends; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            known = ROBOTS if self.path == "/robots.txt" else pages.get(self.path)
            body = (known or "<h1>nothing here</h1>").encode()
            self.send_response(200 if known is not None else 404)
            self.send_header("Content-Type", "text/plain" if self.path == "/robots.txt" else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
