"""The fields that a form of a page sends, for `FormRequest.from_response`; lxml knows what a form is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxml import html
from parsel.csstranslator import HTMLTranslator

Fields = list[tuple[str, str]]


def form_fields(
    response: Any, chosen: tuple[Any, ...], formdata: Any, clickdata: dict[str, Any] | None, dont_click: bool
) -> tuple[str, str, Fields]:
    """Return where the form goes, by which method, and its fields. Raises ValueError where there is no such form."""
    root = html.document_fromstring(response.text, base_url=response.url)
    form = _form(root, response, *chosen)
    given = list(formdata.items() if isinstance(formdata, Mapping) else formdata or ())
    named = {key for key, _ in given}
    fields: Fields = [(key, value) for key, value in form.form_values() if key not in named]
    if not dont_click:
        fields += [(key, value) for key, value in _button(form, clickdata) if key not in named]
    for key, value in given:
        values = value if isinstance(value, list | tuple) else (value,)
        fields += [(key, str(one)) for one in values if one is not None]
    return response.urljoin(form.get("action") or response.url), (form.method or "GET").upper(), fields


def _form(
    root: Any, response: Any, name: str | None, id: str | None, number: int, xpath: str | None, css: str | None
) -> Any:
    for attribute, value in (("name", name), ("id", id)):
        if value is not None and (found := root.xpath(f"//form[@{attribute}=$value]", value=value)):
            return found[0]
    if css is not None:
        xpath = HTMLTranslator().css_to_xpath(css)
    if xpath is not None:
        for node in root.xpath(xpath):
            forms = [node, *node.iterancestors()]
            if inside := [each for each in forms if each.tag == "form"]:
                return inside[0]
        raise ValueError(f"no form of {response.url} is found by {xpath}")
    forms = root.forms
    if not forms:
        raise ValueError(f"{response.url} has no <form>")
    if number >= len(forms):
        raise ValueError(f"{response.url} has {len(forms)} forms; there is no number {number}, counted from 0")
    return forms[number]


def _button(form: Any, clickdata: dict[str, Any] | None) -> Fields:
    """Return the name and value of the button that is clicked."""
    buttons = form.xpath(
        "descendant::input[@type='submit' or @type='image'] | descendant::button[not(@type) or @type='submit']"
    )
    for button in buttons:
        if clickdata is None or all(button.get(key) == str(value) for key, value in clickdata.items() if key != "nr"):
            return [(button.get("name"), button.get("value") or "")] if button.get("name") else []
    if clickdata is not None:
        raise ValueError(f"no button of the form has {clickdata}")
    return []
