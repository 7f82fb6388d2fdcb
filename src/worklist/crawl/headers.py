"""Headers of requests and responses: names without case, several values for one name.

Names and values are bytes inside, as on the wire and as in Scrapy; str is taken everywhere and encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_names: dict[Any, bytes] = {}
_MOST_NAMES = 4096


def _name(key: str | bytes) -> bytes:
    """Return a name as it is stored; few different ones occur, so they are remembered."""
    known = _names.get(key)
    if known is None:
        known = (key.encode("latin-1") if isinstance(key, str) else bytes(key)).title()
        if len(_names) < _MOST_NAMES:
            _names[key] = known
    return known


class Headers:
    """A mapping from a name to its last value; `getlist` gives them all."""

    __slots__ = ("_values", "encoding")

    def __init__(self, given: Any = None, encoding: str = "utf-8") -> None:
        self.encoding = encoding
        self._values: dict[bytes, list[bytes]] = {}
        if given:
            self.update(given)

    @classmethod
    def from_raw(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Make headers of the pairs that a server sent; a name that occurs twice keeps both values."""
        headers = cls()
        values = headers._values
        for key, value in pairs:
            name = _names.get(key) or _name(key)
            if name in values:
                values[name].append(value)
            else:
                values[name] = [value]
        return headers

    def update(self, given: Any) -> None:
        """Set the headers of a mapping or of an iterable of pairs; in pairs, a name may occur several times."""
        if isinstance(given, Headers):
            self._values.update({name: list(values) for name, values in given.items()})
        elif isinstance(given, Mapping):
            for key, value in given.items():
                self[key] = value
        else:
            fresh: dict[bytes, list[bytes]] = {}
            for key, value in given:
                fresh.setdefault(_name(key), []).extend(self._encoded(value))
            self._values.update(fresh)

    def _encoded(self, value: Any) -> list[bytes]:
        if value is None:
            return []
        if isinstance(value, bytes):
            return [value]
        if isinstance(value, str):
            return [value.encode(self.encoding)]
        if isinstance(value, Iterable):
            return [one for each in value for one in self._encoded(each)]
        if isinstance(value, int | float):
            return [str(value).encode()]
        raise TypeError(f"the value of a header is text or bytes, not {type(value).__name__}")

    def __getitem__(self, key: str | bytes) -> bytes:
        values = self._values[_name(key)]
        if not values:
            raise KeyError(key)
        return values[-1]

    def __setitem__(self, key: str | bytes, value: Any) -> None:
        self._values[_name(key)] = self._encoded(value)

    def __delitem__(self, key: str | bytes) -> None:
        del self._values[_name(key)]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str | bytes) and _name(key) in self._values

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __eq__(self, other: object) -> bool:
        return dict(self.items()) == dict((other if isinstance(other, Headers) else Headers(other)).items())

    __hash__ = None  # type: ignore[assignment]

    def get(self, key: str | bytes, default: Any = None) -> Any:
        """Return the last value of a name as bytes, or `default`."""
        values = self._values.get(_name(key))
        return values[-1] if values else default

    def getlist(self, key: str | bytes, default: Any = None) -> list[bytes]:
        """Return all values of a name."""
        values = self._values.get(_name(key))
        return list(values) if values is not None else (list(default) if default else [])

    def setdefault(self, key: str | bytes, value: Any) -> bytes | None:
        """Set a header where there is none of its name; return what is there then."""
        name = _name(key)
        if name not in self._values:
            self._values[name] = self._encoded(value)
        values = self._values[name]
        return values[-1] if values else None

    def setlist(self, key: str | bytes, values: Iterable[Any]) -> None:
        """Set all values of a name."""
        self[key] = values

    def appendlist(self, key: str | bytes, value: Any) -> None:
        """Add a value to a name."""
        self._values.setdefault(_name(key), []).extend(self._encoded(value))

    def pop(self, key: str | bytes, default: Any = None) -> Any:
        """Remove a name; return its last value."""
        values = self._values.pop(_name(key), None)
        return values[-1] if values else default

    def keys(self) -> Iterable[bytes]:
        """Return the names."""
        return self._values.keys()

    def items(self) -> Iterable[tuple[bytes, list[bytes]]]:
        """Return names with the list of their values."""
        return self._values.items()

    def values(self) -> list[bytes]:
        """Return the last value of each name."""
        return [values[-1] for values in self._values.values() if values]

    def pairs(self) -> list[tuple[str, str]]:
        """Return every single header, as text, as an HTTP client takes it."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, vs in self._values.items() for value in vs]

    def to_unicode_dict(self) -> dict[str, str]:
        """Return names and values as text, several values joined by commas."""
        return {name.decode("latin-1"): b",".join(vs).decode(self.encoding) for name, vs in self._values.items()}

    def copy(self) -> Headers:
        """Return the same headers once more."""
        fresh = Headers(encoding=self.encoding)
        fresh._values = {name: list(values) for name, values in self._values.items()}
        return fresh

    def __repr__(self) -> str:
        return repr(self._values)
