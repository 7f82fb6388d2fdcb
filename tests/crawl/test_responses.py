"""Responses: the class that fits, encodings as browsers find them, selectors, and requests made of links."""

import contextlib

import pytest
from w3lib.encoding import read_bom

from worklist.crawl.headers import Headers
from worklist.crawl.request import Request
from worklist.crawl.response import (
    HtmlResponse,
    JsonResponse,
    Response,
    TextResponse,
    XmlResponse,
    class_for,
    response_for,
)

PAGE = "<html><head><title>Ünï</title></head><body><a href='/a'>A</a><a href=' b.html '>B</a><a>none</a></body></html>"


def html(text: str = PAGE, url: str = "http://site.test/dir/page.html", **kwargs: object) -> HtmlResponse:
    return HtmlResponse(url, body=text.encode(), encoding="utf-8", **kwargs)


@pytest.mark.parametrize(
    ("headers", "url", "body", "expected"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, "http://s/", b"", HtmlResponse),
        ({"Content-Type": "application/xhtml+xml"}, "http://s/", b"", HtmlResponse),
        ({"Content-Type": "application/rss+xml"}, "http://s/", b"", XmlResponse),
        ({"Content-Type": "application/ld+json"}, "http://s/", b"", JsonResponse),
        ({"Content-Type": "text/plain"}, "http://s/", b"<html>", TextResponse),
        ({"Content-Type": "image/png"}, "http://s/", b"\x00\x01", Response),
        ({"Content-Disposition": 'attachment; filename="a.json"'}, "http://s/", b"", JsonResponse),
        ({}, "http://s/feed.xml?x=1", b"", XmlResponse),
        ({}, "http://s/", b"  <!DOCTYPE html><p>", HtmlResponse),
        ({}, "http://s/", b'<?xml version="1.0"?><a/>', XmlResponse),
        ({}, "http://s/", b"plain words", TextResponse),
        ({}, "http://s/", b"\x00\x01\x02", Response),
        ({"Content-Type": "text/html"}, "http://s/", b"\x89PNG\r\n\x1a\n....", Response),
        ({"Content-Type": "text/html"}, "http://s/", b"%PDF-1.7", Response),
        ({}, "http://s/", "<html>ü".encode("utf-16"), HtmlResponse),
    ],
)
def test_the_class_fits_what_the_server_says_and_sends(headers, url, body, expected):
    found = class_for(Headers(headers), url, body)
    if "utf-16" in str(read_bom(body)[0]):  # text, however wide its letters
        assert issubclass(found, TextResponse)
    else:
        assert found is expected


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "text"),
    [
        ("ü€".encode(), "text/html", "utf-8", "ü€"),
        ("ü€".encode("cp1252"), "text/html", "cp1252", "ü€"),
        ("ü".encode("latin-1"), "text/html; charset=iso-8859-1", "cp1252", "ü"),  # as browsers read it
        ("<meta charset=gbk>中文".encode("gbk"), "text/html", "gb18030", "<meta charset=gbk>中文"),
        ("中文".encode("utf-8-sig"), "text/html; charset=gbk", "utf-8", "中文"),  # the mark wins
        (b'<?xml version="1.0" encoding="koi8-r"?><a>\xf0</a>', "text/xml", "koi8-r", None),
        (b"plain", "text/html", "utf-8", "plain"),
        (b"\xff\xfebad charset", "text/html; charset=no-such", "utf-16-le", None),
        (b"abc\xff", "text/html; charset=utf-8", "utf-8", "abc\ufffd"),
    ],
)
def test_encodings(body, content_type, encoding, text):
    response = TextResponse("http://s/", headers={"Content-Type": content_type}, body=body)
    if text is not None:
        assert response.text == text
    else:
        assert isinstance(response.text, str)
    assert response.encoding == encoding


def test_selectors_are_parsels():
    response = html()
    assert response.css("title::text").get() == "Ünï"
    assert response.xpath("//a/@href").getall() == ["/a", " b.html "]
    assert response.xpath("//a[@href=$href]/text()", href="/a").get() == "A"
    assert response.css("title").re(r"Ü\w+") == ["Ünï"]
    assert response.re_first(r">([AB])<") == "A"
    assert response.selector is response.selector


def test_xml_and_json():
    xml = XmlResponse("http://s/", body=b"<r xmlns='urn:x'><A>1</A></r>")
    assert xml.xpath("//x:A/text()", namespaces={"x": "urn:x"}).get() == "1"
    answer = JsonResponse("http://s/", body='{"a": {"b": [1, 2]}, "h": "<p>x</p>"}'.encode("utf-16"))
    assert answer.json()["a"]["b"] == [1, 2]
    assert answer.json() is answer.json()
    assert answer.jmespath("a.b").getall() == [1, 2]
    assert answer.jmespath("h").css("p::text").get() == "x"
    page = TextResponse("http://s/", body=b'{"n": 1}', headers={"Content-Type": "text/html"})
    assert page.jmespath("n").get() == 1


def test_relative_links_follow_base_href():
    response = html("<head><base href='/other/'></head><a href=x>x</a>")
    assert response.urljoin("x") == "http://site.test/other/x"
    assert html().urljoin("x") == "http://site.test/dir/x"
    assert Response("http://s/a/b").urljoin("c") == "http://s/a/c"


def test_follow_takes_urls_links_and_selectors():
    response = html()
    assert response.follow("x?y=1").url == "http://site.test/dir/x?y=1"
    assert response.follow(response.css("a")[1]).url == "http://site.test/dir/b.html"
    assert response.follow(response.css("a::attr(href)")[0]).url == "http://site.test/a"
    request = response.follow("x", cb_kwargs={"n": 1}, meta={"m": 2}, priority=3, method="POST", delay=5)
    assert (request.cb_kwargs, request.meta["m"], request.priority, request.method) == ({"n": 1}, 2, 3, "POST")


def test_follow_all_passes_over_what_has_no_href():
    response = html()
    expected = ["http://site.test/a", "http://site.test/dir/b.html"]
    assert [r.url for r in response.follow_all(css="a")] == expected
    assert [r.url for r in response.follow_all(xpath="//a/@href")] == expected
    assert [r.url for r in response.follow_all(response.css("a"))] == expected
    assert [r.url for r in response.follow_all(["1", "2"])] == ["http://site.test/dir/1", "http://site.test/dir/2"]
    assert list(response.follow_all(css="nothing")) == []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: r.follow(None), "None for a URL"),
        (lambda r: r.follow(r.css("a")), "use follow_all"),
        (lambda r: r.follow(r.css("title")[0]), "not of title"),
        (lambda r: r.follow(r.css("a")[2]), "without href"),
        (lambda r: r.follow_all(), "exactly one of"),
        (lambda r: r.follow_all(["a"], css="a"), "exactly one of"),
        (lambda r: r.follow_all(5), "takes several URLs"),
        (lambda r: HtmlResponse("http://s/", body="text"), "needs encoding="),
        (lambda r: Response("http://s/", body="text"), "is bytes, not str"),
        (lambda r: Response(b"http://s/"), "is a str, not bytes"),
        (lambda r: r.meta, "its request"),
        (lambda r: Response("http://s/", body=b"\0", headers={"Content-Type": "image/png"}).css("a"), "image/png"),
        (lambda r: Response("http://s/").text, "no text"),
    ],
)
def test_mistakes_are_told(call, says):
    with pytest.raises((ValueError, TypeError, AttributeError), match=says):
        call(html())


def test_meta_and_cb_kwargs_are_the_requests():
    request = Request("http://s/", meta={"depth": 2}, cb_kwargs={"a": 1})
    response = response_for(request, "http://s/", 200, {"Content-Type": "text/html"}, b"<p>", flags=["cached"])
    assert (response.meta["depth"], response.cb_kwargs, response.flags) == (2, {"a": 1}, ["cached"])
    assert isinstance(response, HtmlResponse)


def test_replace_changes_a_copy():
    response = html(flags=["x"])
    other = response.replace(body="<p>ü</p>", status=404)
    assert (other.status, other.text, response.status) == (404, "<p>ü</p>", 200)
    assert response.copy().body == response.body
    plain = response.replace(cls=Response)
    assert type(plain) is Response
    assert plain.body == response.body
    other.headers["X"] = "1"
    assert "X" not in response.headers


LINKS = """<html><head><link href="/style.css" rel=stylesheet></head><body>
<a href=" /a/b?x=1 ">1</a> <a href="../up">2</a> <a name=x>3</a> <a href="#here">4</a> <a href="http://[bad">5</a>
<a href="/a/../b">6</a> <A HREF="/UP">7</A> <a href="//other.example/x">8</a> <a href="/ü?q=ü#f">9</a> <a href="">10</a>
<a class="n x" href="/n;p">11</a> <area href="/area"><p href="/p">12</p> <a href="javascript:x()">13</a>
<a href="/q?a=1&amp;b=2">14</a> <a href="/x//y/">15</a> <a href="mailto:a@b.c">16</a>
</body></html>"""


@pytest.mark.parametrize("base", ["", "<base href='/deep/er/'>", "<BASE HREF='https://else.example:81/x/'>"])
@pytest.mark.parametrize("css", ["a", "a, link", "*", "a.n", "body > a", "a[href^='/a']", "a::attr(href)"])
@pytest.mark.parametrize(
    "url", ["http://example.com/dir/page.html?x#y", "HTTP://EXAMPLE.com", "http://example.com:80/ü"]
)
def test_follow_all_by_css_gives_what_following_one_by_one_gives(base, css, url):
    page = HtmlResponse(url, body=LINKS.replace("<head>", f"<head>{base}"), encoding="utf-8")
    wanted = []
    for each in page.css(css):
        with contextlib.suppress(ValueError):
            wanted.append(
                page.follow(each, meta={"a": [1]}, priority=3, cb_kwargs={"k": 1}, headers={"X": "1"}).to_dict()
            )
    assert wanted
    found = list(page.follow_all(css=css, meta={"a": [1]}, priority=3, cb_kwargs={"k": 1}, headers={"X": "1"}))
    assert [each.to_dict() for each in found] == wanted
    by_place = page.follow_all(
        None, None, "GET", {"X": "1"}, None, None, {"a": [1]}, css=css, priority=3, cb_kwargs={"k": 1}
    )
    assert [each.to_dict() for each in by_place] == wanted
    found[0].meta["a"] = found[0].headers["X"] = "changed"
    assert all(each.meta["a"] == [1] and each.headers["X"] == b"1" for each in found[1:])


def test_follow_all_tells_of_a_bad_selector():
    page = HtmlResponse("http://example.com", body=LINKS, encoding="utf-8")
    with pytest.raises(ValueError, match="svg"):
        page.follow_all(css="svg|a")
    with pytest.raises(SyntaxError, match="Expected"):
        page.follow_all(css="a[")
