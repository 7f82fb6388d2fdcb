"""Failures that may pass: the request is made again later, and a host that says so is left alone for a while."""

from __future__ import annotations

import email.utils
import time
from typing import Any

from ...core.outcome import Retry
from ..exceptions import BodyTooLarge, CertificateRefused, DownloadError, NotConfigured
from ..frontier import slot_of

_LONGEST = 60.0
_BUSY = (429, 503)


class RetryMiddleware:
    """Has the job of a request tried again, with a delay that doubles, RETRY_TIMES times at most."""

    def __init__(self, crawler: Any) -> None:
        settings = crawler.settings
        if not settings.getbool("RETRY_ENABLED"):
            raise NotConfigured("RETRY_ENABLED is false")
        self._crawler = crawler
        self._times = settings.getint("RETRY_TIMES")
        self._codes = frozenset(int(code) for code in settings.getlist("RETRY_HTTP_CODES"))
        self._delay = settings.getfloat("RETRY_DELAY", 1.0)
        self._patience = settings.getfloat("RETRY_AFTER_MAX", 600.0)

    @classmethod
    def from_crawler(cls, crawler: Any) -> RetryMiddleware:
        """Make it."""
        return cls(crawler)

    async def process_response(self, request: Any, response: Any, spider: Any) -> Any:
        """Have a request tried again whose answer may pass; pause the lane of a host that is busy."""
        if response.status not in self._codes or request.meta_get("dont_retry"):
            return response
        wait = self._asked_for(response) if response.status in _BUSY else None
        if wait:
            await self._crawler.engine.pause(slot_of(request), wait)
        self._again(request, f"the server answered {response.status}", wait)
        return response

    def process_exception(self, request: Any, exception: BaseException, spider: Any) -> None:
        """Have a request tried again whose connection failed."""
        passing = isinstance(exception, DownloadError) and not isinstance(exception, BodyTooLarge | CertificateRefused)
        if passing and not request.meta_get("dont_retry"):
            self._again(request, str(exception), None)

    def _again(self, request: Any, reason: str, wait: float | None) -> None:
        """Raise Retry where the request has tries left."""
        stats = self._crawler.stats
        most = request.meta.get("max_retry_times", self._times)
        failures = self._crawler.engine.failures()
        if failures >= most:
            stats.inc_value("retry/max_reached")
            return
        stats.inc_value("retry/count")
        stats.inc_value(f"retry/reason_count/{reason.rpartition(': ')[2][:60]}")
        raise Retry(max(wait or 0.0, min(_LONGEST, self._delay * 2**failures)), reason=f"{request.url}: {reason}")

    def _asked_for(self, response: Any) -> float | None:
        """Return the seconds of a Retry-After."""
        said = response.headers.get(b"Retry-After")
        text = said.decode("latin-1").strip() if said else ""
        if text.isdigit():
            wait = float(text)
        elif text and _is_date(text):
            wait = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        else:
            return None
        return float(min(self._patience, max(0.0, wait)))


def _is_date(text: str) -> bool:
    return email.utils.parsedate(text) is not None
