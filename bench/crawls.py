"""The suite `crawl`: Worklist's crawler beside Scrapy, Crawlee and a bare loop, on sites served by an nginx of the
benchmark's own, see `systems.site`."""

from collections.abc import Iterator

from bench import table
from bench.report import Report
from bench.rows import Case, Contender, Metric, Scale
from bench.systems import site
from bench.table import CHINESE, Words

ROWS = ("site", "durable", "docs", "polite", "million", "kill")
PEERS = ("scrapy", "floor_crawl", "crawlee", "scrapling")
"""The floor is among them since it has an environment of its own."""

US = "worklist_crawl"
RATE = Metric("rate", "pages/s", "页/秒", "pages/s", higher_is_better=True)
CPU = Metric("cpu_ms", "CPU, ms/page", "CPU，毫秒/页", "ms/page")
RSS = Metric("rss_mib", "most memory, MiB", "内存峰值，MiB", "MiB")
PAGES = Metric("pages", "pages", "页数", "pages", is_count=True)
AGAIN = Metric("again", "fetched again", "重复抓取", "again", is_count=True)
FLOOR = "aiohttp + lexbor"


def all_cases(scale: Scale) -> list[Case]:
    """Every case, in the order in which they run and are shown."""
    makers = (_site, _durable, _docs, _polite, _million, _kill)
    return [case for make in makers for case in make(scale)]


def _site(scale: Scale) -> Iterator[Case]:
    for concurrency in (16, 64):
        most = ("--concurrency", str(concurrency))
        contenders = [
            _of(US, "in memory", "crawl", most, "内存中"),
            _of("floor_crawl", FLOOR, "crawl", most),
            _of("scrapy", "tuned for speed", "crawl", (*most, "--mode", "tuned"), "为速度调优"),
            _of("scrapy", "as installed", "crawl", most, "默认设置", rounds=1),
        ]
        if concurrency == 16:
            contenders += [
                _of("crawlee", "ParselCrawler", "crawl", most, rounds=1),
                _of("scrapling", "Spider", "crawl", most, rounds=1),
                _of("wrk", "fetches only", "crawl", most, "只抓取", rounds=1),
            ]
        yield Case(
            row="site",
            key=f"site-{concurrency}",
            title=f"{site.PAGES:,} pages of 15 KiB, {concurrency} at once",
            title_zh=f"{site.PAGES:,} 个 15 KiB 的页面，并发 {concurrency}",
            durability="memory",
            metrics=(RATE, CPU, RSS, PAGES, AGAIN),
            headlines=3,
            contenders=tuple(contenders),
        )


def _durable(scale: Scale) -> Iterator[Case]:
    most = ("--concurrency", "16")
    yield Case(
        row="durable",
        key="durable",
        title=f"{site.PAGES:,} pages of 15 KiB, 16 at once, a crawl that can go on after a stop",
        title_zh=f"{site.PAGES:,} 个 15 KiB 的页面，并发 16，停止后可继续",
        durability="a file",
        metrics=(RATE, CPU, RSS, PAGES, AGAIN),
        headlines=3,
        contenders=(
            _of(US, "--job", "crawl", (*most, "--mode", "durable")),
            _of(US, "in memory", "crawl", most, "内存中"),
            _of("scrapy", "JOBDIR", "crawl", (*most, "--mode", "jobdir"), rounds=1),
        ),
    )


def _docs(scale: Scale) -> Iterator[Case]:
    """Scrapy is first, since its set of URLs is what the other's is compared with."""
    most = ("--concurrency", "16")
    yield Case(
        row="docs",
        key="docs",
        title="the documentation of Python 3.11, by CrawlSpider",
        title_zh="Python 3.11 文档，CrawlSpider",
        durability="memory",
        metrics=(
            Metric("items", "URLs", "URL 数", "URLs", is_count=True),
            Metric("missing", "missing", "缺少", "missing", is_count=True),
            Metric("more", "more", "多出", "more", is_count=True),
            RATE,
            CPU,
            RSS,
        ),
        headlines=5,
        contenders=(
            _of("scrapy", "CrawlSpider", "docs", most),
            _of(US, "CrawlSpider", "docs", most),
        ),
        rounds=1,
    )


def _polite(scale: Scale) -> Iterator[Case]:
    hosts = ("--hosts", str(site.HOSTS), "--concurrency", str(site.HOSTS))
    yield Case(
        row="polite",
        key="polite",
        title=f"{site.HOSTS:,} hosts of {site.HOST_PAGES} pages with a delay of 1 s each",
        title_zh=f"{site.HOSTS:,} 个主机各 {site.HOST_PAGES} 页，每个主机间隔 1 秒",
        durability="memory",
        metrics=(
            RATE,
            Metric("share", "share of what delays allow", "占间隔所允许速率的比例", "share", is_count=True),
            Metric("early", "requests too early", "过早的请求", "early", is_count=True),
            Metric("least_gap_ms", "least gap, ms", "最小间隔，毫秒", "ms", is_count=True),
            PAGES,
            CPU,
            RSS,
        ),
        headlines=4,
        contenders=(
            _of(US, "in memory", "polite", hosts, "内存中"),
            _of(US, "--job", "polite", (*hosts, "--mode", "durable")),
            _of("scrapy", "DOWNLOAD_DELAY=1", "polite", hosts),
        ),
        rounds=1,
    )


def _million(scale: Scale) -> Iterator[Case]:
    most = ("--concurrency", "16", "--pages", str(max(scale.queued // site.LIST_LINKS, 10)))
    durable = ("--mode", "durable")
    few = ("--concurrency", "16", "--pages", str(max(scale.queued // site.LIST_LINKS // 10, 10)))
    yield Case(
        row="million",
        key="million",
        title=f"a crawl with {scale.queued:,} URLs queued",
        title_zh=f"{scale.queued:,} 个 URL 在排队的抓取",
        durability="a file",
        metrics=(
            Metric("rss_mib", "most memory, MiB", "内存峰值，MiB", "MiB"),
            Metric("queued", "links queued", "排队的链接", "links", is_count=True),
            Metric("link_rate", "links/s", "链接/秒", "links/s", higher_is_better=True),
            RATE,
        ),
        headlines=3,
        contenders=(
            _of(US, "--job", "million", (*most, *durable)),
            _of(US, "--job, a tenth of them", "million", (*few, *durable), "--job，十分之一"),
        ),
        rounds=1,
    )


def _kill(scale: Scale) -> Iterator[Case]:
    most = ("--concurrency", "16")
    yield Case(
        row="kill",
        key="kill",
        title=f"{site.PAGES:,} pages, the crawler killed (SIGKILL) and started again",
        title_zh=f"{site.PAGES:,} 个页面，反复杀掉（SIGKILL）并重启爬虫",
        durability="a file",
        metrics=(
            Metric("kills", "kills", "杀掉次数", "kills", is_count=True),
            Metric("items", "pages with an item", "有条目的页面", "items", is_count=True),
            Metric("missing", "missing", "缺少", "missing", is_count=True),
            Metric("doubled", "doubled", "重复条目", "doubled", is_count=True),
            AGAIN,
            PAGES,
            Metric("seconds", "seconds", "秒", "s"),
            Metric("code", "exit code", "退出码", "exit code", is_count=True),
        ),
        headlines=5,
        contenders=(
            _of(US, "--job, every 3 s", "killed", (*most, "--mode", "durable", "--kill-every", "3"), "--job，每 3 秒"),
            _of(
                US,
                "--job, every 1.5 s",
                "killed",
                (*most, "--mode", "durable", "--kill-every", "1.5"),
                "--job，每 1.5 秒",
            ),
            _of(
                "scrapy",
                "JOBDIR, every 3 s, 5 times",
                "killed",
                (*most, "--mode", "jobdir", "--kill-every", "3", "--kills", "5"),
                "JOBDIR，每 3 秒，5 次",
            ),
        ),
        rounds=1,
    )


def _of(
    system: str,
    setting: str,
    command: str,
    arguments: tuple[str, ...],
    setting_zh: str = "",
    rounds: int | None = None,
) -> Contender:
    return Contender(system, setting, command, site.PAGES, arguments, setting_zh=setting_zh or setting, rounds=rounds)


# -- the page ---------------------------------------------------------------------------------------------------

NOTES = (
    (
        "All write each page's URL and title to a file and follow all of its 40 links; each page was fetched, once, or "
        "the figure is not shown. Pages and times are read from the server's log."
    ),
    "CPU is the crawler's process from its first request on. Memory is the most that it had resident.",
    (
        "Scrapy tuned: without logging, cookies, retries, redirects, referers, statistics and extensions, and with "
        "a set of its own that is asked before a Request is built."
    ),
    (
        "The floor is a loop over asyncio with aiohttp, selectolax and a set of seen URLs. wrk shows what the server "
        "can do; it looks at no page."
    ),
    "Scrapy's polite crawl is ended after 40 s, when it has shown its pace.",
    (
        "Early is a request that came less than 0.95 s after the one before to the same host; the server's clock and a "
        "machine whose two cores are busy account for some milliseconds."
    ),
    "Missing and more are URLs of items that Scrapy's CrawlSpider has and the crawler has not, or the other way round.",
)
NOTES_ZH = (
    (
        "全部把每页的 URL 与标题写入文件，并跟随其全部 40 个链接；每个页面都恰好抓取一次，否则不显示数值。"
        "页数与时间取自服务器日志。"
    ),
    "CPU 为爬虫进程自第一个请求起的用量；内存为其常驻内存峰值。",
    "调优的 Scrapy：关闭日志、cookie、重试、重定向、referer、统计与扩展，并在构建 Request 之前先查自己的集合。",
    "下限是 asyncio、aiohttp、selectolax 与一个已见 URL 集合组成的循环。wrk 显示服务器本身的上限，它不看页面内容。",
    "Scrapy 的礼貌抓取在 40 秒后结束，此时其速度已经明确。",
    "过早指距同一主机上一个请求不足 0.95 秒；服务器时钟与两个核都忙时会有几毫秒误差。",
    "缺少与多出：Scrapy 的 CrawlSpider 有而该爬虫没有的条目 URL，或相反。",
)


def details(report: Report) -> str:
    """The whole results page."""
    lines = ["# Crawlers", "", summary(report, table.ENGLISH), ""]
    for measured in report.cases.values():
        lines += [f"## {measured.case.title}", "", *table.detail(measured), ""]
    return "\n".join(lines)


def summary(report: Report, words: Words) -> str:
    """The table for a README."""
    return table.by_contender(report, words, NOTES_ZH if words is CHINESE else NOTES)
