"""Items as rows: a dict of plain values for each, whatever kind of item it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ..items import ItemAdapter
from .options import FeedOptions

Row = dict[str, Any]


def wanted(items: Iterable[Any], options: FeedOptions) -> list[Any]:
    """Give the items that this feed takes."""
    return [
        item
        for item in items
        if (not options.item_classes or isinstance(item, options.item_classes))
        and (options.accepts is None or options.accepts(item))
    ]


def rows_of(items: Iterable[Any], options: FeedOptions) -> list[Row]:
    """Give the rows of items, with the fields of the feed under its names, and the serializers of fields applied."""
    return [_row(item, options.fields) for item in items]


def _row(item: Any, fields: Mapping[str, str]) -> Row:
    if type(item) is dict:
        return {new: item[old] for old, new in fields.items() if old in item} if fields else item
    adapter = ItemAdapter(item)
    names = fields or {name: name for name in adapter}
    return {new: _serialized(adapter, old) for old, new in names.items() if old in adapter}


def _serialized(adapter: ItemAdapter, name: str) -> Any:
    serializer: Callable[[Any], Any] | None = adapter.get_field_meta(name).get("serializer")
    value = adapter[name]
    return serializer(value) if serializer else value


def plain_row(item: Any) -> Any:
    """Give an item as JSON would have it."""
    return msgspec.json.decode(encode_json(_row(item, {})))


def plain(value: Any) -> Any:
    """Give what JSON knows for what it does not: nested items as dicts, the rest by its text."""
    if ItemAdapter.is_item(value):
        return ItemAdapter(value).asdict()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "url") and hasattr(value, "status"):  # a request or response
        return repr(value)
    return list(value) if isinstance(value, Iterable) else str(value)


encode_json = msgspec.json.Encoder(enc_hook=plain).encode


def text_of(value: Any, joined: str = ",") -> str:
    """Give a value as the text of a cell: lists of plain values joined, other nested values as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple | set) and all(isinstance(each, str | int | float) for each in value):
        return joined.join(map(str, value))
    if isinstance(value, dict | list | tuple | set) or ItemAdapter.is_item(value):
        return encode_json(value).decode()
    return str(value)
