"""Items and loaders: what an item admits, and that every kind goes through ItemAdapter."""

from typing import Annotated

import msgspec
import pytest

from worklist.crawl.items import Field, Item, ItemAdapter, is_item
from worklist.crawl.loader import ItemLoader, Join, MapCompose, TakeFirst
from worklist.crawl.response import HtmlResponse


class Book(Item):
    title = Field(serializer=str)
    price = Field()


class Novel(Book):
    author = Field()


class Struct(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(extra={"serializer": str.upper})]
    price: int = 0


def test_an_item_admits_its_fields_and_those_of_its_bases():
    novel = Novel(title="Emma", author="Austen")
    assert dict(novel) == {"title": "Emma", "author": "Austen"}
    assert set(Novel.fields) == {"title", "price", "author"}
    assert "price" not in novel
    assert novel.get("price") is None
    novel["price"] = [1]
    assert (novel.copy() == novel, novel.deepcopy()["price"] is novel["price"]) == (True, False)
    del novel["price"]
    assert len(novel) == 2


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: Novel(titel="x"), "did you mean 'title'"),
        (lambda: setattr(Novel(), "title", "x"), r"item\['title'\] = "),
        (lambda: Novel(title="x").title, r"use item\['title'\]"),
        (lambda: Novel().nothing, "no attribute 'nothing'"),
    ],
)
def test_mistakes_are_told(mistake, says):
    with pytest.raises((KeyError, AttributeError), match=says):
        mistake()


def test_adapters_of_items_and_structs():
    item = ItemAdapter(Novel(title="x"))
    assert (list(item), list(item.field_names())) == (["title"], ["title", "price", "author"])
    assert item.get_field_meta("title")["serializer"] is str
    struct = ItemAdapter(Struct("x", 2))
    assert dict(struct) == {"title": "x", "price": 2}
    assert struct.get_field_meta("title")["serializer"] is str.upper
    struct["price"] = 3
    del struct["title"]
    assert dict(struct) == {"price": 3}
    with pytest.raises(KeyError):
        struct["prise"] = 1
    assert is_item({})
    assert is_item(Struct("x"))
    assert is_item(Novel())
    assert not is_item("text")
    assert not is_item([{}])


class BookLoader(ItemLoader):
    default_output_processor = TakeFirst()
    price_in = MapCompose(str.strip, lambda text: text.lstrip("£"), float)
    author_out = Join(" & ")


@pytest.mark.parametrize("kind", [dict, Novel])
def test_a_loader_fills_an_item_from_a_response(kind):
    body = b"<h1>Emma</h1><p class=price> \xc2\xa37.5 </p><i>A</i><i>B</i>"
    response = HtmlResponse("http://s/", body=body, encoding="utf-8")
    loader = BookLoader(item=kind(), response=response)
    loader.add_css("title", "h1::text")
    loader.add_xpath("price", "//p[@class='price']/text()")
    loader.add_css("author", "i::text")
    loader.add_value("title", "second")
    item = loader.load_item()
    assert type(item) is kind
    assert dict(item) == {"title": "Emma", "price": 7.5, "author": "A & B"}
    assert loader.context["response"] is response


def test_a_nested_loader():
    response = HtmlResponse("http://s/", body=b"<h1>no</h1><div><h1>yes</h1></div>", encoding="utf-8")
    loader = BookLoader(response=response)
    loader.nested_css("div").add_css("title", "h1::text")
    assert loader.load_item() == {"title": "yes"}
