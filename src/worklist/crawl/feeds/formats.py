"""Formats of feeds that are files: what stands before the items, between them and after them.

A format knows bytes alone. That a file is complete at any time is the business of `files`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from ...core.errors import ConfigError
from ..items import ItemAdapter
from .options import FeedOptions
from .rows import Row, encode_json, text_of


class Format:
    """`head` opens an empty file, `tail` closes it; `encode` gives the bytes of rows that come in between."""

    head = b""
    tail = b""

    def __init__(self, options: FeedOptions) -> None:
        self.options = options
        self.fields: list[str] = list(options.fields.values())  # of formats with fixed columns

    def encode(self, rows: Sequence[Row], first: bool) -> bytes:
        """Give the bytes of rows; `first`: there are none before them."""
        raise NotImplementedError

    def _bytes(self, text: str) -> bytes:
        return text.encode(self.options.encoding, "xmlcharrefreplace" if self.options.format == "xml" else "replace")

    def _json(self, row: Row) -> bytes:
        data = encode_json(row)
        if self.options.indent:
            data = msgspec.json.format(data, indent=self.options.indent)
        return data if self.options.encoding.lower() in {"utf-8", "utf8"} else self._bytes(data.decode())


class JsonLines(Format):
    """One JSON object in each line."""

    def encode(self, rows: Sequence[Row], first: bool) -> bytes:
        """Give the bytes of rows."""
        if self.options.indent:
            raise ConfigError(f"the feed {self.options.uri!r} is of lines; it takes no indent")
        return b"".join([self._json(row) + b"\n" for row in rows])


class Json(Format):
    """One JSON array."""

    head = b"["
    tail = b"\n]\n"

    def encode(self, rows: Sequence[Row], first: bool) -> bytes:
        """Give the bytes of rows."""
        return (b"\n" if first else b",\n") + b",\n".join(self._json(row) for row in rows)


class Csv(Format):
    """A header and a line for each item. The columns are those of the feed, else the fields of the first item."""

    def encode(self, rows: Sequence[Row], first: bool) -> bytes:
        """Give the bytes of rows."""
        if not self.fields:
            self.fields = list(rows[0])
        text = io.StringIO(newline="")
        options = {"lineterminator": "\r\n", **self.options.export}
        joined = options.pop("join_multivalued", ",")
        with_header = options.pop("include_headers_line", True)
        writer = csv.writer(text, **options)
        if first and with_header:
            writer.writerow(self.fields)
        writer.writerows([text_of(row.get(name), joined) for name in self.fields] for row in rows)
        return self._bytes(text.getvalue())


class Xml(Format):
    """`<items><item><name>value</name></item></items>`; a list is a `<value>` for each."""

    def __init__(self, options: FeedOptions) -> None:
        super().__init__(options)
        self.root = options.export.get("root_element", "items")
        self.item = options.export.get("item_element", "item")
        self.head = f'<?xml version="1.0" encoding="{options.encoding}"?>\n<{self.root}>'.encode("ascii")
        self.tail = f"\n</{self.root}>\n".encode("ascii")

    def encode(self, rows: Sequence[Row], first: bool) -> bytes:
        """Give the bytes of rows."""
        out: list[str] = []
        for row in rows:
            self._element(out, self.item, row, 1 if self.options.indent else 0)
        return self._bytes("".join(out))

    def _element(self, out: list[str], name: str, value: Any, depth: int) -> None:
        space = "\n" + " " * (self.options.indent or 0) * depth if depth else "\n" if name == self.item else ""
        out.append(f"{space}<{_tag(name)}>")
        below = depth + 1 if depth else 0
        if isinstance(value, dict) or ItemAdapter.is_item(value):
            for key, inner in (value if isinstance(value, dict) else ItemAdapter(value).asdict()).items():
                self._element(out, str(key), inner, below)
        elif isinstance(value, list | tuple | set):
            for inner in value:
                self._element(out, "value", inner, below)
        else:
            out.append(escape(_printable(text_of(value))))
        nested = below and isinstance(value, dict | list | tuple | set) and value
        out.append(f"{space if nested else ''}</{_tag(name).partition(' ')[0]}>")


def _tag(name: str) -> str:
    """Give a field's name as the name of an element; one that XML does not admit becomes an attribute."""
    if name and (name[0].isalpha() or name[0] == "_") and all(each.isalnum() or each in "_-." for each in name):
        return name
    return f"field name={quoteattr(_printable(name))}"


def _printable(text: str) -> str:
    """Leave out the control characters and halves of pairs that XML does not admit."""
    return "".join(
        c for c in text if (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") or c in "\t\n\r"
    )


FORMATS: dict[str, type[Format]] = {"jsonlines": JsonLines, "json": Json, "csv": Csv, "xml": Xml}
