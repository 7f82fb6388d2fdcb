"""Columns of many values as PostgreSQL reads them: arrays in its binary format, made in few steps.

psycopg turns each element of a list into text with care for its type, which takes longer than all else that a put
does here. These columns have one type each, and often one value.
"""

import itertools
import struct
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_header = struct.Struct(">iiiii").pack
_length = struct.Struct(">i").pack
_small = struct.Struct(">ii").pack
_number = struct.Struct(">id").pack
_NULL = _length(-1)
_LENGTHS = [_length(n) for n in range(512)]


packed_place = struct.Struct(">q").pack
packed_rank = struct.Struct(">i").pack
_float = struct.Struct(">d").pack


def packed(value: float | None) -> bytes | None:
    """Return a single float."""
    return None if value is None else _float(value)


def text_of(value: str) -> bytes:
    """Return a single string."""
    return value.encode("utf-8", "surrogatepass")


class Column:
    """Values of one type."""

    oid: ClassVar[int]
    array_oid: ClassVar[int]
    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def packed(self) -> bytes:
        """Return the array."""
        values = self.values
        if not values:
            return _header(0, 0, self.oid, 0, 1)[:12]
        alike = values.count(values[0]) == len(values)
        elements = self.elements([values[0]]) * len(values) if alike else self.elements(values)
        return _header(1, None in values, self.oid, len(values), 1) + elements

    def elements(self, values: Sequence[Any]) -> bytes:
        """Return the elements, each with its length before it."""
        raise NotImplementedError


class Integers(Column):
    """Of eight bytes."""

    oid, array_oid = 20, 1016

    def elements(self, values: Sequence[Any]) -> bytes:
        """Return the elements, each with its length before it."""
        return struct.pack(">" + "iq" * len(values), *itertools.chain.from_iterable(zip(itertools.repeat(8), values)))


class Smalls(Column):
    """Integers of four bytes."""

    oid, array_oid = 23, 1007

    def elements(self, values: Sequence[Any]) -> bytes:
        """Return the elements, each with its length before it."""
        return b"".join([_small(4, value) for value in values])


class Numbers(Column):
    """Floats, or None."""

    oid, array_oid = 701, 1022

    def elements(self, values: Sequence[Any]) -> bytes:
        """Return the elements, each with its length before it."""
        return b"".join([_NULL if value is None else _number(8, value) for value in values])


class Blobs(Column):
    """Bytes, or None."""

    oid, array_oid = 17, 1001

    def elements(self, values: Sequence[Any]) -> bytes:
        """Return the elements, each with its length before it."""
        return _with_lengths(values)


class Texts(Column):
    """Strings."""

    oid, array_oid = 25, 1009

    def elements(self, values: Sequence[Any]) -> bytes:
        """Return the elements, each with its length before it."""
        return _with_lengths([text_of(value) for value in values])


def _with_lengths(values: Iterable[bytes | None]) -> bytes:
    parts = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            size = len(value)
            parts.append(_LENGTHS[size] if size < len(_LENGTHS) else _length(size))
            parts.append(value)
    return b"".join(parts)


def _dumper(kind: type[Column]) -> type[Dumper]:
    class ColumnDumper(Dumper):
        format = Format.BINARY
        oid = kind.array_oid

        def dump(self, obj: Any) -> Buffer:
            return obj.packed()  # type: ignore[no-any-return]

    return ColumnDumper


def register(adapters: "psycopg.adapt.AdaptersMap") -> None:
    """Let psycopg send columns."""
    for kind in _KINDS:
        adapters.register_dumper(kind, _DUMPERS[kind])


_KINDS: tuple[type[Column], ...] = (Integers, Smalls, Numbers, Blobs, Texts)
_DUMPERS = {kind: _dumper(kind) for kind in _KINDS}
register(psycopg.adapters)
