"""The crawler: spiders, in Scrapy's words, whose frontier is the queue.

A crawl is a group; a request is a job whose key is its fingerprint, whose lane is its host, whose due time is its
re-visit; the links and items of a page are settled with it. It knows the app and the core, and no broker.
"""

from parsel import Selector, SelectorList

from .crawler import Crawler, crawl, run_crawl
from .exceptions import CloseSpider, DontCloseSpider, DropItem, IgnoreRequest, NotConfigured
from .items import Field, Item, ItemAdapter
from .links import Link, LinkExtractor
from .loader import ItemLoader
from .rendering import PageMethod
from .request import FormRequest, JsonRequest, Request
from .response import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse
from .settings import Settings
from .spider import Spider
from .spiders import CrawlSpider, CSVFeedSpider, Rule, SitemapSpider, XMLFeedSpider

__all__ = [
    "CSVFeedSpider", "CloseSpider", "CrawlSpider", "Crawler", "DontCloseSpider", "DropItem", "Field", "FormRequest",
    "HtmlResponse", "IgnoreRequest", "Item", "ItemAdapter", "ItemLoader", "JsonRequest", "JsonResponse", "Link",
    "LinkExtractor", "NotConfigured", "PageMethod", "Request", "Response", "Rule", "Selector", "SelectorList",
    "Settings", "SitemapSpider", "Spider", "TextResponse", "XMLFeedSpider", "XmlResponse", "crawl", "run_crawl",
]  # fmt: skip
