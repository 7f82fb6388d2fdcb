"""Links: the quick way gives what the exact way gives, and each parameter does what its name says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from w3lib.url import safe_url_string

from worklist.crawl.links import Link, LinkExtractor, _exact_url, _path, _resolver
from worklist.crawl.response import HtmlResponse

PAGE = """
<html><head><base href="/docs/"></head><body>
<div id="menu"><a href="/">Home</a> <a href="/a.html" rel="external, NoFollow">A</a></div>
<div id="main">
  <a href=" b.html
">B <b>bold</b></a> <a href="b.html#part">part</a> <a href="b.html">again</a> <a href="">self</a> <a>none</a>
  <a href="pic.PNG">picture</a> <a href="mailto:a@b.test">mail</a> <a href="javascript:go('x.html')">js</a>
  <a href="http://other.test/x?b=2&amp;a=1">other</a> <a href="http://sub.other.test/y">sub</a>
  <a href="http://[bad/">bad</a> <a href="//cdn.test/z">cdn</a> <a href="ü?q=ü">umlaut</a>
  <area href="c.html"><img src="i.svg"><link href="style">
</div></body></html>
"""

words = st.text(st.sampled_from("ab.-_~/?#=&:;@%20 +ü[]\\\t\n()'!,$*\"<>|^{}Ä中" + "A9"), max_size=14)
pieces = st.sampled_from(
    ["/", "//", "..", "/../", "./", "a.html", "?", "#", "?a=1&b=2", "#x", "http://", "https://h.test", ":80", "%41",
     "%", "a b", ";p=1", "@", "x.py", "HTTP://H", "ftp://f/", "data:,x", "1.2.3.4", "h.test.", "01.2.3.4", "\u00ad"]
)  # fmt: skip
hrefs = st.lists(pieces | words, max_size=5).map("".join)
bases = st.sampled_from(
    ["http://h.test/", "http://h.test", "http://127.0.0.1:8000/a/b.html?q=1#f", "https://h.test/a/b/", "http://h.test/a;b/c",
     "http://h.test:80/x", "http://h.test:8080/x?y", "http://H.test/x", "http://h.test/%7Ex/y", "http://u:p@h.test/d/",
     "file:///tmp/x.html", "http://h.test/a/../b", "http://1.2.3/x", "http://h_1.test/x", "http://h.test/x?/y/z"]
)  # fmt: skip


def page(text: str = PAGE, url: str = "http://site.test/x/y.html", encoding: str = "utf-8") -> HtmlResponse:
    return HtmlResponse(url, body=text.encode(encoding), encoding=encoding)


def urls(*, of: HtmlResponse | None = None, **parameters) -> list[str]:
    return [link.url for link in LinkExtractor(**parameters).extract_links(of or page())]


@settings(max_examples=3000, deadline=None)
@given(bases, hrefs)
def test_the_quick_way_is_the_exact_way(base, value):
    safe = safe_url_string(base)
    assert _resolver(safe, base, "utf-8")(value) == _exact_url(safe, base, "utf-8", None, value)


@settings(max_examples=1000, deadline=None)
@given(bases, hrefs)
def test_the_path_of_a_url_is_urlparses(base, value):
    from urllib.parse import urlparse

    url = _exact_url(base, base, "utf-8", None, value)
    if url and url.startswith(("http://", "https://")):
        assert _path(url) == urlparse(url).path


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "area", "p", "link"]), hrefs, st.text(max_size=5)), max_size=8), bases)
def test_a_page_gives_the_links_of_its_document(elements, base):
    """Against the rule as one would write it down: every href in order, made absolute, http or file or ftp, once."""
    from html import escape

    text = "".join(f'<{tag} href="{escape(href)}">{escape(inner)}</{tag}>' for tag, href, inner in elements)
    response = page(f"<html><body>{text}</body></html>", url=safe_url_string(base))
    expected = []
    for value in response.xpath("//*[self::a or self::area]/@href").getall():
        url = _exact_url(response.base_url, response.url, "utf-8", None, value.strip("\t\n\x0c\r "))
        if url and url not in expected and url.partition("://")[0] in {"http", "https", "file", "ftp"}:
            expected.append(url)
    assert urls(of=response, deny_extensions=()) == expected


def test_links_of_a_page():
    links = LinkExtractor().extract_links(page())
    assert [link.url for link in links] == [
        "http://site.test/",
        "http://site.test/a.html",
        "http://site.test/docs/b.html",
        "http://site.test/docs/b.html#part",
        "http://site.test/docs/",
        "http://other.test/x?b=2&a=1",
        "http://sub.other.test/y",
        "http://cdn.test/z",
        "http://site.test/docs/%C3%BC?q=%C3%BC",
        "http://site.test/docs/c.html",
    ]
    assert links[2] == Link("http://site.test/docs/b.html", "B bold")
    assert {type(link.text) for link in links} == {str}  # lxml's own kind keeps the whole tree, and cannot be stored
    assert [link.nofollow for link in links[:3]] == [False, True, False]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"allow": r"/x\?"}, ["http://other.test/x?b=2&a=1"]),
        ({"allow": [re.compile("CDN", re.IGNORECASE), "sub"]}, ["http://sub.other.test/y", "http://cdn.test/z"]),
        ({"allow": "other", "deny": ("sub",)}, ["http://other.test/x?b=2&a=1"]),
        ({"allow_domains": "Other.test"}, ["http://other.test/x?b=2&a=1", "http://sub.other.test/y"]),
        ({"deny_domains": ["site.test", "cdn.test", "sub.other.test"]}, ["http://other.test/x?b=2&a=1"]),
        ({"restrict_css": "#menu"}, ["http://site.test/", "http://site.test/a.html"]),
        ({"restrict_xpaths": ["//a[@rel]", "//div[@id='menu']"]}, ["http://site.test/a.html", "http://site.test/"]),
        ({"restrict_text": "^Ho"}, ["http://site.test/"]),
        ({"tags": "img", "attrs": "src", "deny_extensions": ()}, ["http://site.test/docs/i.svg"]),
        ({"tags": "*", "attrs": "*", "deny_tags": ("a", "area", "base"), "deny_attrs": "src", "allow": "docs/style"},
         ["http://site.test/docs/style"]),
        ({"canonicalize": True, "allow_domains": "other.test"}, ["http://other.test/x?a=1&b=2", "http://sub.other.test/y"]),
        ({"deny_extensions": (), "allow": "pic"}, ["http://site.test/docs/pic.PNG"]),
        ({"deny_extensions": "html", "allow": "html"}, []),
        ({"unique": False, "allow": "b.html$"}, ["http://site.test/docs/b.html"] * 2),
    ],
)  # fmt: skip
def test_parameters(parameters, expected):
    assert urls(**parameters) == expected


def test_process_value_changes_or_drops():
    def unwrap(value: str) -> str | None:
        inside = re.search(r"go\('(.*?)'", value)
        return inside[1] if inside else None

    assert urls(process_value=unwrap) == ["http://site.test/x/x.html"]


def test_white_space_around_a_value_is_taken_off_unless_told():
    seen = []
    for strip in (True, False):
        urls(of=page("<a href='b.html '>b</a>"), strip=strip, process_value=seen.append)
    assert seen == ["http://site.test/x/b.html", "http://site.test/x/b.html "]


def test_canonical_urls_are_deduplicated_by_canonical_form():
    response = page("<a href='/x?b=1&a=2'>1</a><a href='/x?a=2&b=1'>2</a><a href='/x?a=2&b=1#f'>3</a>")
    assert len(urls(of=response)) == 3
    assert urls(of=response, canonicalize=True) == ["http://site.test/x?a=2&b=1"]


def test_the_query_is_in_the_pages_encoding_and_the_path_in_utf_8():
    response = page("<a href='/ü?q=ü'>x</a>", encoding="cp1252")
    assert urls(of=response) == ["http://site.test/%C3%BC?q=%FC"]


def test_regions_have_to_be_elements():
    with pytest.raises(TypeError, match="finds text"):
        urls(restrict_xpaths="//a/text()")


def test_matches_judges_a_url_alone():
    extractor = LinkExtractor(allow=r"/item/", deny="draft", allow_domains="site.test")
    assert extractor.matches("http://www.site.test/item/1")
    assert not extractor.matches("http://site.test/item/draft")
    assert not extractor.matches("http://other.test/item/1")


def test_a_link_is_a_value():
    assert Link("http://a", "t") == Link("http://a", "t")
    assert len({Link("http://a"), Link("http://a"), Link("http://a", nofollow=True)}) == 2
    with pytest.raises(TypeError, match="is a str"):
        Link(b"http://a")
