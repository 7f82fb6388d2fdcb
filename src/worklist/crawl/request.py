"""What is to be asked of a server, and who gets the answer: Request and its kinds.

A request is plain data, so that it can lie in a queue: its callbacks are names of methods of the spider. It knows
nothing of queues and of HTTP clients.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urljoin

from .curl import from_curl
from .fingerprint import safe
from .headers import Headers

if TYPE_CHECKING:
    from .response import TextResponse

Callback = Callable[..., Any] | str | None


def NO_CALLBACK(*_a: Any, **_kw: Any) -> None:  # noqa: N802 - a constant of Scrapy
    """Stand as the callback of a request whose response goes to whoever asked, never to the spider."""
    raise RuntimeError("NO_CALLBACK was called: it marks a request that no method of the spider is to answer")


def callback_name(callback: Callback, what: str = "callback") -> str | None:
    """Return the name by which a callback is stored. Raises TypeError for what has none that another process knows."""
    if callback is None or isinstance(callback, str):
        return callback
    name = getattr(callback, "__name__", None)
    if not callable(callback):
        raise TypeError(f"{what} is {callback!r}; expected a method of the spider, or its name")
    if callback is NO_CALLBACK:
        return "NO_CALLBACK"
    is_method = getattr(callback, "__self__", None) is not None  # of a spider, wherever its class was made
    if name is None or name == "<lambda>" or not (is_method or "<locals>" not in getattr(callback, "__qualname__", "")):
        raise TypeError(
            f"{what} is {callback!r}, a function inside another; a request waits in a queue and may run in another "
            "process, so make it a method of the spider, and pass it what it needs with cb_kwargs={...}"
        )
    return str(name)


class Request:
    """A URL to ask for, and the method of the spider that gets the response.

    `callback`, `errback`: methods of the spider, or their names (default: ``parse``). `cb_kwargs`: keyword arguments
    for them; `meta`: what middlewares and callbacks want to know; both plain data, since they lie in the queue.
    `priority`: higher first. `dont_filter`: also where the same was asked for before. `delay`: seconds before it is
    due; `not_before`: the moment from which on it is (an aware datetime or unix seconds).
    """

    attributes: tuple[str, ...] = (
        "url", "callback", "method", "headers", "body", "cookies", "meta", "encoding", "priority", "dont_filter",
        "errback", "flags", "cb_kwargs", "delay", "not_before",
    )  # fmt: skip
    __slots__ = (
        "__dict__", "_body", "_cb_kwargs", "_headers", "_meta", "callback", "cookies", "delay", "dont_filter",
        "encoding", "errback", "flags", "method", "not_before", "priority", "url",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        callback: Callback = None,
        method: str = "GET",
        headers: Any = None,
        body: bytes | str | None = None,
        cookies: dict[str, Any] | list[dict[str, Any]] | None = None,
        meta: dict[str, Any] | None = None,
        encoding: str = "utf-8",
        priority: int = 0,
        dont_filter: bool = False,
        errback: Callback = None,
        flags: list[str] | None = None,
        cb_kwargs: dict[str, Any] | None = None,
        delay: float = 0.0,
        not_before: dt.datetime | float | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"the URL of a request is text, not {type(url).__name__}")
        if not isinstance(priority, int):
            raise TypeError(f"the priority of a request is a whole number, not {priority!r}")
        self.url = safe(url, encoding)
        if ":" not in self.url:
            raise ValueError(f"the URL of a request is {url!r}, without a scheme; expected http://... or https://...")
        self.callback = callback
        self.errback = errback
        self.method = method if method == "GET" else method.upper()
        self.encoding = encoding
        self._headers = None if not headers else Headers(headers, encoding)
        self._body = b"" if body is None else body.encode(encoding) if isinstance(body, str) else body
        self.cookies = cookies or {}
        self._meta = dict(meta) if meta else None
        self._cb_kwargs = dict(cb_kwargs) if cb_kwargs else None
        self.priority = priority
        self.dont_filter = dont_filter
        self.flags = list(flags) if flags else []
        self.delay = delay
        self.not_before = not_before.timestamp() if isinstance(not_before, dt.datetime) else not_before

    @property
    def headers(self) -> Headers:
        """What is sent with it."""
        if self._headers is None:
            self._headers = Headers(encoding=self.encoding)
        return self._headers

    @headers.setter
    def headers(self, value: Any) -> None:
        self._headers = value if isinstance(value, Headers) else Headers(value, self.encoding)

    @property
    def body(self) -> bytes:
        """What is sent; empty for most."""
        return self._body

    @property
    def meta(self) -> dict[str, Any]:
        """What middlewares and callbacks want to know."""
        if self._meta is None:
            self._meta = {}
        return self._meta

    def meta_get(self, name: str, default: Any = None) -> Any:
        """Return one value of `meta`; cheaper than ``meta.get`` for requests that have none."""
        return default if self._meta is None else self._meta.get(name, default)

    @property
    def cb_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for the callback and the errback."""
        if self._cb_kwargs is None:
            self._cb_kwargs = {}
        return self._cb_kwargs

    def for_url(self, url: str) -> Self:
        """Return the same request for another URL, one that needs no escaping. Cheap: a page has many links."""
        twin = self.__class__.__new__(self.__class__)
        twin.url = url
        twin.callback = self.callback
        twin.errback = self.errback
        twin.method = self.method
        twin.encoding = self.encoding
        headers, meta, cb_kwargs = self._headers, self._meta, self._cb_kwargs
        twin._headers = None if headers is None else headers.copy()  # noqa: SLF001
        twin._body = self._body  # noqa: SLF001
        twin.cookies = self.cookies.copy()
        twin._meta = None if meta is None else meta.copy()  # noqa: SLF001
        twin._cb_kwargs = None if cb_kwargs is None else cb_kwargs.copy()  # noqa: SLF001
        twin.priority = self.priority
        twin.dont_filter = self.dont_filter
        twin.flags = self.flags.copy()
        twin.delay = self.delay
        twin.not_before = self.not_before
        return twin

    @classmethod
    def from_curl(cls, command: str, **more: Any) -> Self:
        """Return the request of a command line of curl, such as browsers give; `more` are its other arguments.

        Raises NotSupported for options that are not known.
        """
        return cls(**{**from_curl(command), **more})

    def copy(self) -> Self:
        """Return the same request once more."""
        return self.replace()  # type: ignore[no-any-return]

    def replace(self, *args: Any, cls: type[Request] | None = None, **changes: Any) -> Any:
        """Return a request like this one with some attributes changed, of another class where `cls` is given."""
        kind = cls or type(self)
        for name in self.attributes[len(args) :]:
            if name not in changes:
                changes[name] = getattr(self, name)
        return kind(*args, **changes)

    def to_dict(self, *, spider: Any = None) -> dict[str, Any]:
        """Return it as plain data, what is as by default left out. Raises TypeError for callbacks without a name.

        With `spider`, ValueError for callbacks that are no methods of it.
        """
        data: dict[str, Any] = {"url": self.url}
        if type(self) is not Request:
            data["class"] = f"{type(self).__module__}:{type(self).__qualname__}"
        for what in ("callback", "errback"):
            name = callback_name(getattr(self, what), what)
            if name is not None:
                _check_method(spider, name, what)
                data[what] = name
        if self._headers:
            data["headers"] = [[name, values] for name, values in self._headers.items()]
        for name, plain in _PLAIN.items():
            value = getattr(self, name)
            if value != plain:
                data[name] = value
        if self._meta:
            data["meta"] = self._meta
        if self._cb_kwargs:
            data["cb_kwargs"] = self._cb_kwargs
        return data

    def __repr__(self) -> str:
        return f"<{self.method} {self.url}>"


_PLAIN: dict[str, Any] = {
    "method": "GET",
    "body": b"",
    "cookies": {},
    "encoding": "utf-8",
    "priority": 0,
    "dont_filter": False,
    "flags": [],
    "not_before": None,
}


def _check_method(spider: Any, name: str, what: str) -> None:
    if spider is not None and name != "NO_CALLBACK" and not callable(getattr(spider, name, None)):
        raise ValueError(
            f"the {what} {name!r} is no method of the spider {spider.name!r}; a request waits in a queue and may run "
            "in another process, which finds callbacks by name"
        )


def request_from_dict(data: Mapping[str, Any], *, spider: Any = None) -> Request:
    """Make the request that `to_dict` described; its callbacks are names still."""
    fields = dict(data)
    kind = _class_of(fields.pop("class", None))
    return kind._restored(fields) if kind is not Request else Request(**fields)  # type: ignore[attr-defined] # noqa: SLF001


def _class_of(path: str | None) -> type[Request]:
    return _KINDS.get((path or "").rpartition(":")[2], Request)


class FormRequest(Request):
    """A request that sends a form: by POST in its body; by GET in its URL."""

    __slots__ = ()
    valid_form_methods = ("GET", "POST")

    def __init__(self, *args: Any, formdata: Any = None, **kwargs: Any) -> None:
        if formdata and kwargs.get("method") is None:
            kwargs["method"] = "POST"
        super().__init__(*args, **kwargs)
        if not formdata:
            return
        pairs = list(formdata.items()) if isinstance(formdata, Mapping) else list(formdata)
        query = urlencode([(key, one) for key, value in pairs for one in _several(value)], encoding=self.encoding)
        if self.method == "POST":
            self.headers.setdefault(b"Content-Type", b"application/x-www-form-urlencoded")
            self._body = query.encode()
        else:
            self.url = f"{self.url.partition('#')[0].partition('?')[0]}?{query}"

    @classmethod
    def _restored(cls, fields: dict[str, Any]) -> FormRequest:
        return cls(**fields)

    @classmethod
    def from_response(
        cls,
        response: TextResponse,
        formname: str | None = None,
        formid: str | None = None,
        formnumber: int = 0,
        formdata: Any = None,
        clickdata: dict[str, Any] | None = None,
        dont_click: bool = False,
        formxpath: str | None = None,
        formcss: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Fill in a form of a page and send it: its fields with `formdata` over them (None removes a field).

        The form is the one of `formid`, `formname`, `formxpath` or `formcss`, else the one with this number.
        `clickdata` are attributes of the button that is clicked, by default the first; `dont_click`: none.
        """
        from .forms import form_fields  # noqa: PLC0415 - rarely used

        chosen = (formname, formid, formnumber, formxpath, formcss)
        url, method, fields = form_fields(response, chosen, formdata, clickdata, dont_click)
        kwargs.setdefault("method", method)
        kwargs.setdefault("encoding", response.encoding)
        return cls(url=urljoin(response.url, url), formdata=fields, **kwargs)


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else (value,)


class JsonRequest(Request):
    """A request that sends `data` as JSON, by POST where there is some."""

    __slots__ = ("_dumps_kwargs",)
    attributes = (*Request.attributes, "dumps_kwargs")

    def __init__(self, *args: Any, data: Any = None, dumps_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self._dumps_kwargs = {"sort_keys": True, **(dumps_kwargs or {})}
        if data is not None and kwargs.get("body") is None:
            kwargs["body"] = json.dumps(data, **self._dumps_kwargs)
            if kwargs.get("method") is None:
                kwargs["method"] = "POST"
        super().__init__(*args, **kwargs)
        self.headers.setdefault(b"Content-Type", b"application/json")
        self.headers.setdefault(b"Accept", b"application/json, text/javascript, */*; q=0.01")

    @property
    def dumps_kwargs(self) -> dict[str, Any]:
        """What is passed to `json.dumps`."""
        return self._dumps_kwargs

    @classmethod
    def _restored(cls, fields: dict[str, Any]) -> JsonRequest:
        return cls(**fields)

    def replace(self, *args: Any, **kwargs: Any) -> Any:
        """Return a request like this one with some attributes changed; `data` replaces the body."""
        if "data" in kwargs and "body" not in kwargs:
            kwargs["body"] = json.dumps(kwargs.pop("data"), **self._dumps_kwargs)
        return super().replace(*args, **kwargs)


_KINDS: dict[str, type[Request]] = {"FormRequest": FormRequest, "JsonRequest": JsonRequest}
