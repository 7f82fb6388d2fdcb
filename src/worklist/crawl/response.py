"""What came back for a request: bytes with a URL, headers and, where it is text, selectors.

Everything that costs (decoding, parsing) happens when it is first asked for. `response_for` picks the class by what the
server said and, where it said nothing of use, by the first bytes. Nothing here knows of the engine or the downloader.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from re import Pattern
from typing import Any, Self
from urllib.parse import urljoin

import parsel
from lxml import etree
from w3lib.encoding import (
    html_body_declared_encoding,
    html_to_unicode,
    http_content_type_encoding,
    read_bom,
    resolve_encoding,
)
from w3lib.html import get_base_url, strip_html5_whitespace

from .fingerprint import safe
from .headers import Headers
from .request import Request

_plain_path = re.compile(r"(?:/[A-Za-z0-9\-_~][A-Za-z0-9\-._~]*)+/?(?:\?[A-Za-z0-9\-._~=&]+)?\Z").match
_plain_origin = re.compile(r"https?://[a-z0-9.\-]+(?::[0-9]+)?(?=[/?#]|\Z)").match
"""What `urljoin` only puts together: a path without dots at the beginning of its parts, and where it begins."""
_base_tag = re.compile(r"<base\b", re.IGNORECASE).search
_WHITE = "\t\n\f\r "
_UNSET: Any = object()
_HEAD = 4096  # characters in which <base href> is looked for
_SNIFFED = 5000  # bytes that are looked at to tell text from binary
_CONTROL = frozenset(range(32)) - {9, 10, 12, 13, 27}
_BINARY_STARTS = (
    b"%PDF-",
    b"\x89PNG\r\n",
    b"GIF87a",
    b"GIF89a",
    b"\xff\xd8\xff",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"Rar!\x1a",
)


class Response:
    """An answer of a server whose body is not known to be text.

    `headers` are case-insensitive; `status` is the code of HTTP; `request` is what was asked (its `meta` and
    `cb_kwargs` can be read here too). To change something, make a copy with `replace`.
    """

    attributes: tuple[str, ...] = (
        "url", "status", "headers", "body", "flags", "request", "certificate", "ip_address", "protocol",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        status: int = 200,
        headers: Any = None,
        body: bytes = b"",
        flags: Iterable[str] | None = None,
        request: Request | None = None,
        certificate: Any = None,
        ip_address: Any = None,
        protocol: str | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"the URL of a response is a str, not {type(url).__name__}")
        if not isinstance(body, bytes):
            raise TypeError(f"the body of a {type(self).__name__} is bytes, not {type(body).__name__}")
        self.url = url
        self.status = int(status)
        self.headers: Headers = headers if isinstance(headers, Headers) else Headers(headers or {})
        self.body = body
        self.flags: list[str] = list(flags) if flags else []
        self.request = request
        self.certificate = certificate
        self.ip_address = ip_address
        self.protocol = protocol

    @property
    def meta(self) -> dict[str, Any]:
        """The `meta` of the request that this answers."""
        return self._asked("meta").meta

    @property
    def cb_kwargs(self) -> dict[str, Any]:
        """The `cb_kwargs` of the request that this answers."""
        return self._asked("cb_kwargs").cb_kwargs

    def _asked(self, attribute: str) -> Request:
        if self.request is None:
            raise AttributeError(f"response.{attribute} is that of its request, and {self!r} has none")
        return self.request

    def __repr__(self) -> str:
        return f"<{self.status} {self.url}>"

    def copy(self) -> Self:
        """Return the same response once more."""
        return self.replace()  # type: ignore[no-any-return]

    def replace(self, *args: Any, cls: type[Any] | None = None, **changes: Any) -> Any:
        """Return a response like this one with some attributes changed, of another class where `cls` is given."""
        kind = cls or type(self)
        for name in self.attributes[len(args) :]:
            if name in kind.attributes and name not in changes:
                value = getattr(self, name)
                changes[name] = value.copy() if name == "headers" else value
        return kind(*args, **changes)

    def urljoin(self, url: str) -> str:
        """`url` made absolute against the URL of this response."""
        return urljoin(self.url, url)

    @property
    def text(self) -> str:
        """The body as text: only where the class is a `TextResponse`."""
        raise AttributeError(self._not_text("text"))

    def css(self, *_a: Any, **_kw: Any) -> parsel.SelectorList[parsel.Selector]:
        """Elements by CSS selector: only where the class is a `TextResponse`."""
        raise TypeError(self._not_text("css()"))

    def xpath(self, *_a: Any, **_kw: Any) -> parsel.SelectorList[parsel.Selector]:
        """Nodes by XPath: only where the class is a `TextResponse`."""
        raise TypeError(self._not_text("xpath()"))

    def jmespath(self, *_a: Any, **_kw: Any) -> parsel.SelectorList[parsel.Selector]:
        """Values of JSON: only where the class is a `TextResponse`."""
        raise TypeError(self._not_text("jmespath()"))

    def _not_text(self, what: str) -> str:
        kind = self.headers.get(b"Content-Type")
        said = f", sent as {bytes(kind).decode('latin-1')}" if kind else ""
        return f"{what} needs a text response; the body of {self.url} is no text ({len(self.body)} bytes{said})"

    def follow(
        self,
        url: Any,
        callback: Callable[..., Any] | str | None = None,
        method: str = "GET",
        headers: Any = None,
        body: bytes | str | None = None,
        cookies: Any = None,
        meta: dict[str, Any] | None = None,
        encoding: str | None = "utf-8",
        priority: int = 0,
        dont_filter: bool = False,
        errback: Callable[..., Any] | str | None = None,
        cb_kwargs: dict[str, Any] | None = None,
        flags: list[str] | None = None,
        **schedule: Any,
    ) -> Request:
        """Make a request for `url`: relative, a `Link`, or (of a text response) a selector of <a> or <link>.

        The other parameters are those of `Request`, `delay` and `not_before` among them.
        """
        if url is None:
            raise ValueError("follow() got None for a URL: did the selector find nothing?")
        return Request(
            url=self.urljoin(getattr(url, "url", url)),
            callback=callback,
            method=method,
            headers=headers,
            body=body,
            cookies=cookies,
            meta=meta,
            encoding=encoding or "utf-8",
            priority=priority,
            dont_filter=dont_filter,
            errback=errback,
            cb_kwargs=cb_kwargs,
            flags=flags,
            **schedule,
        )

    def follow_all(self, urls: Iterable[Any], *args: Any, **kwargs: Any) -> Iterable[Request]:
        """Make a request for each of `urls`; the other parameters are those of `follow`."""
        if not hasattr(urls, "__iter__"):
            raise TypeError(f"follow_all() takes several URLs, not {type(urls).__name__}; for one use follow()")
        return (self.follow(url, *args, **kwargs) for url in urls)


class TextResponse(Response):
    """A response whose body is text, in an encoding that is found out as browsers do.

    First what was given, then a byte order mark, the Content-Type header, what the document declares, and last a guess.
    """

    attributes = (*Response.attributes, "encoding")
    _kind = "html"  # how parsel parses it

    def __init__(
        self,
        url: str,
        status: int = 200,
        headers: Any = None,
        body: bytes | str = b"",
        flags: Iterable[str] | None = None,
        request: Request | None = None,
        certificate: Any = None,
        ip_address: Any = None,
        protocol: str | None = None,
        encoding: str | None = None,
    ) -> None:
        if isinstance(body, str):
            if encoding is None:
                raise TypeError(f"a {type(self).__name__} made of a str needs encoding=, for example encoding='utf-8'")
            body = body.encode(encoding)
        super().__init__(url, status, headers, body, flags, request, certificate, ip_address, protocol)
        self._encoding = encoding
        self._text: str | None = None
        self._selector: parsel.Selector | None = None
        self._json_selector: parsel.Selector | None = None
        self._json: Any = _UNSET
        self._base: str | None = None

    @property
    def encoding(self) -> str:
        """The name of the encoding by which the body was, or will be, decoded."""
        if self._encoding is None:
            self._encoding = self._declared() or self._infer()
        return self._encoding

    def _declared(self) -> str | None:
        mark = read_bom(self.body)[0]
        return mark or http_content_type_encoding(self._content_type) or self._declared_by_body()

    def _declared_by_body(self) -> str | None:
        """Return what the document declares; where that could be read, it is no UTF-16, as browsers know."""
        name = html_body_declared_encoding(self.body)
        return "utf-8" if name is not None and name.startswith(("utf-16", "utf-32")) else name

    @property
    def _content_type(self) -> str:
        return (self.headers.get(b"Content-Type") or b"").decode("latin-1")

    def _infer(self) -> str:
        encoding, self._text = html_to_unicode(
            self._content_type, self.body, auto_detect_fun=_guess, default_encoding="utf-8"
        )
        return encoding

    @property
    def text(self) -> str:
        """The body, decoded; bytes that are not of the encoding become U+FFFD."""
        encoding = self.encoding  # a guess decodes as it goes
        if self._text is None:
            self._text = html_to_unicode(f"charset={encoding}", self.body)[1]
        return self._text

    @property
    def base_url(self) -> str:
        """What relative links of this page are relative to: its <base href>, else its URL."""
        if self._base is None:
            head = self.text[:_HEAD]
            self._base = get_base_url(head, self.url, self.encoding) if _base_tag(head) else safe(self.url)
        return self._base

    def urljoin(self, url: str) -> str:
        """`url` made absolute against the base of this page."""
        if _plain_path(url):
            return self._origin + url if self._origin else urljoin(self.base_url, url)
        return urljoin(self.base_url, url)

    @cached_property
    def _origin(self) -> str:
        """Scheme and host of the base, where they are plain, else nothing."""
        found = _plain_origin(self.base_url)
        return found[0] if found else ""

    def json(self) -> Any:
        """Decode the body as JSON; the same object at every call."""
        if self._json is _UNSET:
            try:
                self._json = json.loads(self.body)
            except UnicodeDecodeError:
                self._json = json.loads(self.text)
        return self._json

    @property
    def selector(self) -> parsel.Selector:
        """The parsed document."""
        if self._selector is None:
            self._selector = parsel.Selector(text=self.text, type=self._kind, base_url=self.url)
        return self._selector

    def css(self, query: str, *_a: Any, **_kw: Any) -> parsel.SelectorList[parsel.Selector]:
        """Elements by CSS selector; `::text` and `::attr(name)` give strings."""
        return self.selector.css(query)

    def xpath(self, query: str, *_a: Any, **kwargs: Any) -> parsel.SelectorList[parsel.Selector]:
        """Nodes by XPath; keyword arguments are its $variables and `namespaces`."""
        return self.selector.xpath(query, **kwargs)

    def jmespath(self, query: str, *_a: Any, **kwargs: Any) -> parsel.SelectorList[parsel.Selector]:
        """Values of a JSON body by JMESPath."""
        if self._json_selector is None:
            self._json_selector = parsel.Selector(text=self.text, type="json", base_url=self.url)
        return self._json_selector.jmespath(query, **kwargs)

    def re(self, pattern: str | Pattern[str], replace_entities: bool = True) -> list[str]:
        """Find the regular expression in the whole text."""
        return self.selector.re(pattern, replace_entities=replace_entities)

    def re_first(self, pattern: str | Pattern[str], default: str | None = None) -> str | None:
        """Find the first match of the regular expression in the whole text."""
        return next(iter(self.re(pattern)), default)

    def follow(self, url: Any, *args: Any, **kwargs: Any) -> Request:
        """As `Response.follow`; `url` may also be a selector of an <a> or <link>, or of its href."""
        if isinstance(url, parsel.SelectorList):
            raise ValueError("follow() takes one selector, not a list; use follow_all()")  # noqa: TRY004 - as Scrapy
        if isinstance(url, parsel.Selector):
            url = _href(url)
        if len(args) < 7:  # the place of `encoding`
            kwargs["encoding"] = kwargs.get("encoding") or self.encoding
        return super().follow(url, *args, **kwargs)

    def follow_all(
        self,
        urls: Iterable[Any] | None = None,
        *args: Any,
        css: str | None = None,
        xpath: str | None = None,
        **kwargs: Any,
    ) -> Iterable[Request]:
        """Make a request for each of `urls`, or for each that `css` or `xpath` finds; one without href is left out."""
        if sum(given is not None for given in (urls, css, xpath)) != 1:
            raise ValueError("follow_all() takes exactly one of: urls, css=, xpath=")
        if css is not None:
            return self._followed(self._hrefs_of(css), args, kwargs)
        if xpath is not None:
            urls = self.xpath(xpath)
        if isinstance(urls, parsel.SelectorList):
            return self._followed(_hrefs(urls), args, kwargs)
        return super().follow_all(urls or [], *args, **kwargs)

    def _hrefs_of(self, css: str) -> Iterable[str]:
        """Return what the elements that a selector finds link to, in one go where it finds elements."""
        if "::" not in css and self._kind == "html":
            with contextlib.suppress(etree.XPathError):
                return [href.strip(_WHITE) for href in _hrefs_xpath(parsel.css2xpath(css))(self.selector.root)]
        return _hrefs(self.css(css))

    def _followed(self, urls: Iterable[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Request]:
        """Make requests for what a page links to; what is no URL at all is the page's fault, and left out."""
        if len(args) < 7:  # the place of `encoding`
            kwargs["encoding"] = kwargs.get("encoding") or self.encoding
        origin = self._origin
        like: Request | None = None
        if origin:
            like = super().follow(f"{origin}/", *args, **kwargs) if args else Request(f"{origin}/", **kwargs)
        for url in urls:
            if like is not None and _plain_path(url):
                yield like.for_url(origin + url)
            else:
                with contextlib.suppress(ValueError):
                    yield super().follow(url, *args, **kwargs)


class HtmlResponse(TextResponse):
    """A page of HTML."""


class XmlResponse(TextResponse):
    """A document of XML: selectors know its namespaces."""

    _kind = "xml"


class JsonResponse(TextResponse):
    """A document of JSON: see `json` and `jmespath`."""

    _kind = "json"


def _guess(body: bytes) -> str | None:
    """UTF-8 where the bytes can only be that, else Windows' Latin, in which any byte means something."""
    for name in ("utf-8", "cp1252"):
        try:
            codecs.lookup(name).decode(body)
        except UnicodeDecodeError:
            continue
        return resolve_encoding(name)
    return None


@functools.lru_cache(maxsize=256)
def _hrefs_xpath(elements: str) -> Any:
    """Compile an XPath of elements to one that finds what those of them link to that can."""
    return etree.XPath(f"({elements})[self::a or self::link]/@href", smart_strings=False)


def _href(selector: parsel.Selector) -> str:
    root = selector.root
    if isinstance(root, str):  # ::attr(href), ::text
        return strip_html5_whitespace(root)
    tag = getattr(root, "tag", None)
    if tag not in {"a", "link"}:
        raise ValueError(f"follow() takes a selector of <a> or <link>, not of {tag or type(root).__name__}")
    href = root.get("href")
    if href is None:
        raise ValueError(f"follow() got a <{tag}> without href: {selector.get()[:80]}")
    return strip_html5_whitespace(href)


def _hrefs(selectors: Iterable[parsel.Selector]) -> Iterator[str]:
    for selector in selectors:
        try:
            yield _href(selector)
        except ValueError:
            continue


_CLASSES: dict[str, type[Response]] = {
    "text/html": HtmlResponse,
    "application/xhtml+xml": HtmlResponse,
    "application/vnd.wap.xhtml+xml": HtmlResponse,
    "application/xml": XmlResponse,
    "text/xml": XmlResponse,
    "application/json": JsonResponse,
    "application/x-json": JsonResponse,
    "application/javascript": TextResponse,
    "application/x-javascript": TextResponse,
}
_FILENAME = re.compile(r"""filename\s*=\s*["']?([^"';]+)""", re.IGNORECASE)


def response_for(
    request: Request | None,
    url: str,
    status: int = 200,
    headers: Any = None,
    body: bytes = b"",
    **rest: Any,
) -> Response:
    """Make a response of the class that fits: by Content-Type, file name, URL, and the first bytes, in this order."""
    known = headers if isinstance(headers, Headers) else Headers(headers or {})
    return class_for(known, url, body)(url, status, known, body=body, request=request, **rest)


def class_for(headers: Headers, url: str, body: bytes) -> type[Response]:
    """Choose the class for such headers, URL and body. A body that begins as a binary format does is never text."""
    if body.startswith(_BINARY_STARTS):
        return Response
    found = _of_type((headers.get(b"Content-Type") or b"").decode("latin-1"))
    if found is Response:
        found = _of_disposition((headers.get(b"Content-Disposition") or b"").decode("latin-1"))
    if found is Response:
        found = _of_name(url.partition("?")[0].partition("#")[0])
    return _of_body(body) if found is Response else found


def _of_type(content_type: str) -> type[Response]:
    mime = content_type.partition(";")[0].strip().lower()
    if found := _CLASSES.get(mime):
        return found
    if mime.endswith("+xml"):
        return XmlResponse
    if mime.endswith("+json"):
        return JsonResponse
    return TextResponse if mime.startswith("text/") else Response


def _of_disposition(disposition: str) -> type[Response]:
    named = _FILENAME.search(disposition)
    return _of_name(named[1]) if named else Response


def _of_name(name: str) -> type[Response]:
    mime, compressed = mimetypes.guess_type(name)
    return _of_type(mime) if mime and not compressed else Response


def _of_body(body: bytes) -> type[Response]:
    head = body[:_SNIFFED]
    if read_bom(head)[0] is None and not _CONTROL.isdisjoint(head):
        return Response
    head = head.lstrip().lower()
    if b"<html" in head or head.startswith((b"<!doctype html", b"<head", b"<body")):
        return HtmlResponse
    return XmlResponse if head.startswith(b"<?xml") else TextResponse
