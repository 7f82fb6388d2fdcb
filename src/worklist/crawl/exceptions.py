"""What a spider, a pipeline or a middleware raises to say something, under Scrapy's names."""

from __future__ import annotations

from typing import Any

from ..core.errors import WorklistError


class NotConfigured(WorklistError):
    """A component that raises this when it is made is left out of the crawl."""


class NotSupported(WorklistError):
    """The crawler cannot do this."""


class IgnoreRequest(WorklistError):
    """The request is not to be made, or its response not to be looked at."""


class HttpError(IgnoreRequest):
    """The server answered with a status that the spider does not handle."""

    def __init__(self, response: Any, message: str | None = None) -> None:
        super().__init__(message or f"the server answered {response.status}")
        self.response = response


class DropItem(WorklistError):
    """The item is not wanted: no later pipeline and no feed gets it."""


class CloseSpider(WorklistError):
    """Raise it in a callback to end the crawl."""

    def __init__(self, reason: str = "cancelled") -> None:
        super().__init__(reason)
        self.reason = reason


class DontCloseSpider(WorklistError):
    """Raise it in a handler of `spider_idle` to keep the crawl alive."""


class DownloadError(WorklistError):
    """The server could not be reached, or did not answer as HTTP has it."""


class DownloadTimeout(DownloadError, TimeoutError):
    """The server took longer than DOWNLOAD_TIMEOUT."""


class BodyTooLarge(DownloadError):
    """The body is larger than DOWNLOAD_MAXSIZE."""


class CertificateRefused(DownloadError):
    """The certificate of the server is not to be trusted."""


class BrowserMissing(NotSupported):
    """A page is to be rendered, but there is no browser; the crawl ends, and the page stays in the queue."""


class Failure:
    """An exception with the request that it happened to: what an errback gets."""

    def __init__(self, value: BaseException, request: Any = None) -> None:
        self.value = value
        self.type = type(value)
        self.request = request

    def check(self, *kinds: Any) -> Any:
        """Return the first of these classes, or names of classes, that the exception is of; else None."""
        names = {kind.__name__ for kind in self.type.__mro__}
        for kind in kinds:
            if kind.rpartition(".")[2] in names if isinstance(kind, str) else isinstance(self.value, kind):
                return kind
        return None

    def getErrorMessage(self) -> str:  # noqa: N802 - as Twisted
        """Return what the exception says."""
        return str(self.value)

    def __repr__(self) -> str:
        return f"<Failure {self.type.__name__}: {self.value}>"
