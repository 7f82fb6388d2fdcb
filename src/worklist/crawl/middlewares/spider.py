"""Spider middlewares: which responses a spider gets to see, and which of its requests go into the queue."""

from __future__ import annotations

import logging
import re
from typing import Any

from ..exceptions import HttpError, NotConfigured
from ..frontier import host_of

logger = logging.getLogger("worklist.crawl")


class BaseSpiderMiddleware:
    """What a spider middleware may build on: two methods that see each request and each item that is yielded."""

    def __init__(self, crawler: Any) -> None:
        self.crawler = crawler
        self.stats = crawler.stats

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        """Make it."""
        return cls(crawler)

    def get_processed_request(self, request: Any, response: Any) -> Any:
        """Return the request, another one, or None for none."""
        return request

    def get_processed_item(self, item: Any, response: Any) -> Any:
        """Return the item, another one, or None for none."""
        return item


class HttpErrorMiddleware:
    """Keeps responses of other statuses than 200 to 299 from callbacks that do not ask for them."""

    def __init__(self, crawler: Any) -> None:
        self._all = crawler.settings.getbool("HTTPERROR_ALLOW_ALL")
        self._codes = {int(code) for code in crawler.settings.getlist("HTTPERROR_ALLOWED_CODES")}
        self._stats = crawler.stats

    @classmethod
    def from_crawler(cls, crawler: Any) -> HttpErrorMiddleware:
        """Make it."""
        return cls(crawler)

    def process_spider_input(self, response: Any, spider: Any) -> None:
        """Raise HttpError for a status that is not handled."""
        status = response.status
        if 200 <= status < 300 or self._all:
            return
        meta = response.request.meta if response.request is not None else {}
        allowed = meta.get("handle_httpstatus_list", getattr(spider, "handle_httpstatus_list", self._codes))
        if meta.get("handle_httpstatus_all") or status in allowed:
            return
        self._stats.inc_value("httperror/response_ignored_count")
        self._stats.inc_value(f"httperror/response_ignored_status_count/{status}")
        raise HttpError(response)


class OffsiteMiddleware(BaseSpiderMiddleware):
    """Drops requests to hosts outside of the spider's `allowed_domains`."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        domains = [each for each in getattr(crawler.spider, "allowed_domains", None) or () if each]
        for domain in domains:
            if "/" in domain:
                logger.warning("allowed_domains names %r; expected a host, such as 'example.com'", domain)
        self._pattern = re.compile(rf"(?:.*\.)?(?:{'|'.join(map(re.escape, domains))})\Z") if domains else None
        self._verdicts: dict[str, bool] = {}

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        """Make it, where the spider has `allowed_domains`."""
        if not getattr(crawler.spider, "allowed_domains", None):
            raise NotConfigured("the spider has no allowed_domains")
        return cls(crawler)

    def permits(self, url: str) -> bool:
        """Return whether the host of a URL is allowed."""
        host = host_of(url)
        verdict = self._verdicts.get(host)
        if verdict is None:
            if len(self._verdicts) > 10_000:
                self._verdicts.clear()
            verdict = self._verdicts[host] = self._pattern is None or self._pattern.match(host) is not None
        return verdict

    def get_processed_request(self, request: Any, response: Any) -> Any:
        """Return the request, None where its host is not allowed."""
        if self.permits(request.url) or request.dont_filter or request.meta_get("allow_offsite"):
            return request
        self.stats.inc_value("offsite/filtered")
        return None


class RefererMiddleware(BaseSpiderMiddleware):
    """Sets the header Referer, by the policy REFERRER_POLICY."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self._policy = crawler.settings.get("REFERRER_POLICY")
        if not crawler.settings.getbool("REFERER_ENABLED") or self._policy == "no-referrer":
            raise NotConfigured("REFERER_ENABLED is false")

    def get_processed_request(self, request: Any, response: Any) -> Any:
        """Set it; nothing of a page that was read by https goes to one by http."""
        if response is None or not response.url.startswith("http"):
            return request
        if response.url.startswith("https:") and not request.url.startswith("https:"):
            return request
        if self._policy == "same-origin" and host_of(response.url) != host_of(request.url):
            return request
        request.headers.setdefault(b"Referer", response.url.partition("#")[0])
        return request


class UrlLengthMiddleware(BaseSpiderMiddleware):
    """Drops requests with URLs longer than URLLENGTH_LIMIT."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self._most = crawler.settings.getint("URLLENGTH_LIMIT")
        if not self._most:
            raise NotConfigured("URLLENGTH_LIMIT is 0")

    def get_processed_request(self, request: Any, response: Any) -> Any:
        """Return the request, None where its URL is too long."""
        if len(request.url) <= self._most:
            return request
        self.stats.inc_value("urllength/request_ignored_count")
        return None


class DepthMiddleware(BaseSpiderMiddleware):
    """Counts how far from the start a request is, in meta["depth"]; DEPTH_LIMIT, DEPTH_PRIORITY."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        settings = crawler.settings
        self._most = settings.getint("DEPTH_LIMIT")
        self._priority = settings.getint("DEPTH_PRIORITY")
        self._verbose = settings.getbool("DEPTH_STATS_VERBOSE")

    def get_processed_request(self, request: Any, response: Any) -> Any:
        """Return the request, None where it is too deep."""
        depth = 0 if response is None else response.meta.get("depth", 0) + 1
        request.meta["depth"] = depth
        if self._most and depth > self._most:
            self.stats.inc_value("depth/request_ignored_count")
            return None
        request.priority -= depth * self._priority
        self.stats.max_value("request_depth_max", depth)
        if self._verbose:
            self.stats.inc_value(f"request_depth_count/{depth}")
        return request


class HostLimitMiddleware(BaseSpiderMiddleware):
    """Follows links to HOST_MAX_PAGES pages of a host at most: the end of calendars without end."""

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self._most = crawler.settings.getint("HOST_MAX_PAGES")
        self._counts: dict[str, int] = {}
        if not self._most:
            raise NotConfigured("HOST_MAX_PAGES is 0")

    def get_processed_request(self, request: Any, response: Any) -> Any:
        """Return the request, None where its host has had enough."""
        host = host_of(request.url)
        count = self._counts.get(host, 0) + 1
        if count > self._most:
            self.stats.inc_value("hostlimit/request_ignored_count")
            return None
        self._counts[host] = count
        return request
