"""Where items go and how: the setting FEEDS and the option -o, read into one value for each feed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ...core.errors import ConfigError, did_you_mean

FORMATS = ("jsonlines", "json", "csv", "xml", "parquet")
_BY_ENDING = {"jsonl": "jsonlines", "jl": "jsonlines", "jsonlines": "jsonlines", "ndjson": "jsonlines"}
_TABLES = ("sqlite", "postgresql", "postgres")
_KEYS = (
    "format", "overwrite", "fields", "indent", "encoding", "item_classes", "item_filter", "item_export_kwargs",
    "batch_item_count", "store_empty", "uri_params", "postprocessing",
)  # fmt: skip


@dataclass(frozen=True)
class FeedOptions:
    """One feed. `fields` maps the names of an item to those in the feed; empty: all, under their own names."""

    uri: str
    format: str
    overwrite: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    indent: int | None = None
    encoding: str = "utf-8"
    item_classes: tuple[type, ...] = ()
    accepts: Callable[[Any], bool] | None = None
    export: Mapping[str, Any] = field(default_factory=dict)
    batch_item_count: int = 0
    store_empty: bool = True
    sync: bool = False

    @property
    def is_table(self) -> bool:
        """Whether items go into a table of a database."""
        return self.format == "table"

    def path(self, batch: int, moment: dt.datetime, spider: Any) -> Path:
        """Return the file of a batch, counted from 1; %(name)s, %(time)s, %(batch_id)d … stand for values."""
        stamp = moment.replace(microsecond=0).isoformat().replace(":", "-")
        values = {**_public(spider), "name": spider.name, "time": stamp, "batch_id": batch, "batch_time": stamp}
        try:
            return Path(_file_of(self.uri) % values)
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(f"the feed {self.uri!r}: {error} is not known; a per cent sign is written %%") from None


def _public(spider: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(spider).items() if not name.startswith("_")}


def _file_of(uri: str) -> str:
    return unquote(urlsplit(uri).path) if uri.startswith("file://") else uri


def feeds_of(settings: Any) -> list[FeedOptions]:
    """Read the setting FEEDS. Raises ConfigError for what is not known, with the nearest that is."""
    return [feed_of(str(uri), options or {}, settings) for uri, options in settings.getdict("FEEDS").items()]


def feed_of(uri: str, given: Mapping[str, Any], settings: Any) -> FeedOptions:
    """Read the options of one feed; what they do not say the settings FEED_… do."""
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"the feed {uri!r} has no option {key!r}{did_you_mean(key, _KEYS)}")
    if given.get("postprocessing"):
        raise ConfigError(
            f"the feed {uri!r}: postprocessing is not supported; compress the file when the crawl is over"
        )
    kind = _format(uri, given.get("format"))
    batch = int(given.get("batch_item_count") or settings.getint("FEED_EXPORT_BATCH_ITEM_COUNT", 0))
    if batch and "%(batch_" not in uri:
        raise ConfigError(f"the feed {uri!r} has batch_item_count={batch}; put %(batch_id)d into its name")
    store_empty = given.get("store_empty", settings.getbool("FEED_STORE_EMPTY", True))
    return FeedOptions(
        uri=uri,
        format=kind,
        overwrite=bool(given.get("overwrite", False)),
        fields=_fields(given.get("fields") or settings.get("FEED_EXPORT_FIELDS")),
        indent=given.get("indent", settings.get("FEED_EXPORT_INDENT")),
        encoding=given.get("encoding") or settings.get("FEED_EXPORT_ENCODING") or "utf-8",
        item_classes=tuple(_loaded(each) for each in _listed(given.get("item_classes"))),
        accepts=_filter(given.get("item_filter"), given),
        export=given.get("item_export_kwargs") or {},
        batch_item_count=batch,
        store_empty=bool(store_empty),
        sync=settings.getbool("FEED_SYNC", False),
    )


def _format(uri: str, given: str | None) -> str:
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme in _TABLES:
        table_of(uri)
        return "table"
    if scheme not in {"", "file"}:
        raise ConfigError(
            f"the feed {_hidden(uri)!r}: {scheme}:// is not supported; expected a path, sqlite:/// or postgresql://"
        )
    ending = _file_of(uri).rpartition(".")[2].lower()
    kind = _BY_ENDING.get(given or ending, given or ending)
    if kind not in FORMATS:
        raise ConfigError(
            f"the feed {uri!r} has the format {kind!r}{did_you_mean(kind, FORMATS)}; expected {', '.join(FORMATS)} "
            "(by the ending of the name, .jsonl for jsonlines, or by format)"
        )
    return kind


def table_of(uri: str) -> str:
    """Return the name of the table that a URL ends with: ?table=items."""
    table = parse_qs(urlsplit(uri).query).get("table", ["items"])[0]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,59}", table):
        raise ConfigError(f"the table {table!r} of a feed; expected letters, digits and _")
    return table


def _hidden(uri: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", uri)


def _fields(given: Any) -> dict[str, str]:
    return dict(given) if isinstance(given, Mapping) else {name: name for name in _listed(given)}


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str):
        return [each.strip() for each in given.split(",") if each.strip()]
    return list(given) if isinstance(given, Iterable) else [given]


def _loaded(path: Any) -> Any:
    if not isinstance(path, str):
        return path
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path!r} of a feed cannot be imported: {error}") from None


def _filter(given: Any, options: Mapping[str, Any]) -> Callable[[Any], bool] | None:
    return None if given is None else _loaded(given)(dict(options)).accepts
