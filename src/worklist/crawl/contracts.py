"""Contracts: what a callback promises in its docstring, checked against the real page by `worklist check`.

    @url http://quotes.toscrape.com/
    @returns items 1 16
    @returns requests 0 1
    @scrapes text author

More kinds are made by subclassing `Contract` and naming the class in the setting SPIDER_CONTRACTS.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar, NamedTuple

from ..core.errors import ConfigError, did_you_mean
from .items import ItemAdapter, is_item
from .pipelines import loaded
from .request import Request
from .spiders import all_of

Fetch = Callable[[Request], Awaitable[Any]]
_LINE = re.compile(r"^\s*@(\w+)[ \t]*(.*?)\s*$", re.MULTILINE)


class ContractFail(AssertionError):
    """A callback does not do what its docstring promises."""


class Contract:
    """One line of a docstring: `@name args`. It changes the request, or looks at the response or at the output."""

    name: ClassVar[str] = ""
    request_cls: ClassVar[type[Request] | None] = None

    def __init__(self, method: Any, *args: str) -> None:
        self.method = method
        self.args = args
        self.testcase = f"{method.__qualname__} @{self.name} {' '.join(args)}".rstrip()

    def adjust_request_args(self, args: dict[str, Any]) -> dict[str, Any]:
        """Change the arguments of the request."""
        return args

    def pre_process(self, response: Any) -> None:
        """Look at the response before the callback gets it. Raises ContractFail."""

    def post_process(self, output: list[Any]) -> None:
        """Look at what the callback gave. Raises ContractFail."""

    def _json(self) -> dict[str, Any]:
        try:
            return dict(json.loads(" ".join(self.args)))
        except (ValueError, TypeError):
            raise ConfigError(f"{self.testcase}: expected a JSON object") from None


class UrlContract(Contract):
    """The page to try the callback on. Without it the callback is not checked."""

    name = "url"

    def adjust_request_args(self, args: dict[str, Any]) -> dict[str, Any]:
        """Set the URL."""
        return {**args, "url": self.args[0] if self.args else ""}


class CallbackKeywordArgumentsContract(Contract):
    """The `cb_kwargs` of the request, as JSON."""

    name = "cb_kwargs"

    def adjust_request_args(self, args: dict[str, Any]) -> dict[str, Any]:
        """Set the cb_kwargs."""
        return {**args, "cb_kwargs": self._json()}


class MetadataContract(Contract):
    """The `meta` of the request, as JSON."""

    name = "meta"

    def adjust_request_args(self, args: dict[str, Any]) -> dict[str, Any]:
        """Set the meta."""
        return {**args, "meta": {**args.get("meta", {}), **self._json()}}


class RequestContract(Contract):
    """More arguments of the request, as JSON: method, headers, body, cookies."""

    name = "request"

    def adjust_request_args(self, args: dict[str, Any]) -> dict[str, Any]:
        """Set the arguments."""
        return {**args, **self._json()}


class ReturnsContract(Contract):
    """How many items or requests the callback gives, at least and at most: `@returns items 1 10`."""

    name = "returns"
    _kinds: ClassVar[dict[str, Callable[[Any], bool]]] = {
        "item": is_item,
        "items": is_item,
        "request": lambda each: isinstance(each, Request),
        "requests": lambda each: isinstance(each, Request),
    }

    def __init__(self, method: Any, *args: str) -> None:
        super().__init__(method, *args)
        if not args or args[0] not in self._kinds or not all(each.isdigit() for each in args[1:]) or len(args) > 3:
            hint = did_you_mean(args[0], self._kinds) if args else ""
            raise ConfigError(f"{self.testcase}{hint}: expected items or requests, the least number and the most")
        self.kind = args[0]
        least = int(args[1]) if len(args) > 1 else 1
        self.least, self.most = least, (int(args[2]) if len(args) > 2 else float("inf"))

    def post_process(self, output: list[Any]) -> None:
        """Count them."""
        count = sum(map(self._kinds[self.kind], output))
        if not self.least <= count <= self.most:
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            raise ContractFail(f"it gave {count} {self.kind}; promised are {wanted.replace('to inf', 'or more')}")


class ScrapesContract(Contract):
    """The fields that every item has."""

    name = "scrapes"

    def post_process(self, output: list[Any]) -> None:
        """Look for them."""
        for item in filter(is_item, output):
            missing = [name for name in self.args if name not in ItemAdapter(item)]
            if missing:
                raise ContractFail(f"an item lacks {', '.join(missing)}: {dict(ItemAdapter(item))}")


CONTRACTS: tuple[type[Contract], ...] = (
    UrlContract, CallbackKeywordArgumentsContract, MetadataContract, RequestContract, ReturnsContract, ScrapesContract,
)  # fmt: skip


class Check(NamedTuple):
    """How one promise came out; `error` is empty where it was kept."""

    name: str
    error: str


async def check_spider(spider: Any, fetch: Fetch) -> list[Check]:
    """Check every callback of a spider that has a @url; `fetch` downloads a request."""
    kinds = _kinds(spider)
    results: list[Check] = []
    for method, text in _promising(spider):
        results += await _check(method, _contracts(method, text, kinds), fetch)
    return results


def _kinds(spider: Any) -> dict[str, type[Contract]]:
    own = spider.settings.getdict("SPIDER_CONTRACTS") if hasattr(spider, "settings") else {}
    kinds = (*CONTRACTS, *(loaded(path, "SPIDER_CONTRACTS") for path, order in own.items() if order is not None))
    return {kind.name: kind for kind in kinds}


def _promising(spider: Any) -> Iterator[tuple[Any, str]]:
    for name, _ in inspect.getmembers(type(spider), callable):
        method = getattr(spider, name)
        text = inspect.getdoc(method) if inspect.ismethod(method) else None
        if text and any(found == "url" for found, _ in _LINE.findall(text)):
            yield method, text


def _contracts(method: Any, text: str, kinds: dict[str, type[Contract]]) -> list[Contract]:
    contracts: list[Contract] = []
    for name, arguments in _LINE.findall(text):
        if name not in kinds:
            raise ConfigError(f"{method.__qualname__}: there is no contract @{name}{did_you_mean(name, kinds)}")
        contracts.append(kinds[name](method, *arguments.split()))
    return contracts


async def _check(method: Any, contracts: list[Contract], fetch: Fetch) -> list[Check]:
    arguments: dict[str, Any] = {"callback": method, "dont_filter": True}
    request_cls = Request
    for each in contracts:
        arguments = each.adjust_request_args(arguments)
        request_cls = each.request_cls or request_cls
    request = request_cls(**arguments)
    try:
        response = await fetch(request)
        failed = {each: error for each in contracts if (error := _told(each.pre_process, response))}
        output = await all_of(method(response, **request.cb_kwargs))
    except Exception as error:
        return [Check(method.__qualname__, f"{type(error).__name__}: {error}")]
    for each in contracts:
        failed.setdefault(each, _told(each.post_process, output))
    return [Check(each.testcase, failed[each]) for each in contracts if _judges(each)]


def _judges(contract: Contract) -> bool:
    kind = type(contract)
    return kind.pre_process is not Contract.pre_process or kind.post_process is not Contract.post_process


def _told(look: Callable[[Any], None], at: Any) -> str:
    try:
        look(at)
    except AssertionError as error:
        return str(error) or "it does not hold"
    return ""
