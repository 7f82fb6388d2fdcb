"""robots.txt: fetched once for each host, also if a hundred requests come at once, and obeyed.

Its Crawl-delay and Request-rate become the rate of the host's lane, which outlives this process.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from protego import Protego

from ..exceptions import IgnoreRequest, NotConfigured
from ..frontier import slot_of
from ..request import NO_CALLBACK, Request

logger = logging.getLogger("worklist.crawl")
_MOST_HOSTS = 50_000


class RobotsTxtMiddleware:
    """Ignores requests that the robots.txt of their host forbids."""

    def __init__(self, crawler: Any) -> None:
        if not crawler.settings.getbool("ROBOTSTXT_OBEY"):
            raise NotConfigured("ROBOTSTXT_OBEY is false")
        self._crawler = crawler
        self._agent = crawler.settings.get("ROBOTSTXT_USER_AGENT") or crawler.settings.get("USER_AGENT") or "*"
        self._rules: dict[str, asyncio.Future[Protego | None]] = {}

    @classmethod
    def from_crawler(cls, crawler: Any) -> RobotsTxtMiddleware:
        """Make it."""
        return cls(crawler)

    async def process_request(self, request: Any, spider: Any) -> None:
        """Raise IgnoreRequest for what is forbidden."""
        if not request.meta_get("dont_obey_robotstxt") and not await self.allows(request):
            self._crawler.stats.inc_value("robotstxt/forbidden")
            raise IgnoreRequest(f"{request.url} is forbidden by robots.txt")

    async def allows(self, request: Any) -> bool:
        """Return whether a request may be made; robots.txt is fetched where it is not known yet."""
        origin = "/".join(request.url.split("/", 3)[:3])
        known = self._rules.get(origin)
        if known is None:
            known = self._begin(origin, request)
        rules = known.result() if known.done() else await asyncio.shield(known)
        return rules is None or bool(rules.can_fetch(request.url, self._agent))

    def _begin(self, origin: str, request: Any) -> asyncio.Future[Protego | None]:
        if len(self._rules) >= _MOST_HOSTS:
            self._rules.clear()
        task = asyncio.ensure_future(self._fetch(origin, slot_of(request), request))
        self._rules[origin] = task
        return task

    async def _fetch(self, origin: str, slot: str, request: Any) -> Protego | None:
        """Return the rules of a host; None where it has none, or they cannot be had."""
        stats = self._crawler.stats
        stats.inc_value("robotstxt/request_count")
        meta = {
            "dont_obey_robotstxt": True,
            "download_maxsize": 1 << 19,
            "dont_retry": True,
            "handle_httpstatus_all": True,
        }
        if "proxy" in request.meta:
            meta["proxy"] = request.meta["proxy"]
        try:
            response = await self._follow(Request(f"{origin}/robots.txt", callback=NO_CALLBACK, meta=meta))
        except Exception as error:
            stats.inc_value("robotstxt/exception_count")
            logger.debug("no robots.txt of %s: %s", origin, error)
            return None
        stats.inc_value(f"robotstxt/response_status_count/{response.status}")
        if response.status != 200:
            return None
        rules = Protego.parse(response.body.decode("utf-8-sig", "replace"))
        await self._slow_down(rules, slot)
        return rules

    async def _follow(self, request: Request) -> Any:
        """Fetch robots.txt, over a few redirects."""
        for _ in range(5):
            response = await self._crawler.engine.download_raw(request)
            location = response.headers.get(b"Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            request = request.replace(url=response.urljoin(location.decode("latin-1")))
        return response

    async def _slow_down(self, rules: Protego, slot: str) -> None:
        delay = float(rules.crawl_delay(self._agent) or 0.0)
        rate = rules.request_rate(self._agent)
        if rate is not None and rate.requests:
            delay = max(delay, float(rate.seconds) / rate.requests)
        if delay:
            await self._crawler.engine.slow_down(slot, delay)
