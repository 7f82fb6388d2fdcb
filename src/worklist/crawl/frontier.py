"""Request <-> Job: the queue is the frontier.

A request's fingerprint is the job's key, held for ever; its host is the lane, with the delay and the ceiling; the crawl
is the group; `delay` and `not_before` are its due time. What this process has put already is remembered as well, so
that the thousandth link to the front page costs a look into a set and no job. The queue's keys are the truth.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgspec

from ..core.codec import encode_value
from ..core.job import FOREVER, GroupId, Job, Ties, new_job_id
from ..core.lane import LaneLimits
from .exceptions import NotSupported
from .fingerprint import fingerprint
from .request import Request, request_from_dict
from .settings import Settings

TASK = "worklist.crawl.fetch"
READ_AHEAD = 4
"""How many jobs of a host may be leased for each that may be under way: they are at hand when one ends."""
REDELIVERIES = 20
"""How many processes may die with a page under way: a crawl that is killed again and again goes on."""
_REMEMBERED = 250_000
_HOSTS = 20_000


class HostRule(NamedTuple):
    """What holds for one host in this process."""

    delay: float
    """Seconds from one request to the next."""
    concurrency: int
    """Requests at once."""
    ties: Ties


class Seen:
    """The requests that were put lately, in two generations: when the young one is full, the old one is forgotten."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._young or key in self._old

    def add(self, key: str) -> None:
        """Remember one."""
        self._young.add(key)
        if len(self._young) >= self._most:
            self._old, self._young = self._young, set()


class Frontier:
    """Turns requests into the jobs of one crawl, and back."""

    def __init__(self, settings: Settings, spider: Any, group: GroupId, queue: str) -> None:
        self.group = group
        self.queue = queue
        self.seen = Seen()
        self._spider = spider
        self._delay = max(settings.getfloat("DOWNLOAD_DELAY"), float(getattr(spider, "download_delay", 0) or 0))
        if settings.getbool("AUTOTHROTTLE_ENABLED"):
            self._delay = max(self._delay, settings.getfloat("AUTOTHROTTLE_START_DELAY", 5.0))
        self._concurrency = max(1, settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN", 8))
        self._slots = settings.getdict("DOWNLOAD_SLOTS")
        self._rules: dict[str, HostRule] = {}

    def is_known(self, request: Request) -> bool:
        """Return whether the very same URL was put lately, without working out its fingerprint."""
        return request.url in self.seen and request.method == "GET" and not (request.body or request.dont_filter)

    def job(self, request: Request, *, start: bool = False, trust: bool = True) -> Job | None:
        """Return the job of a request; None where it was put lately.

        `start`: it is one that the crawl begins with, so it is put once, also if the crawl begins again; for a spider
        that `meets_start_pages_again` a link to the same page is another request. `trust`: whether what was put
        lately is known to be in the queue. Raises NotSupported for what cannot lie in a queue.
        """
        key: str | None = None
        if not request.dont_filter or start:
            mark = fingerprint(request)
            if trust and not request.dont_filter and mark in self.seen:
                return None
            if start and request.dont_filter and self._spider.meets_start_pages_again:
                mark = f"start:{mark}"
            else:
                self._remember(request, mark)
            key = f"{self.group}:{mark}"
        return Job(
            new_job_id(),
            TASK,
            self._arguments(request),
            self.queue,
            max(-1_000_000, min(1_000_000, request.priority)),
            delay=request.delay,
            eta=request.not_before,
            key=key,
            hold=FOREVER if key else 0.0,
            redeliveries=REDELIVERIES,
            created=time.time(),
            ties=self.rule(slot_of(request)).ties,
        )

    def _remember(self, request: Request, mark: str) -> None:
        self.seen.add(mark)
        if request.method == "GET" and not request.body:
            self.seen.add(request.url)

    def _arguments(self, request: Request) -> bytes:
        data = request.to_dict(spider=self._spider)
        try:
            return encode_value({"request": data})
        except Exception as error:
            parts = ("meta", "cb_kwargs", "cookies")
            culprit = next((name for name in parts if not _storable(data.get(name))), "it")
            raise NotSupported(
                f"the request for {request.url} cannot lie in a queue: {culprit} holds what is no plain "
                f"data ({error}); "
                "pass numbers, text, lists and dicts"
            ) from None

    def request(self, data: dict[str, Any]) -> Request:
        """Return the request of a job."""
        if headers := data.get("headers"):
            data["headers"] = [(name, one) for name, values in headers for one in values]
        return request_from_dict(data, spider=self._spider)

    def rule(self, host: str) -> HostRule:
        """Return what holds for a host."""
        known = self._rules.get(host)
        if known is None:
            if len(self._rules) >= _HOSTS:
                self._rules.clear()
            known = self._rules[host] = self._new_rule(host)
        return known

    def _new_rule(self, host: str) -> HostRule:
        own = self._slots.get(host, {})
        delay = float(own.get("delay", self._delay))
        concurrency = int(own.get("concurrency", self._concurrency))
        ahead = 1 if delay else READ_AHEAD
        limits = LaneLimits(1.0 / delay if delay else None, 1, concurrency * ahead)
        return HostRule(delay, concurrency, Ties(lane=host, limits=limits, group=self.group))

    def set_delay(self, host: str, delay: float) -> None:
        """Note how many seconds are between two requests to a host from now on."""
        rule = self.rule(host)
        self._rules[host] = rule._replace(delay=delay)


def _storable(value: Any) -> bool:
    try:
        encode_value(value)
    except Exception:
        return False
    return True


def host_of(url: str) -> str:
    """Return the host that a URL names, without port and login."""
    place = url.split("/", 3)[2] if url.count("/") >= 2 else url
    place = place.partition("?")[0].partition("#")[0].rpartition("@")[2]
    if place.startswith("["):
        return place.partition("]")[0][1:]
    return place.partition(":")[0].lower()


def slot_of(request: Request) -> str:
    """Return the name of a request's lane: its host, or what meta["download_slot"] says."""
    slot = request.meta_get("download_slot")
    return str(slot or host_of(request.url) or "none")[:200]


def request_of(job: Job) -> dict[str, Any]:
    """Return the request of a job as plain data, for people."""
    data: dict[str, Any] = msgspec.msgpack.decode(job.args)["request"]
    return data
