"""The web sites that crawls are measured on, written anew for each run and always the same, and the server of them.

One nginx with one worker process serves them all on one port of the loopback addresses, and logs each request: what a
crawl did is read from that log, so no crawler is trusted with its own figures.
"""

import contextlib
import os
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.systems import servers

PAGES = int(os.environ.get("BENCH_PAGES", "5000"))
"""Fewer only show that everything runs."""
LINKS = 40
PAGE_BYTES = 15_000
HOSTS = 1_000
HOST_PAGES = 10
"""Pages of each of the thousand hosts."""
LISTS = 1_000
LIST_LINKS = 1_000
"""Links of each page of the site whose crawl has a million URLs queued."""
DOCS = Path("/usr/share/doc/python3.11/html")
"""The HTML that Debian's package python3.11-doc installs."""
WORDS = ("worker", "queue", "lease", "page", "crawl", "frontier", "polite", "host", "delay", "result", "batch", "retry",
         "settle", "follow", "durable", "index", "table", "spider", "item", "link", "title", "response", "request",
         "memory", "server", "process", "thread", "cursor", "column", "window", "signal")  # fmt: skip

CONFIG = """
{user}
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  log_format one '$msec $server_addr $request_uri';
  access_log {folder}/access.log one buffer=64k flush=100ms;
  client_body_temp_path {folder}/tmp1; proxy_temp_path {folder}/tmp2; fastcgi_temp_path {folder}/tmp3;
  uwsgi_temp_path {folder}/tmp4; scgi_temp_path {folder}/tmp5;
  types {{ text/html html; text/css css; text/javascript js; text/plain txt; image/png png; }}
  default_type application/octet-stream;
  sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 300s;
  open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s;
  server {{
    {listen}
    location / {{ root {folder}/site; }}
    location /q/ {{ try_files /none /page.html; root {folder}/site; }}
    location /docs/ {{ alias {docs}/; }}
  }}
}}
"""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Write the sites and serve them; $BENCH_SITE is the address of the first host."""
    write(folder / "site")
    port = servers.free_port()
    listen = "\n    ".join(f"listen {host}:{port} backlog=1024;" for host in hosts(HOSTS))
    user = "user root;" if os.getuid() == 0 else ""  # its worker has to read a folder that is this user's alone
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, user=user, listen=listen, docs=DOCS, files=_most_files()))
    command = [servers.program("nginx"), "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    url = f"http://{servers.HOST}:{port}"
    with servers.process(command, folder / "output") as process:
        servers.until(lambda: servers.listens(port), process, "nginx", folder / "error.log")
        with servers.published(BENCH_SITE=url, BENCH_SITE_FOLDER=str(folder)):
            yield


def _most_files() -> int:
    """A thousand sockets listen and as many are open. The soft limit is raised, for the crawlers as well."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def hosts(count: int) -> list[str]:
    """Loopback addresses, the first of which is the usual one."""
    return [servers.HOST, *(f"127.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(1, count))]


def write(folder: Path) -> None:
    """The site of 5,000 pages lies under /p/, the hosts' under /h/, the lists of links under /m/; /q/ is one page."""
    for part in ("p", "h", "m"):
        (folder / part).mkdir(parents=True)
    for number in range(PAGES):
        targets = links_of(number)
        (folder / "p" / f"{number}.html").write_text(page(number, [f"/p/{target}.html" for target in targets]))
    for number in range(HOST_PAGES):
        others = [f"/h/{other}.html" for other in range(HOST_PAGES)]
        (folder / "h" / f"{number}.html").write_text(page(number, others, 2_000))
    for number in range(LISTS):
        links = [f"/q/{number}-{link}.html" for link in range(LIST_LINKS)]
        (folder / "m" / f"{number}.html").write_text(page(number, links, 0))
    (folder / "page.html").write_text(page(0, [], 1_000))


def links_of(number: int) -> list[int]:
    """To the next page, so that all can be reached, and to others at random, of which most are seen already."""
    draw = random.Random(number)
    return [(number + 1) % PAGES, *(draw.randrange(PAGES) for _ in range(LINKS - 1))]


def page(number: int, links: list[str], size: int = PAGE_BYTES) -> str:
    draw = random.Random(-number - 1)
    lines = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">', f"<title>Page {number}</title>"]
    lines.append('</head><body><div id="content"><h1>A page of the benchmark</h1>')
    lines += [f'<li class="link"><a href="{link}">{draw.choice(WORDS)} {draw.choice(WORDS)}</a></li>' for link in links]
    used = sum(len(line) + 1 for line in lines)
    while used < size:
        words = " ".join(draw.choices(WORDS, k=40))
        lines.append(f'<p class="text">{words} <b>{draw.choice(WORDS)}</b></p>')
        used += len(lines[-1]) + 1
    return "\n".join([*lines, "</div></body></html>"])
