"""Spiders as tutorials for Scrapy teach them, run against a real server after changing only their imports."""

import asyncio
import json
import threading
from contextlib import contextmanager

import pytest
from aiohttp import web

from worklist import crawl as scrapy
from worklist.crawl import CrawlSpider, DropItem, LinkExtractor, Rule, SitemapSpider, run_crawl
from worklist.crawl.loader import ItemLoader, MapCompose, TakeFirst

AUTHORS = ["Austen", "Borges", "Calvino"]
QUOTES = [{"text": f"Quote {n}", "author": AUTHORS[n % 3], "tags": ["a", "b"][: n % 3]} for n in range(12)]
PER_PAGE = 5


def quotes_page(number):
    shown = QUOTES[number * PER_PAGE : (number + 1) * PER_PAGE]
    quotes = "".join(
        f'<div class="quote"><span class="text">{q["text"]}</span><small class="author">{q["author"]}</small>'
        f'<a href="/author/{q["author"]}">(about)</a>{"".join(f"<a class=tag>{t}</a>" for t in q["tags"])}</div>'
        for q in shown
    )
    more = f'<li class="next"><a href="/page/{number + 1}">Next</a></li>' if (number + 1) * PER_PAGE < 12 else ""
    return f"<html><body>{quotes}<ul>{more}</ul><a href='/login'>Login</a></body></html>"


class Shop:
    """The site: quotes in pages, authors, a login, a JSON API, a sitemap, a page that fails."""

    def __init__(self):
        self.url = ""
        self.agents = set()

    def answer(self, text, kind="text/html", status=200):
        return web.Response(text=text, content_type=kind, status=status)

    async def get(self, request):  # noqa: PLR0911 - a page each
        self.agents.add(request.headers.get("X-Agent"))
        kind, _, name = request.path.strip("/").partition("/")
        if kind in {"", "page"}:
            return self.answer(quotes_page(int(name or 0)))
        if kind == "author":
            text = f"<h3> {name} </h3><span class=born>born in 19{AUTHORS.index(name)}0</span>"
            return self.answer(f"<html><body>{text}<a href='/'>back</a><a href='/logo.png'>logo</a></body></html>")
        if kind == "login":
            form = "<form method=post action=/login><input type=hidden name=csrf value=t0k><input name=user></form>"
            return self.answer(f"<html><body>{form}</body></html>")
        if kind == "account":
            known = request.cookies.get("session") == "s1"
            return self.answer("<h1>Hello Ada</h1>" if known else "<h1>Who?</h1>")
        if kind == "api":
            number = int(request.query["page"])
            shown = QUOTES[(number - 1) * PER_PAGE : number * PER_PAGE]
            return web.json_response({"quotes": shown, "page": number, "has_next": number * PER_PAGE < 12})
        if kind == "sitemap.xml":
            urls = "".join(f"<url><loc>{self.url}/author/{name}</loc></url>" for name in AUTHORS)
            return self.answer(f"<urlset>{urls}<url><loc>{self.url}/page/0</loc></url></urlset>", "application/xml")
        if kind == "robots.txt":
            return self.answer(f"User-agent: *\nDisallow: /secret\nSitemap: {self.url}/sitemap.xml\n", "text/plain")
        return self.answer("not here", status=404)

    async def post(self, request):
        form = await request.post()
        if dict(form) == {"csrf": "t0k", "user": "ada"}:
            found = web.HTTPFound("/account")
            found.set_cookie("session", "s1")
            raise found
        return self.answer("<h1>Wrong</h1>")


@contextmanager
def running(shop):
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/{path:.*}", shop.get)
    app.router.add_post("/login", shop.post)
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    server = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(server.start())
    shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield shop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(runner.cleanup())
    loop.close()


@pytest.fixture
def shop():
    with running(Shop()) as found:
        yield found


def items_of(spider, tmp_path, shop, **settings):
    """Crawl; give the items, and the crawler."""
    target = tmp_path / "items.jsonl"
    values = {"CONCURRENT_REQUESTS_PER_DOMAIN": 16, "RETRY_TIMES": 0, **settings}
    crawler = run_crawl(spider, settings=values, output=str(target), site=shop.url)
    return [json.loads(line) for line in target.read_text().splitlines()], crawler


class QuotesSpider(scrapy.Spider):
    name = "quotes"

    def start_requests(self):
        yield scrapy.Request(f"{self.site}/page/0", self.parse)

    def parse(self, response):
        for quote in response.css("div.quote"):
            yield {
                "text": quote.css("span.text::text").get(),
                "author": quote.xpath("./small/text()").get(),
                "tags": quote.css("a.tag::text").getall(),
            }
        next_page = response.css("li.next a::attr(href)").get()
        if next_page is not None:
            yield response.follow(next_page, callback=self.parse)


def test_quotes_and_the_next_page(shop, tmp_path):
    items, crawler = items_of(QuotesSpider, tmp_path, shop)
    assert items == QUOTES
    assert crawler.stats.get_value("item_scraped_count") == 12
    assert crawler.stats.get_value("finish_reason") == "finished"


class AuthorSpider(scrapy.Spider):
    name = "authors"

    async def start(self):
        yield scrapy.Request(self.site)

    def parse(self, response):
        for link in response.css(".author + a"):
            yield response.follow(link, self.parse_author, cb_kwargs={"found_on": response.url})
        yield from response.follow_all(css="li.next a", callback=self.parse)

    def parse_author(self, response, found_on):
        def first(query):
            return response.css(query).get(default="").strip()

        yield {"name": first("h3::text"), "born": response.css(".born").re_first(r"\d+"), "found_on": found_on}


def test_two_callbacks_and_cb_kwargs(shop, tmp_path):
    items, _ = items_of(AuthorSpider, tmp_path, shop)
    assert sorted((item["name"], item["born"]) for item in items) == [
        ("Austen", "1900"), ("Borges", "1910"), ("Calvino", "1920"),
    ]  # fmt: skip
    assert all(item["found_on"].startswith(shop.url) for item in items)


class LoginSpider(scrapy.Spider):
    name = "login"

    async def start(self):
        yield scrapy.Request(f"{self.site}/login")

    def parse(self, response):
        return scrapy.FormRequest.from_response(response, formdata={"user": "ada"}, callback=self.after_login)

    async def after_login(self, response):
        yield {"title": response.css("h1::text").get()}


def test_a_login(shop, tmp_path):
    assert items_of(LoginSpider, tmp_path, shop)[0] == [{"title": "Hello Ada"}]


class RulesSpider(CrawlSpider):
    name = "rules"
    rules = (
        Rule(LinkExtractor(allow=r"/page/\d+", restrict_css=".next")),
        Rule(LinkExtractor(allow="/author/"), callback="parse_author"),
    )

    def __init__(self, site, **kwargs):
        super().__init__(**kwargs)
        self.start_urls = [f"{site}/page/0"]
        self.allowed_domains = ["127.0.0.1"]

    def parse_author(self, response):
        return {"name": response.css("h3::text").get().strip(), "text": response.meta["link_text"]}


def test_rules(shop, tmp_path):
    items, crawler = items_of(RulesSpider, tmp_path, shop)
    assert sorted(item["name"] for item in items) == AUTHORS
    assert {item["text"] for item in items} == {"(about)"}
    assert crawler.stats.get_value("response_received_count") == 6  # three pages, three authors


class MapSpider(SitemapSpider):
    name = "map"
    sitemap_rules = [("/author/", "parse_author")]  # noqa: RUF012 - as tutorials have it

    def __init__(self, site, **kwargs):
        super().__init__(**kwargs)
        self.sitemap_urls = [f"{site}/robots.txt"]

    def parse_author(self, response):
        yield {"url": response.url}


def test_a_sitemap_named_by_robots_txt(shop, tmp_path):
    items, _ = items_of(MapSpider, tmp_path, shop)
    assert sorted(item["url"] for item in items) == [f"{shop.url}/author/{name}" for name in AUTHORS]


class Author(scrapy.Item):
    name = scrapy.Field(input_processor=MapCompose(str.strip), output_processor=TakeFirst())
    born = scrapy.Field(input_processor=MapCompose(lambda text: int(text[-4:])), output_processor=TakeFirst())


class OldOnly:
    def open_spider(self, spider):
        self.seen = 0

    async def process_item(self, item, spider):
        self.seen += 1
        if item["born"] > 1910:
            raise DropItem("too young")
        item["name"] = item["name"].upper()
        return item

    def close_spider(self, spider):
        spider.crawler.stats.set_value("seen", self.seen)


class LoaderSpider(scrapy.Spider):
    name = "loader"
    custom_settings = {"ITEM_PIPELINES": {OldOnly: 300}}  # noqa: RUF012 - as tutorials have it

    def start_requests(self):
        for name in AUTHORS:
            yield scrapy.Request(f"{self.site}/author/{name}")

    def parse(self, response):
        loader = ItemLoader(item=Author(), response=response)
        loader.add_css("name", "h3::text")
        loader.add_css("born", ".born::text")
        return loader.load_item()


def test_items_with_a_loader_and_a_pipeline(shop, tmp_path):
    items, crawler = items_of(LoaderSpider, tmp_path, shop)
    assert sorted(items, key=str) == [{"name": "AUSTEN", "born": 1900}, {"name": "BORGES", "born": 1910}]
    assert (crawler.stats.get_value("seen"), crawler.stats.get_value("item_dropped_count")) == (3, 1)


class ScrollSpider(scrapy.Spider):
    name = "scroll"
    page = 1

    async def start(self):
        yield scrapy.Request(f"{self.site}/api/quotes?page=1")

    def parse(self, response):
        data = response.json()
        yield from data["quotes"]
        assert response.jmespath("page").get() == data["page"]
        if data["has_next"]:
            yield scrapy.Request(f"{self.site}/api/quotes?page={data['page'] + 1}", callback=self.parse)


def test_an_api_that_scrolls(shop, tmp_path):
    assert items_of(ScrollSpider, tmp_path, shop)[0] == QUOTES


class ErrbackSpider(scrapy.Spider):
    name = "errback"

    def start_requests(self):
        for path in ("/none", "/secret", "/page/0"):
            yield scrapy.Request(self.site + path, callback=self.parse, errback=self.failed, dont_filter=True)
        yield scrapy.Request("http://127.0.0.1:9/", errback=self.failed)

    def parse(self, response):
        yield {"fine": response.status}

    def failed(self, failure):
        status = failure.value.response.status if hasattr(failure.value, "response") else None
        yield {"failed": type(failure.value).__name__, "status": status, "url": failure.request.url}


def test_errbacks(shop, tmp_path):
    items, _ = items_of(ErrbackSpider, tmp_path, shop)
    found = sorted((item.get("failed", ""), item.get("status") or 0) for item in items)
    assert found == [("", 0), ("DownloadError", 0), ("HttpError", 404), ("IgnoreRequest", 0)]


class AgentMiddleware:
    @classmethod
    def from_crawler(cls, crawler):
        middleware = cls()
        middleware.agent = crawler.settings.get("AGENT")
        return middleware

    def process_request(self, request, spider):
        request.headers["X-Agent"] = self.agent

    def process_response(self, request, response, spider):
        return response.replace(body=response.body.replace(b"Quote", b"Saying"))


class MarkMiddleware:
    def process_spider_output(self, response, result, spider):
        for each in result:
            if isinstance(each, dict):
                each["marked"] = True
            yield each


def test_middlewares_of_ones_own(shop, tmp_path):
    items, _ = items_of(
        QuotesSpider, tmp_path, shop, AGENT="me", DOWNLOADER_MIDDLEWARES={AgentMiddleware: 543},
        SPIDER_MIDDLEWARES={MarkMiddleware: 543},
    )  # fmt: skip
    assert [item["text"] for item in items] == [quote["text"].replace("Quote", "Saying") for quote in QUOTES]
    assert all(item["marked"] for item in items)
    assert "me" in shop.agents


class ManyAtTheStart(scrapy.Spider):
    name = "many"

    async def start(self):
        for number in range(3):
            yield {"n": number}


def test_items_of_the_start_are_all_kept_in_a_crawl_that_can_be_gone_on_with(tmp_path):
    target = tmp_path / "items.jsonl"
    for _ in range(2):  # the second run finds the crawl ended
        run_crawl(ManyAtTheStart, output=str(target), job=str(tmp_path / "crawl.db"))
    assert [json.loads(line)["n"] for line in target.read_text().splitlines()][:3] == [0, 1, 2]
