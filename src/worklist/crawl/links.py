"""Links of a page: which there are, absolute, each once, and which of them a spider wants.

The rules of what is a link, how it is made absolute and when two are the same are Scrapy's, to the letter, because
what a crawl reaches hangs on them. Most URLs on the web are plain; for these the answer is worked out by a regular
expression and two string operations, and the exact, slow functions of w3lib are asked for the rest only. The document
is the one that selectors use: it is parsed once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from re import Pattern
from typing import Any
from urllib.parse import urljoin, urlparse

from lxml import etree
from parsel.csstranslator import HTMLTranslator
from w3lib.html import strip_html5_whitespace
from w3lib.url import canonicalize_url, safe_url_string

from .response import TextResponse

_Patterns = str | Pattern[str] | Iterable[str | Pattern[str]]

_IGNORED = (
    "7z 7zip bz2 rar tar tar.gz xz zip",  # archives
    "mng pct bmp gif jpg jpeg png pst psp tif tiff ai drw dxf eps ps svg cdr ico webp",  # pictures
    "mp3 wma ogg wav ra aac mid au aiff",  # sound
    "3gp asf asx avi mov mp4 mpg qt rm swf wmv m4a m4v flv webm",  # films
    "xls xlsm xlsx xltm xltx potm potx ppt pptm pptx pps doc docb docm docx dotm dotx odt ods odg odp",  # offices
    "css pdf exe bin rss dmg iso apk jar sh rb js hta bat cpl msi msp py",  # others
)
IGNORED_EXTENSIONS = tuple(extension for line in _IGNORED for extension in line.split())
_SCHEMES = ("http://", "https://", "file://", "ftp://")
_XHTML = "{http://www.w3.org/1999/xhtml}"
# Plain strings: smart ones keep their whole tree in memory, and cannot be stored in a queue.
_text_of: Callable[[Any], str] = etree.XPath("string()", smart_strings=False)  # type: ignore[assignment]  # gives text

# URLs that `urljoin` and `safe_url_string` leave as they are. A segment that is . or .. is none of these.
_SEGMENT = r"(?:(?!\.{1,2}(?:[/?#]|\Z))[A-Za-z0-9\-._~]+)"
_PATH = rf"(?:(?:/{_SEGMENT})+/?|/)"
_REST = r"(?:\?[A-Za-z0-9\-._~=&]+)?(?:#[A-Za-z0-9\-._~]+)?\Z"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HOST = rf"https?://(?:(?:[a-z0-9\-]+\.)*[a-z][a-z0-9\-]*|{_BYTE}(?:\.{_BYTE}){{3}})(?::[1-9][0-9]{{3,4}})?"
_whole = re.compile(_HOST + _PATH + _REST).match
_rooted = re.compile(_PATH + _REST).match
_named = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*/?{_REST}").match
_fragment = re.compile(r"#[A-Za-z0-9\-._~]+\Z").match


class Link:
    """A link of a page: its absolute `url`, the `text` inside its element, whether it says `nofollow`."""

    __slots__ = ("fragment", "nofollow", "text", "url")

    def __init__(self, url: str, text: str = "", fragment: str = "", nofollow: bool = False) -> None:
        if not isinstance(url, str):
            raise TypeError(f"the URL of a link is a str, not {type(url).__name__}")
        self.url = url
        self.text = text
        self.fragment = fragment
        self.nofollow = nofollow

    def _values(self) -> tuple[str, str, str, bool]:
        return (self.url, self.text, self.fragment, self.nofollow)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Link) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"Link(url={self.url!r}, text={self.text!r}, fragment={self.fragment!r}, nofollow={self.nofollow!r})"


class LinkExtractor:
    """Finds the links of a response; the parameters have Scrapy's names and meanings.

    `allow` and `deny`: regular expressions searched in the absolute URL; `allow_domains`, `deny_domains`: a host or a
    parent of it; `restrict_xpaths`, `restrict_css`: the regions to look in; `restrict_text`: regular expressions
    searched in the text of the link; `tags`, `attrs` (with `deny_tags`, `deny_attrs`; "*" is every one): where links
    stand; `canonicalize`: give URLs in canonical form; `unique`: each once; `process_value`: changes a value before it
    is judged, or drops it by None; `deny_extensions`: endings of paths, IGNORED_EXTENSIONS by default; `strip`:
    without the white space around.
    """

    def __init__(
        self,
        allow: _Patterns = (),
        deny: _Patterns = (),
        allow_domains: str | Iterable[str] = (),
        deny_domains: str | Iterable[str] = (),
        restrict_xpaths: str | Iterable[str] = (),
        tags: str | Iterable[str] | None = ("a", "area"),
        attrs: str | Iterable[str] | None = ("href",),
        canonicalize: bool = False,
        unique: bool = True,
        process_value: Callable[[str], str | None] | None = None,
        deny_extensions: str | Iterable[str] | None = None,
        restrict_css: str | Iterable[str] = (),
        strip: bool = True,
        restrict_text: _Patterns | None = None,
        deny_tags: str | Iterable[str] = (),
        deny_attrs: str | Iterable[str] = (),
    ) -> None:
        self.allow_res = _compiled(allow)
        self.deny_res = _compiled(deny)
        self.restrict_text = _compiled(restrict_text)
        self.allow_domains = frozenset(name.lower() for name in _several(allow_domains))
        self.deny_domains = frozenset(name.lower() for name in _several(deny_domains))
        css = HTMLTranslator()
        self.restrict_xpaths = (
            *_several(restrict_xpaths),
            *(css.css_to_xpath(each) for each in _several(restrict_css)),
        )
        extensions = IGNORED_EXTENSIONS if deny_extensions is None else _several(deny_extensions)
        self.deny_extensions = tuple("." + each.lower() for each in extensions)
        self.canonicalize = canonicalize
        self.unique = unique
        self._tags, self._deny_tags = frozenset(_several(tags)), frozenset(_several(deny_tags))
        self._attrs, self._deny_attrs = frozenset(_several(attrs)), frozenset(_several(deny_attrs))
        self._single = (
            next(iter(self._attrs)) if len(self._attrs) == 1 and not self._attrs & {"*", *deny_attrs} else None
        )
        self._names: tuple[Any, ...] = tuple(name for each in sorted(self._tags) for name in (each, _XHTML + each))
        if "*" in self._tags:
            self._names = (etree.Element,)
        self._process_value = process_value
        self._strip = strip
        self._verdict = lru_cache(maxsize=4096)(self._judge)  # menus stand on every page of a site

    def extract_links(self, response: TextResponse) -> list[Link]:
        """Give the wanted links of the page in the order of the document."""
        url_of = _resolver(response.base_url, response.url, response.encoding, self._process_value)
        found: list[Link] = []
        for region in self._regions(response):
            links = [link for link in self._once(self._links_of(region, url_of)) if self._wanted(link)]
            if self.canonicalize:
                for link in links:
                    link.url = canonicalize_url(link.url)
            found += links
        return list(self._once(found))

    def matches(self, url: str) -> bool:
        """Tell whether `allow`, `deny` and the domains admit this URL."""
        return self._host_admitted(url) and self._pattern_admitted(url)

    def _regions(self, response: TextResponse) -> Iterator[Any]:
        if not self.restrict_xpaths:
            yield response.selector.root
        for xpath in self.restrict_xpaths:
            for region in response.selector.xpath(xpath):
                if isinstance(region.root, str):
                    raise TypeError(f"restrict_xpaths names regions, but {xpath} finds text: {region.root[:40]!r}")
                yield region.root

    def _links_of(self, region: Any, url_of: Callable[[str], str | None]) -> Iterator[Link]:
        for element, value in self._values(region):
            url = url_of(strip_html5_whitespace(value) if self._strip else value)
            if url is not None:
                yield Link(url, _text_of(element), nofollow=_says_nofollow(element.get("rel")))

    def _values(self, region: Any) -> Iterator[tuple[Any, str]]:
        """Walk over the elements and their attributes that hold links."""
        for element in region.iter(*self._names):
            if element.tag.removeprefix(_XHTML) in self._deny_tags:
                continue
            if self._single is not None:
                value = element.get(self._single)
                if value is not None:
                    yield element, value
            else:
                yield from ((element, value) for name, value in element.attrib.items() if self._holds_link(name))

    def _holds_link(self, attribute: str) -> bool:
        return attribute not in self._deny_attrs and ("*" in self._attrs or attribute in self._attrs)

    def _once(self, links: Iterable[Link]) -> Iterable[Link]:
        if not self.unique:
            return links
        by_url: dict[str, Link] = {}
        for link in links:
            by_url.setdefault(link.url, link)
        return by_url.values()

    def _wanted(self, link: Link) -> bool:
        if not self._verdict(link.url):
            return False
        return not self.restrict_text or any(each.search(link.text) for each in self.restrict_text)

    def _judge(self, url: str) -> bool:
        if not url.startswith(_SCHEMES) or not self.matches(url):
            return False
        return not (self.deny_extensions and _path(url).lower().endswith(self.deny_extensions))

    def _pattern_admitted(self, url: str) -> bool:
        if self.allow_res and not any(each.search(url) for each in self.allow_res):
            return False
        return not any(each.search(url) for each in self.deny_res)

    def _host_admitted(self, url: str) -> bool:
        if not self.allow_domains and not self.deny_domains:
            return True
        host = urlparse(url).netloc.lower()
        if self.allow_domains and not _is_of(host, self.allow_domains):
            return False
        return not (self.deny_domains and _is_of(host, self.deny_domains))


def _resolver(
    base: str, page: str, encoding: str, process: Callable[[str], str | None] | None = None
) -> Callable[[str], str | None]:
    """Make the function that turns the value of an attribute into a safe absolute URL; None where it is not one."""
    exact = partial(_exact_url, base, page, encoding, process)
    if process is not None or not _whole(base):
        return exact
    without_fragment = base.partition("#")[0]
    path = without_fragment.partition("?")[0]
    folder = path[: path.rindex("/") + 1]
    origin = "/".join(path.split("/", 3)[:3])

    def url_of(value: str) -> str | None:
        if _rooted(value):
            return origin + value
        if _named(value):
            return folder + value
        if _fragment(value):
            return without_fragment + value
        return value if _whole(value) else exact(value)

    return url_of


def _exact_url(
    base: str, page: str, encoding: str, process: Callable[[str], str | None] | None, value: str
) -> str | None:
    try:
        url: str | None = urljoin(base, value)
        if process is not None:
            url = process(url or "")
        if url is None:
            return None
        return urljoin(page, safe_url_string(url, encoding=encoding))  # what `process` gave may be relative
    except ValueError:  # [ in a host, a port that is no number, an encoding without such a letter
        return None


def _path(url: str) -> str:
    if ";" in url:  # parameters of the last segment are no part of it
        return urlparse(url).path
    _, slash, path = url.partition("#")[0].partition("?")[0].partition("://")[2].partition("/")
    return slash + path


def _says_nofollow(rel: str | None) -> bool:
    return rel is not None and "nofollow" in rel.lower().replace(",", " ").split()


def _is_of(host: str, domains: Iterable[str]) -> bool:
    return bool(host) and any(host == each or host.endswith("." + each) for each in domains)


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (
        (value,) if isinstance(value, str | bytes | Pattern | dict) or not hasattr(value, "__iter__") else tuple(value)
    )


def _compiled(patterns: _Patterns | None) -> tuple[Pattern[str], ...]:
    return tuple(each if isinstance(each, Pattern) else re.compile(each) for each in _several(patterns))
