"""A real headless Chromium renders pages of a local server: what needs it, what it may do, and that nothing leaks."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from worklist.crawl import Request, browser
from worklist.crawl.rendering import PageMethod, needs_script
from worklist.crawl.response import HtmlResponse

from .browser_site import add_pages
from .site import running
from .test_crawl import crawler

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not shutil.which("chromium"), reason="needs Chromium: apt-get install chromium"
)
ONSITE = {"allowed_domains": ["127.0.0.1"]}


@pytest.fixture
def site():
    with running(more=add_pages) as it:
        yield it


def ask(site, *paths, settings=None, methods=None, browser=True, **options):
    """Crawl these paths with a browser; return statistics and what callbacks got by path."""
    asked = [
        Request(site.url + path, meta={"browser": browser}, errback="failed") if isinstance(path, str) else path
        for path in paths
    ]
    before = children()
    done, got = crawler(site, asked, {**ONSITE, **(methods or {})}, settings, **options)
    assert done.stats.get_value("browser/context_count/open", 0) == 0, "a context was left open"
    assert children() <= before, "a process of the browser was left"
    return done.stats.get_stats(), {(getattr(each, "request", each)).url.removeprefix(site.url): each for each in got}


def children() -> set[tuple[str, str]]:
    """Return number and name of this process' children: the browser's are among them, servers of other tests too."""
    line = ["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="]
    lines = subprocess.run(line, capture_output=True, text=True, check=False).stdout.splitlines()
    numbered = (tuple(line.split(maxsplit=1)) for line in lines)
    return {(pid, name) for pid, name in numbered if name not in ("ps", "python", "python3")}


def test_a_page_that_needs_javascript(site):
    stats, got = ask(site, "/app", "/page/2", "/status/404", "/binary")
    assert got["/app"].css(".quote::text").getall() == ["To be", "or not"]
    assert got["/app"].flags == ["rendered"]
    assert got["/app"].follow(got["/app"].css("a")[0]).url == f"{site.url}/page/1"
    assert site.count("/app") == 1, "the document is asked for once"
    assert site.count("/api/quotes") == 1
    assert got["/status/404"].check("HttpError")
    assert "rendered" not in got["/binary"].flags
    assert stats["browser/page_count"] == 2
    assert stats["browser/started_count"] == 1


def test_without_it_the_page_is_empty(site):
    _, got = ask(site, "/app", browser=False)
    assert got["/app"].css(".quote") == []


def test_actions_waits_and_pictures(site, tmp_path):
    wish = {
        "wait": "button",
        "actions": [["click", "button"], PageMethod("wait_for_selector", "#more", state="visible"), PageMethod(
            "evaluate", "n => n + 1", 41)],
        "screenshot": True,
    }  # fmt: skip
    _, got = ask(site, "/app", browser=wish)
    assert got["/app"].css("#more::text").get() == "more"
    assert got["/app"].meta["browser_results"] == [None, None, 42]
    assert got["/app"].meta["screenshot"].startswith(b"\x89PNG")
    picture = tmp_path / "page.png"
    ask(site, "/app", browser={"screenshot": str(picture)})
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_auto_renders_what_looks_empty_alone(site):
    stats, got = ask(site, *[Request(f"{site.url}{path}") for path in ("/app", "/page/2", "/page/3")],
                     settings={"BROWSER": "auto"})  # fmt: skip
    assert got["/app"].css(".quote::text").getall() == ["To be", "or not"]
    assert stats["browser/page_count"] == 1
    assert stats["browser/not_needed_count"] == 2
    assert site.count("/app") == 1


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ("<body><div id=root></div><script src=a.js></script></body>", True),
        ("<body><app-root></app-root><script src=a.js></script></body>", True),
        ("<body><p>Loading</p><script>x()</script></body>", True),
        ("<body><p>Short, and no script</p></body>", False),
        (f"<body><p>{'word ' * 60}</p><script>x()</script></body>", False),
        (f"<body><div id=root>{'word ' * 60}</div><script>x()</script></body>", False),
        (f"<body>{'<a href=x>1</a>' * 5}<script>x()</script></body>", False),
        (f"<body><p>{'word ' * 60}</p><div id=app></div><script>x()</script></body>", True),
        ("", False),
    ],
)
def test_what_looks_empty(body, needs):
    assert needs_script(HtmlResponse("http://a.test/", body=body.encode())) is needs


def test_robots_txt_and_allowed_domains_hold_in_the_browser(site):
    site.robots = "User-agent: *\nDisallow: /private/\nDisallow: /page/3\n"
    stats, got = ask(site, "/nosy", "/away", "/onward", "/page/3")
    assert site.count("/private/x") == 0
    assert site.count("/api/quotes") == 1
    assert site.count("/page/3") == 0
    assert site.count("/robots.txt") == 1
    assert got["/page/3"].check("IgnoreRequest")
    assert "location = " in got["/away"].text, "the page that was to be left is there"
    assert stats["browser/request_count/aborted"] >= 3


def test_cookies_go_in_and_come_back(site):
    def parse(self, response):
        got.append(response.css("#root::text").get())
        yield Request(f"{site.url}/echo", callback=self.echo)

    def echo(self, response):
        got.append(response.json()["cookies"])

    got = []
    request = Request(f"{site.url}/cookies", cookies={"mine": "1"}, meta={"browser": True})
    ask(site, request, methods={"parse": parse, "echo": echo})
    assert got == ["mine=1", {"mine": "1", "fresh": "2"}]


def test_limits_hold_and_others_go_on(site):
    begun = time.monotonic()
    settings = {"DOWNLOAD_TIMEOUT": 8, "RETRY_TIMES": 0, "DOWNLOAD_MAXSIZE": 1_000_000, "BROWSER_IDLE_TIMEOUT": 0.5,
                "PLAYWRIGHT_MAX_CONTEXTS": 2}  # fmt: skip
    stats, got = ask(site, "/busyscript", "/grows", "/large", "/never", "/app", settings=settings)
    assert got["/busyscript"].check("DownloadTimeout")
    assert "/busyscript was not rendered within" in str(got["/busyscript"].value)
    assert got["/grows"].check("BodyTooLarge")
    assert got["/large"].check("BodyTooLarge")
    assert got["/never"].flags == got["/app"].flags == ["rendered"]
    assert stats["browser/context_count/max"] <= 2
    assert time.monotonic() - begun < 60


def test_redirects_and_retries(site):
    _, got = ask(site, "/redirect/1", "/flaky/b", settings={"RETRY_TIMES": 3})
    assert got["/page/1"].flags == ["rendered"]
    assert site.count("/flaky/b") == 3


@pytest.fixture
def short_folder(monkeypatch):
    """Have a browser that is killed leave its profile in a folder that goes, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="wl-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield folder


def test_a_browser_that_dies_is_started_again(site, short_folder):
    def parse(self, response):
        pids = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False).stdout
        for driver in pids.split():
            below = subprocess.run(["pgrep", "-P", driver], capture_output=True, text=True, check=False).stdout
            for pid in below.split():
                os.kill(int(pid), 9)
        yield Request(f"{site.url}/app", callback=self.second, meta={"browser": True})

    def second(self, response):
        seen.extend(response.css(".quote::text").getall())

    seen = []
    stats, _ = ask(site, "/page/1", methods={"parse": parse, "second": second})
    assert seen == ["To be", "or not"]
    assert stats["browser/started_count"] >= 2


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"actoins": []}, "did you mean 'actions'"),
        ({"actions": [["clik", "a"]]}, "did you mean 'click'"),
        ({"actions": [7]}, 'such as ["click", "#more"]'),
        ({"context": "mobile"}, "no context 'mobile'"),
        ({"wait": "#nowhere"}, "#nowhere"),
        (3, 'expected True, False, "auto" or a dict'),
    ],
)
def test_what_is_wrong_is_said(site, wish, says):
    _, got = ask(site, "/app", browser=wish, settings={"DOWNLOAD_TIMEOUT": 8, "RETRY_TIMES": 0})
    assert says in str(got["/app"].value)
    assert "/app" in str(got["/app"].value) or "context" in str(got["/app"].value)


SPIDER = """
from worklist.crawl import Request, Spider

class App(Spider):
    name = "app"
    allowed_domains = ["127.0.0.1"]
    base = ""

    def start_requests(self):
        yield Request(self.base + "/app", meta={"browser": True})

    def parse(self, response):
        yield {"quotes": response.css(".quote::text").getall()}
"""


def start(site, folder, missing, environment=None):
    hidden = "import sys; sys.modules['playwright'] = None; " if missing == "playwright" else ""
    (folder / "spider.py").write_text(SPIDER)
    line = [sys.executable, "-c", f"{hidden}from worklist.cli import main; main()", "crawl", "spider.py"]
    line += ["-a", f"base={site.url}", "--job", "app", "-o", "items.jsonl", "--loglevel", "warning"]
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_what_is_missing_is_said_once_and_the_page_stays_in_the_queue(site, tmp_path):
    done = start(site, tmp_path, "playwright")
    assert done.returncode == 1
    assert done.stderr.count("pip install 'worklist[browser]'") == 1
    assert "Traceback" not in done.stderr
    nowhere = {"PATH": "/nonexistent", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    done = start(site, tmp_path, "chromium", nowhere)
    assert done.returncode == 1
    assert done.stderr.count("apt-get install chromium") == 1
    done = start(site, tmp_path, None)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "items.jsonl").read_text() == '{"quotes":["To be","or not"]}\n'


def test_a_proxy_with_a_login():
    assert browser._proxy("http://me:secret@p.test:1") == {
        "server": "http://p.test:1",
        "username": "me",
        "password": "secret",
    }
