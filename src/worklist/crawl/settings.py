"""The settings of a crawl: one table (name, default, help), under Scrapy's names where the meaning is the same.

The later of these counts: the default, the project's file, the spider's `custom_settings`, the command line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..core.errors import ConfigError, did_you_mean

logger = logging.getLogger("worklist.crawl")


class SettingRow(NamedTuple):
    """One setting: what it is without anybody's doing, and what it means."""

    default: Any
    help: str


_M = "worklist.crawl.middlewares."
TABLE: dict[str, SettingRow] = {
    "USER_AGENT": SettingRow("Worklist (+https://pypi.org/project/worklist)", "The header User-Agent."),
    "DEFAULT_REQUEST_HEADERS": SettingRow(
        {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language": "en"},
        "Headers of every request that does not set them.",
    ),
    "CONCURRENT_REQUESTS": SettingRow(16, "How many requests are under way at once, in one process."),
    "CONCURRENT_REQUESTS_PER_DOMAIN": SettingRow(8, "How many of them to one host."),
    "DOWNLOAD_DELAY": SettingRow(0.0, "Seconds from one request to the next to the same host, over all processes."),
    "DOWNLOAD_SLOTS": SettingRow({}, "By host: a dict with `delay` and `concurrency` of its own."),
    "DOWNLOAD_TIMEOUT": SettingRow(180.0, "Seconds that a request may take, its body included."),
    "DOWNLOAD_MAXSIZE": SettingRow(1 << 30, "Bytes that a body may have, also after decompression; 0: any number."),
    "DOWNLOAD_WARNSIZE": SettingRow(32 << 20, "Bytes of a body from which on it is told of; 0: never."),
    "DOWNLOAD_VERIFY_CERTIFICATES": SettingRow(True, "Whether the certificates of TLS are checked."),
    "DOWNLOAD_HANDLERS": SettingRow({}, "By scheme: the class that makes the requests, or its path; None: none may."),
    "DOWNLOAD_HANDLERS_BASE": SettingRow(
        dict.fromkeys(("http", "https"), "worklist.crawl.downloader.Downloader"),
        "Those that are there by themselves.",
    ),
    "DNSCACHE_ENABLED": SettingRow(True, "Whether addresses of hosts are remembered."),
    "DNS_TIMEOUT": SettingRow(60.0, "Seconds that the connection to a host may take, its look-up included."),
    "DEPTH_LIMIT": SettingRow(0, "How many links a page may be away from the start; 0: any number."),
    "DEPTH_PRIORITY": SettingRow(
        0, "What a step away from the start takes from the priority: 1 searches strictly breadth-first, -1 depth-first."
    ),
    "DEPTH_STATS_VERBOSE": SettingRow(False, "Whether requests are counted by depth."),
    "HOST_MAX_PAGES": SettingRow(0, "How many pages of one host a process follows links to; 0: any number."),
    "URLLENGTH_LIMIT": SettingRow(2083, "Longer URLs are not followed; 0: all are."),
    "ROBOTSTXT_OBEY": SettingRow(True, "Whether robots.txt is obeyed, its Crawl-delay and Request-rate included."),
    "ROBOTSTXT_USER_AGENT": SettingRow(None, "By which name robots.txt is read; None: by USER_AGENT."),
    "RETRY_ENABLED": SettingRow(True, "Whether requests are made again that failed in a way that may pass."),
    "RETRY_TIMES": SettingRow(2, "How often, after the first time."),
    "RETRY_HTTP_CODES": SettingRow([500, 502, 503, 504, 522, 524, 408, 429], "Answers that may pass."),
    "RETRY_DELAY": SettingRow(1.0, "Seconds before the first retry; doubled with each, and at most a minute."),
    "RETRY_AFTER_MAX": SettingRow(600.0, "Seconds of a Retry-After that are heeded at most."),
    "REDIRECT_ENABLED": SettingRow(True, "Whether redirects are followed."),
    "REDIRECT_MAX_TIMES": SettingRow(20, "How many in a row."),
    "REDIRECT_PRIORITY_ADJUST": SettingRow(2, "What is added to the priority of a redirected request."),
    "METAREFRESH_ENABLED": SettingRow(True, "Whether <meta http-equiv=refresh> is followed."),
    "METAREFRESH_MAXDELAY": SettingRow(100, "Seconds; refreshes that wait longer are not followed."),
    "METAREFRESH_IGNORE_TAGS": SettingRow(["noscript"], "Elements in which a refresh does not count."),
    "COOKIES_ENABLED": SettingRow(True, "Whether cookies are kept and sent back."),
    "COOKIES_DEBUG": SettingRow(False, "Whether cookies are logged."),
    "COMPRESSION_ENABLED": SettingRow(True, "Whether compressed bodies are asked for and unpacked."),
    "REFERER_ENABLED": SettingRow(True, "Whether the header Referer is sent."),
    "REFERRER_POLICY": SettingRow("no-referrer-when-downgrade", "`no-referrer`, `same-origin` or this default."),
    "HTTPERROR_ALLOW_ALL": SettingRow(False, "Whether callbacks get responses of every status."),
    "HTTPERROR_ALLOWED_CODES": SettingRow([], "Statuses beside 200 to 299 that callbacks get."),
    "HTTPPROXY_ENABLED": SettingRow(True, 'Whether meta["proxy"] and the proxies of the environment are used.'),
    "HTTPCACHE_ENABLED": SettingRow(False, "Whether responses are kept and reused."),
    "HTTPCACHE_DIR": SettingRow("httpcache", "The folder of the cache's file."),
    "HTTPCACHE_POLICY": SettingRow("DummyPolicy", "`DummyPolicy`: what is kept holds. `RFC2616Policy`: as in HTTP."),
    "HTTPCACHE_EXPIRATION_SECS": SettingRow(0, "Seconds after which a kept response is asked for anew; 0: never."),
    "HTTPCACHE_IGNORE_HTTP_CODES": SettingRow([], "Answers that are not kept."),
    "HTTPCACHE_IGNORE_SCHEMES": SettingRow(["file"], "URLs that are not kept."),
    "HTTPCACHE_IGNORE_MISSING": SettingRow(False, "Whether what is not kept is not asked for either."),
    "HTTPCACHE_ALWAYS_STORE": SettingRow(False, "RFC2616Policy: whether all is kept but no-store."),
    "HTTPCACHE_IGNORE_RESPONSE_CACHE_CONTROLS": SettingRow([], "RFC2616Policy: directives of servers not to heed."),
    "FILES_STORE": SettingRow(None, "The folder of FilesPipeline."),
    "FILES_EXPIRES": SettingRow(90, "Days after which a file is downloaded again."),
    "FILES_URLS_FIELD": SettingRow(None, "The field of an item with the URLs; None: file_urls."),
    "FILES_RESULT_FIELD": SettingRow(None, "The field for what was downloaded; None: files."),
    "IMAGES_STORE": SettingRow(None, "The folder of ImagesPipeline."),
    "IMAGES_EXPIRES": SettingRow(90, "Days after which an image is downloaded again."),
    "IMAGES_URLS_FIELD": SettingRow(None, "The field of an item with the URLs; None: image_urls."),
    "IMAGES_RESULT_FIELD": SettingRow(None, "The field for what was downloaded; None: images."),
    "IMAGES_THUMBS": SettingRow({}, "Thumbnails: width and height by name."),
    "IMAGES_MIN_WIDTH": SettingRow(0, "Narrower images are not kept."),
    "IMAGES_MIN_HEIGHT": SettingRow(0, "Lower images are not kept."),
    "SPIDER_CONTRACTS": SettingRow({}, "Further kinds of contracts, as classes or their paths, with their order."),
    "BROWSER": SettingRow(
        False, "Whether a browser renders pages whose requests do not say; `auto`: those that look empty without one."
    ),
    "BROWSER_IDLE_TIMEOUT": SettingRow(5.0, "Seconds that a loaded page gets at most until its network is silent."),
    "BROWSER_BLOCKED_RESOURCES": SettingRow([], "What pages may not load, such as `image`, `media`, `font`."),
    "PLAYWRIGHT_BROWSER_TYPE": SettingRow("chromium", "`chromium`, `firefox` or `webkit`."),
    "PLAYWRIGHT_LAUNCH_OPTIONS": SettingRow({}, "How the browser is started, such as its executable_path and args."),
    "PLAYWRIGHT_CDP_URL": SettingRow(None, "The address of a browser that runs already; None: one is started."),
    "PLAYWRIGHT_CONTEXTS": SettingRow({}, "Options of contexts by name; `default` counts for pages that name none."),
    "PLAYWRIGHT_MAX_CONTEXTS": SettingRow(4, "How many pages are in the browser at once."),
    "PLAYWRIGHT_ABORT_REQUEST": SettingRow(
        None, "A function, or its path, that says of a request of the browser whether it is not to be made."
    ),
    "AUTOTHROTTLE_ENABLED": SettingRow(False, "Whether the rate of each host follows its latency."),
    "AUTOTHROTTLE_START_DELAY": SettingRow(5.0, "Seconds between requests to a host at first."),
    "AUTOTHROTTLE_MAX_DELAY": SettingRow(60.0, "Seconds between requests to a host at most."),
    "AUTOTHROTTLE_TARGET_CONCURRENCY": SettingRow(1.0, "How many requests to a host are to be under way on average."),
    "CLOSESPIDER_TIMEOUT": SettingRow(0, "Seconds after which the crawl ends; 0: never."),
    "CLOSESPIDER_TIMEOUT_NO_ITEM": SettingRow(0, "Seconds without an item after which the crawl ends; 0: never."),
    "CLOSESPIDER_PAGECOUNT_NO_ITEM": SettingRow(0, "Responses in a row without an item after which the crawl ends."),
    "CLOSESPIDER_ITEMCOUNT": SettingRow(0, "Items after which the crawl ends."),
    "CLOSESPIDER_PAGECOUNT": SettingRow(0, "Responses after which the crawl ends."),
    "CLOSESPIDER_ERRORCOUNT": SettingRow(0, "Errors in callbacks after which the crawl ends."),
    "DUPEFILTER_DEBUG": SettingRow(False, "Whether every dropped double is logged."),
    "ITEM_PIPELINES": SettingRow({}, "Pipelines, as classes or their paths, with their order."),
    "DOWNLOADER_MIDDLEWARES": SettingRow({}, "Downloader middlewares with their order; None switches one off."),
    "DOWNLOADER_MIDDLEWARES_BASE": SettingRow(
        {
            _M + "robots.RobotsTxtMiddleware": 100,
            _M + "http.HttpAuthMiddleware": 300,
            _M + "http.DefaultHeadersMiddleware": 400,
            _M + "http.UserAgentMiddleware": 500,
            _M + "retry.RetryMiddleware": 550,
            _M + "redirect.MetaRefreshMiddleware": 580,
            _M + "redirect.RedirectMiddleware": 600,
            _M + "cookies.CookiesMiddleware": 700,
            _M + "http.HttpProxyMiddleware": 750,
            "worklist.crawl.httpcache.HttpCacheMiddleware": 900,
        },
        "Those that are there by themselves.",
    ),
    "SPIDER_MIDDLEWARES": SettingRow({}, "Spider middlewares with their order; None switches one off."),
    "SPIDER_MIDDLEWARES_BASE": SettingRow(
        {
            _M + "spider.HttpErrorMiddleware": 50,
            _M + "spider.OffsiteMiddleware": 500,
            _M + "spider.RefererMiddleware": 700,
            _M + "spider.UrlLengthMiddleware": 800,
            _M + "spider.DepthMiddleware": 900,
            _M + "spider.HostLimitMiddleware": 950,
        },
        "Those that are there by themselves.",
    ),
    "SCHEDULER_MIDDLEWARES": SettingRow({}, "Hooks on requests that enter the queue and leave it, with their order."),
    "EXTENSIONS": SettingRow({}, "Extensions with their order; None switches one off."),
    "EXTENSIONS_BASE": SettingRow(
        {
            "worklist.crawl.extensions.CloseSpider": 0,
            "worklist.crawl.extensions.AutoThrottle": 0,
            "worklist.crawl.extensions.LogCount": 0,
        },
        "Those that are there by themselves.",
    ),
    "FEEDS": SettingRow({}, "Where items go: by path or URL, the format and options."),
    "FEED_EXPORT_ENCODING": SettingRow("utf-8", "The encoding of feeds."),
    "FEED_EXPORT_FIELDS": SettingRow(None, "Which fields of items go into feeds."),
    "FEED_EXPORT_INDENT": SettingRow(None, "By how many spaces JSON and XML are indented."),
    "FEED_EXPORT_BATCH_ITEM_COUNT": SettingRow(0, "After how many items a feed goes on in another file; 0: never."),
    "FEED_SYNC": SettingRow(False, "Whether each page's items are on the disk before its request is done with."),
    "FEED_PATIENCE": SettingRow(30.0, "Seconds after which the crawl ends if a feed cannot be written."),
    "FEED_STORE_EMPTY": SettingRow(True, "Whether a feed without items is written."),
    "LOG_LEVEL": SettingRow("INFO", "What `worklist crawl` shows of the log, where --loglevel does not say."),
    "LOG_FILE": SettingRow(None, "A file to which `worklist crawl` writes the log instead; it is appended to."),
    "SHUTDOWN_GRACE": SettingRow(10.0, "Seconds that pages under way get when the crawl is interrupted."),
}

WITHOUT_EFFECT: dict[str, str] = {
    "RANDOMIZE_DOWNLOAD_DELAY": "delays are kept to the full, so that no host is hit early",
    "JOBDIR": "use --job NAME",
    "TWISTED_REACTOR": "there is no Twisted here",
    "REQUEST_FINGERPRINTER_IMPLEMENTATION": "there is one",
    "SCHEDULER": "the queue is the scheduler",
    "SCHEDULER_DISK_QUEUE": "the queue is the scheduler",
    "SCHEDULER_MEMORY_QUEUE": "the queue is the scheduler",
    "SCHEDULER_PRIORITY_QUEUE": "lanes take turns by themselves",
    "DUPEFILTER_CLASS": "the queue holds the key of every request",
    "TELNETCONSOLE_ENABLED": "there is no telnet console",
    "LOGSTATS_INTERVAL": "the progress line is live",
    "REACTOR_THREADPOOL_MAXSIZE": "there is no Twisted here",
    "MEMUSAGE_ENABLED": "limit the memory of the process instead",
    "MEMUSAGE_LIMIT_MB": "limit the memory of the process instead",
    "BOT_NAME": "USER_AGENT alone names the crawler",
    "CONCURRENT_ITEMS": "the items of a page go through the pipelines in turn",
    "SCRAPER_SLOT_MAX_ACTIVE_SIZE": "no more pages are taken from the queue than are under way",
    "RETRY_PRIORITY_ADJUST": "a retry waits for its time, and keeps its priority",
    "RETRY_EXCEPTIONS": "every failure of a connection is tried again",
    "ADDONS": "name pipelines, middlewares and extensions by their own settings",
    "STATS_CLASS": "there is one",
    "STATS_DUMP": "the statistics are shown at the end",
    "REMOTE_CONTROL_ENABLED": "there is no remote control; worklist status, pause and cancel work from anywhere",
    "SPIDER_MODULES": "a spider is named by its file",
    "NEWSPIDER_MODULE": "a spider is named by its file",
}
"""Settings of Scrapy that mean nothing here, and why; each is told of once."""

PRIORITIES = {"default": 0, "command": 10, "addon": 15, "project": 20, "spider": 30, "cmdline": 40}


class Settings:
    """Values by name, each with the priority that it was set with."""

    def __init__(self, values: Mapping[str, Any] | None = None, priority: str | int = "project") -> None:
        self._values: dict[str, tuple[Any, int]] = {name: (row.default, 0) for name, row in TABLE.items()}
        self.extra_names: set[str] = set()
        if values:
            self.setdict(values, priority)

    def set(self, name: str, value: Any, priority: str | int = "project") -> None:
        """Set a value, unless it was set with a higher priority."""
        number = PRIORITIES[priority] if isinstance(priority, str) else priority
        if name not in self._values or self._values[name][1] <= number:
            self._values[name] = (value, number)

    def setdict(self, values: Mapping[str, Any], priority: str | int = "project") -> None:
        """Set several."""
        for name, value in values.items():
            self.set(name, value, priority)

    update = setdict

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, `default` where there is none."""
        found = self._values.get(name)
        return default if found is None or found[0] is None else found[0]

    def __getitem__(self, name: str) -> Any:
        return self._values[name][0] if name in self._values else None

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def getpriority(self, name: str) -> int | None:
        """Return the priority with which a value was set."""
        found = self._values.get(name)
        return None if found is None else found[1]

    def getbool(self, name: str, default: bool = False) -> bool:
        """Return a value as a truth: True, 1, "1", "true", "yes" and "on" are true."""
        value = self.get(name, default)
        if isinstance(value, str):
            word = value.strip().lower()
            if word in {"1", "true", "yes", "on"}:
                return True
            if word in {"0", "false", "no", "off", "", "none"}:
                return False
            raise ConfigError(f"{name} is {value!r}; expected true or false")
        return bool(value)

    def _number(self, name: str, default: float, kind: type) -> Any:
        value = self.get(name, default)
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} is {value!r}; expected a {'whole ' * (kind is int)}number") from None

    def getint(self, name: str, default: int = 0) -> int:
        """Return a value as a whole number."""
        return int(self._number(name, default, int))

    def getfloat(self, name: str, default: float = 0.0) -> float:
        """Return a value as a number."""
        return float(self._number(name, default, float))

    def getlist(self, name: str, default: Any = None) -> list[Any]:
        """Return a value as a list; text is split at commas."""
        value = self.get(name, default or [])
        return [each.strip() for each in value.split(",")] if isinstance(value, str) else list(value)

    def getdict(self, name: str, default: Any = None) -> dict[str, Any]:
        """Return a value as a dict; text is read as JSON."""
        value = self.get(name, default or {})
        if not isinstance(value, str):
            return dict(value)
        try:
            return dict(json.loads(value))
        except (ValueError, TypeError):
            raise ConfigError(f"{name} is {value!r}; expected a JSON object") from None

    def getwithbase(self, name: str) -> dict[Any, Any]:
        """Return components with their order: those that are there by themselves with the user's over them."""
        merged: dict[Any, Any] = {**self.getdict(f"{name}_BASE"), **self.getdict(name)}
        return {component: order for component, order in merged.items() if order is not None}

    def copy_to_dict(self) -> dict[str, Any]:
        """Return all values."""
        return {name: value for name, (value, _) in self._values.items()}

    def warn_unknown(self) -> None:
        """Tell of settings that mean nothing here, with the nearest name that does."""
        for name in self._values:
            if name in WITHOUT_EFFECT:
                logger.warning("the setting %s has no effect: %s", name, WITHOUT_EFFECT[name])
            elif name not in TABLE and name.isupper() and (near := did_you_mean(name, TABLE)):
                logger.warning("there is no setting %s%s", name, near)
