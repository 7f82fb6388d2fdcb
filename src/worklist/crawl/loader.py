"""Item loaders: collect the values of an item by selectors, and clean them on the way in and out.

The work is done by the library itemloaders; here it learns what a response is.
"""

from __future__ import annotations

from typing import Any

import itemloaders
from itemloaders.processors import Compose, Identity, Join, MapCompose, SelectJmes, TakeFirst
from parsel import Selector

from . import items as _items  # noqa: F401 - makes ItemAdapter know Item and Struct
from .response import TextResponse

__all__ = ["Compose", "Identity", "ItemLoader", "Join", "MapCompose", "SelectJmes", "TakeFirst"]


class ItemLoader(itemloaders.ItemLoader):
    """Fills an item from a `response` or a `selector`; `add_css`, `add_xpath`, `add_jmes`, `add_value`, `load_item`.

    `default_item_class` is made where no item is given; `<field>_in` and `<field>_out` are its processors.
    """

    default_item_class: type = dict

    def __init__(
        self,
        item: Any = None,
        selector: Selector | None = None,
        response: TextResponse | None = None,
        parent: itemloaders.ItemLoader | None = None,
        **context: Any,
    ) -> None:
        if selector is None and response is not None:
            selector = response.selector
        context["response"] = response
        super().__init__(item=item, selector=selector, parent=parent, **context)
