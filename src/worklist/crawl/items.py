"""Items: what a spider scrapes. A dict, a dataclass, an attrs class, a pydantic model, a msgspec Struct or an `Item`.

Whoever handles items of any kind goes through `ItemAdapter`, a mapping over each of them.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterator, KeysView, Mapping, MutableMapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec
from itemadapter import ItemAdapter
from itemadapter.adapter import AdapterInterface

from ..core.errors import did_you_mean

__all__ = ["Field", "Item", "ItemAdapter", "is_item"]


class Field(dict[str, Any]):
    """A field of an `Item`; its keyword arguments are metadata: `serializer`, `input_processor`, `output_processor`."""


class _ItemType(ABCMeta):
    """Collects the `Field`s of a class and its bases in `fields`."""

    fields: dict[str, Field]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _ItemType:
        own = {key: value for key, value in namespace.items() if isinstance(value, Field)}
        kind = super().__new__(mcs, name, bases, {key: value for key, value in namespace.items() if key not in own})
        inherited = {
            key: value for base in reversed(kind.__mro__[1:]) for key, value in getattr(base, "fields", {}).items()
        }
        kind.fields = {**inherited, **own}
        return kind


class Item(MutableMapping[str, Any], metaclass=_ItemType):
    """A dict that admits the fields its class declares, and no others.

    >>> class Book(Item):
    ...     title = Field()
    >>> Book(title="Emma")
    {'title': 'Emma'}
    """

    fields: ClassVar[dict[str, Field]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__["_values"] = {}
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self.fields:
            raise KeyError(f"{type(self).__name__} has no field {key}{did_you_mean(key, self.fields)}")
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> KeysView[str]:
        """Return the names of the fields that are set."""
        return KeysView(self._values)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields:
            raise AttributeError(f"{name} is a field of {type(self).__name__}: use item[{name!r}]")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"to set the field {name} of {type(self).__name__} use item[{name!r}] = ...")
        super().__setattr__(name, value)

    def __hash__(self) -> int:  # as of an object: equal items may both be in a set
        return object.__hash__(self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> Item:
        """Return the item once more; its values are shared."""
        return type(self)(self)

    def deepcopy(self) -> Item:
        """Return the item with copies of its values."""
        return deepcopy(self)


class _ItemAdapter(AdapterInterface):
    """How `ItemAdapter` handles an `Item`."""

    @classmethod
    def is_item_class(cls, item_class: type) -> bool:
        return issubclass(item_class, Item)

    @classmethod
    def get_field_meta_from_class(cls, item_class: type, field_name: str) -> MappingProxyType[str, Any]:
        return MappingProxyType(item_class.fields[field_name])  # type: ignore[attr-defined]

    @classmethod
    def get_field_names_from_class(cls, item_class: type) -> list[str]:
        return list(item_class.fields)  # type: ignore[attr-defined]

    def field_names(self) -> KeysView[str]:
        return KeysView(self.item.fields)

    def __getitem__(self, field_name: str) -> Any:
        return self.item[field_name]

    def __setitem__(self, field_name: str, value: Any) -> None:
        self.item[field_name] = value

    def __delitem__(self, field_name: str) -> None:
        del self.item[field_name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.item)

    def __len__(self) -> int:
        return len(self.item)


class _StructAdapter(AdapterInterface):
    """How `ItemAdapter` handles a msgspec Struct. A field that was deleted is UNSET."""

    @classmethod
    def is_item_class(cls, item_class: type) -> bool:
        return issubclass(item_class, msgspec.Struct)

    @classmethod
    def get_field_meta_from_class(cls, item_class: type, field_name: str) -> MappingProxyType[str, Any]:
        for field in msgspec.structs.fields(item_class):
            if field.name == field_name:
                meta = getattr(field.type, "__metadata__", ())
                extra = next((each.extra for each in meta if isinstance(each, msgspec.Meta) and each.extra), {})
                return MappingProxyType(extra or {})
        raise KeyError(f"{item_class.__name__} has no field {field_name}")

    @classmethod
    def get_field_names_from_class(cls, item_class: type) -> list[str]:
        return list(item_class.__struct_fields__)  # type: ignore[attr-defined]

    def field_names(self) -> KeysView[str]:
        return KeysView(dict.fromkeys(self.item.__struct_fields__))

    def __getitem__(self, field_name: str) -> Any:
        if field_name not in set(self):
            raise KeyError(field_name)
        return getattr(self.item, field_name)

    def __setitem__(self, field_name: str, value: Any) -> None:
        if field_name not in self.item.__struct_fields__:
            raise KeyError(f"{type(self.item).__name__} has no field {field_name}")
        setattr(self.item, field_name, value)

    def __delitem__(self, field_name: str) -> None:
        self[field_name]
        setattr(self.item, field_name, msgspec.UNSET)

    def __iter__(self) -> Iterator[str]:
        return (
            name for name in self.item.__struct_fields__ if getattr(self.item, name, msgspec.UNSET) is not msgspec.UNSET
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


for _adapter in (_StructAdapter, _ItemAdapter):
    if _adapter not in ItemAdapter.ADAPTER_CLASSES:
        ItemAdapter.ADAPTER_CLASSES = [_adapter, *ItemAdapter.ADAPTER_CLASSES]


def is_item(value: Any) -> bool:
    """Tell whether a spider may yield this as an item."""
    return isinstance(value, dict | Mapping) or ItemAdapter.is_item(value)
