"""Fingerprints: the fast path says what w3lib says; and when two requests are the same."""

from urllib.parse import urljoin

from hypothesis import given
from hypothesis import strategies as st
from w3lib.url import canonicalize_url, safe_url_string

from worklist.crawl.fingerprint import canonical, fingerprint, safe
from worklist.crawl.headers import Headers
from worklist.crawl.request import FormRequest, JsonRequest, Request, request_from_dict
from worklist.crawl.response import TextResponse

PARTS = [
    "http://",
    "https://",
    "a",
    "B",
    "x.org",
    "/",
    ".",
    "..",
    "?",
    "&",
    "=",
    "#",
    "%20",
    "%7e",
    "+",
    " ",
    "é",
    ":80",
]
PARTS += ["-", "_", "~", "q=1", "z", "//", "@", ";", "1"]
urls = st.lists(st.sampled_from(PARTS), max_size=9).map(lambda parts: "http://x.org/" + "".join(parts))
hosts = st.lists(st.sampled_from(PARTS), max_size=9).map(lambda parts: "http://" + "".join(parts))


def outcome(function, url):
    try:
        return function(url)
    except ValueError:
        return ValueError


@given(st.one_of(urls, hosts))
def test_canonical_as_w3lib(url):
    assert outcome(canonical, url) == outcome(canonicalize_url, url)


@given(st.one_of(urls, hosts))
def test_safe_as_w3lib(url):
    assert outcome(safe, url) == outcome(safe_url_string, url)


@given(st.one_of(urls, hosts), st.lists(st.sampled_from(PARTS), max_size=6).map("".join))
def test_joined_as_urllib(base, link):
    page = TextResponse(base, body=b"")
    assert outcome(page.urljoin, link) == outcome(lambda it: urljoin(page.base_url, it), link)


def test_same_and_different():
    def mark(url, **more):
        return fingerprint(Request(url, **more))

    assert mark("http://x.org/?b=2&a=1#top") == mark("http://x.org/?a=1&b=2")
    assert mark("http://x.org/") != mark("http://x.org/", method="POST")
    assert mark("http://x.org/", method="POST", body="1") != mark("http://x.org/", method="POST", body="2")
    assert mark("http://x.org/a") != mark("http://x.org/b")


def test_requests_there_and_back():
    requests = [
        Request("http://x.org/a", callback="parse", headers={"A": ["1", "2"]}, meta={"k": [1]}, cb_kwargs={"n": 1}),
        FormRequest("http://x.org/f", formdata={"q": "1"}, priority=3, dont_filter=True),
        JsonRequest("http://x.org/j", data={"q": 1}),
    ]
    for request in requests:
        data = request.to_dict()
        if "headers" in data:
            data["headers"] = [(name, one) for name, values in data["headers"] for one in values]
        again = request_from_dict(data)
        assert type(again) is type(request)
        for name in ("url", "method", "body", "headers", "meta", "cb_kwargs", "priority", "dont_filter"):
            assert getattr(again, name) == getattr(request, name), name


def test_headers():
    headers = Headers({"content-type": "text/html", "X": ["1", "2"]})
    assert headers["Content-Type"] == b"text/html"
    assert headers.get("x") == b"2"
    assert headers.getlist(b"X") == [b"1", b"2"]
    assert headers.get("absent") is None
    headers.appendlist("x", 3)
    assert headers.to_unicode_dict()["X"] == "1,2,3"
    assert ("X", "1") in headers.pairs()
