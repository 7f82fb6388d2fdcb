"""From a URL to the broker that it names: the one table of schemes, and how URLs are read.

A broker is imported when it is opened, so that nobody needs the driver of a server that they do not use. No error
and no log line shows the password of a URL.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .brokers.memory import MemoryBroker
from .brokers.sqlite import SqliteBroker
from .core.codec import Codec
from .core.errors import ConfigError, did_you_mean
from .core.ports import Capabilities, Store
from .core.units import seconds


class Host(NamedTuple):
    """Where a server listens."""

    name: str
    port: int | None
    """None: the usual one."""


class BrokerUrl:
    """A parsed URL: what to open, where, and how. Raises ConfigError where it cannot mean anything."""

    def __init__(self, url: str, what: str = "url") -> None:
        if not isinstance(url, str) or ":" not in url:
            raise ConfigError(f"{what} is {url!r}; expected something like sqlite:///worklist.db or memory://")
        self.url = url
        parts = urlsplit(url)
        self.scheme = ALIASES.get(parts.scheme, parts.scheme)
        if self.scheme not in ADAPTERS:
            raise ConfigError(
                f"{what}: there is no broker for {self.scheme}:// URLs{did_you_mean(self.scheme, ADAPTERS)}; "
                f"known are {', '.join(f'{scheme}://' for scheme in sorted(ADAPTERS))}"
            )
        self._adapter = ADAPTERS[self.scheme]
        self.shown = without_password(url)
        """The URL as people may see it."""
        if parts.fragment:
            raise ConfigError(
                f"{what} is {self.shown!r}; a # in the name of a file is written %23, and a ? is written %3F"
            )
        self.options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.place = unquote(parts.path)[1:]
        """What stands behind the third slash: a file, a database, a virtual host."""
        login, _, self._servers = parts.netloc.rpartition("@")
        self.user, self.password = _login(login)
        self._adapter.check(self, what)

    @property
    def hosts(self) -> list[Host]:
        """The servers that it names, one after the other. Raises ConfigError for what names none."""
        return [_host(server, self.shown) for server in self._servers.split(",")] if self._servers else []

    @property
    def file(self) -> Path | None:
        """The database file behind it, None where there is none."""
        return Path(self.place) if self.scheme == "sqlite" else None

    @property
    def capabilities(self) -> Capabilities:
        """What the broker behind it can do."""
        return self._adapter.capabilities

    def open(self, codec: Codec) -> Store:
        """Open it. Raises ConfigError for an option that means nothing, BrokerError where it cannot be reached."""
        known = self._adapter.options
        for name in self.options:
            if name not in known:
                listed = f"known are {', '.join(known)}" if known else "it takes none"
                raise ConfigError(f"{self.scheme}:// URLs have no option {name!r}{did_you_mean(name, known)}; {listed}")
        with self._driver():
            return self._adapter.open(self, codec)

    def one_of(self, option: str, choices: dict[str, str]) -> str:
        """Return an option that is a word, by default the first of `choices`, which say what each word means."""
        value = self.options.get(option, next(iter(choices)))
        if value not in choices:
            listed = " or ".join(f"{word} ({meaning})" for word, meaning in choices.items())
            raise ConfigError(f"{option} is {value!r}; expected {listed}{did_you_mean(value, choices)}")
        return value

    def seconds(self, option: str, default: float) -> float:
        """Return an option that is a time."""
        return seconds(self.options.get(option, default), option)

    @contextlib.contextmanager
    def _driver(self) -> Iterator[None]:
        """Say how to install the driver that is missing."""
        try:
            yield
        except ModuleNotFoundError as error:
            if self._adapter.extra is None or (error.name or "").startswith("worklist"):
                raise
            raise ConfigError(
                f"{self.scheme}:// needs the package {error.name}, which is not installed: "
                f'pip install "worklist[{self._adapter.extra}]"'
            ) from None


def without_password(url: str) -> str:
    """Return a URL that may be shown to anybody."""
    parts = urlsplit(url)
    login, at, servers = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = url.replace(parts.netloc, f"{user}:***{at}{servers}", 1) if colon else url
    return re.sub(r"(password=)[^&#]*", r"\1***", shown)


def _login(text: str) -> tuple[str | None, str | None]:
    user, colon, password = text.partition(":")
    return unquote(user) or None, unquote(password) if colon else None


def _host(text: str, url: str) -> Host:
    """Read ``name``, ``name:port`` or ``[address]:port``."""
    parts = urlsplit(f"//{text}")
    try:
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or (port is None and text.rpartition("]")[2].rpartition(":")[1]):
        raise ConfigError(f"url is {url!r}; expected HOST or HOST:PORT behind the slashes, the port from 1 to 65535")
    return Host(name, port)


# -- the table --------------------------------------------------------------------------------------------------


def _open_memory(url: BrokerUrl, codec: Codec) -> Store:
    return MemoryBroker(codec)


def _open_sqlite(url: BrokerUrl, codec: Codec) -> Store:
    durability = url.one_of("durability", {"normal": "a process crash", "full": "a power cut"})
    patience = url.seconds("patience", 30.0)
    return SqliteBroker(Path(url.place), codec, durability=durability, patience=patience)  # type: ignore[arg-type]


_REDIS_OPTIONS = ("prefix", "timeout", "master")


def _open_redis(url: BrokerUrl, codec: Codec) -> Store:
    from .brokers.redis import RedisBroker, connect  # noqa: PLC0415 - it needs its driver

    where = connect.Where(
        kind=_REDIS_KINDS[url.scheme],  # type: ignore[arg-type]
        hosts=[(host.name, host.port) for host in url.hosts],
        database=_database(url),
        user=url.user,
        password=url.password,
        timeout=url.seconds("timeout", 5.0),
        master=url.options.get("master", "mymaster"),
    )
    prefix = url.options.get("prefix", "worklist")
    return RedisBroker(where.connect, codec, prefix=prefix, shown=url.shown)


_REDIS_KINDS = {
    "redis": "plain",
    "rediss": "tls",
    "valkey": "plain",
    "valkeys": "tls",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}


def _check_redis(url: BrokerUrl, what: str) -> None:
    hosts = url.hosts
    if len(hosts) > 1 and _REDIS_KINDS[url.scheme] in ("plain", "tls"):
        raise ConfigError(
            f"{what} is {url.shown!r}, which names {len(hosts)} servers; expected redis+sentinel:// or redis+cluster://"
        )
    if not hosts and _REDIS_KINDS[url.scheme] in ("sentinel", "cluster"):
        raise ConfigError(f"{what} is {url.shown!r}; expected {url.scheme}://HOST:PORT,HOST:PORT")
    prefix = url.options.get("prefix", "worklist")
    if not prefix or not prefix.isprintable() or set(prefix) & set("{} "):
        raise ConfigError(f"{what}: prefix is {prefix!r}; expected a name without spaces and braces")
    _database(url, what)


def _database(url: BrokerUrl, what: str = "url") -> int:
    if not (url.place or "0").isdecimal():
        raise ConfigError(
            f"{what} is {url.shown!r}; expected the number of a database behind the slash, such as "
            f"{url.scheme}://localhost:6379/0"
        )
    if url.place not in ("", "0") and _REDIS_KINDS[url.scheme] == "cluster":
        raise ConfigError(f"{what} is {url.shown!r}; a cluster has database 0 only, so tell apps apart by ?prefix=")
    return int(url.place or 0)


def _open_postgres(url: BrokerUrl, codec: Codec) -> Store:
    from .brokers.postgres import Place, PostgresBroker  # noqa: PLC0415 - needs the driver

    parameters = ("sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", "passfile")
    hosts = url.hosts
    place = Place(
        hosts=tuple(host.name for host in hosts),
        ports=tuple(str(host.port or 5432) for host in hosts),
        database=url.place or None,
        user=url.user,
        password=url.password,
        schema=url.options.get("schema", "worklist"),
        timeout=url.seconds("timeout", 10.0),
        pooled={"auto": None, "1": True, "0": False}[url.one_of("pgbouncer", _POOLERS)],
        parameters=tuple((name, url.options[name]) for name in parameters if name in url.options),
    )
    return PostgresBroker(place, codec)


_POOLERS = {"auto": "find out", "1": "one stands between", "0": "none does"}
_POSTGRES_OPTIONS = (
    "schema",
    "timeout",
    "pgbouncer",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "target_session_attrs",
    "passfile",
)


def _check_postgres(url: BrokerUrl, what: str) -> None:
    if "://" not in url.url:
        raise ConfigError(f"{what} is {url.shown!r}; expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE")


def _check_nothing(url: BrokerUrl, what: str) -> None:
    pass


def _check_sqlite(url: BrokerUrl, what: str) -> None:
    if not (url.url[len("sqlite") :].startswith(":///") and url.place):
        raise ConfigError(
            f"{what} is {url.url!r}; expected sqlite:///FILE (three slashes) for a file in this folder, "
            "or sqlite:////FOLDER/FILE (four) for an absolute path"
        )


class Adapter(NamedTuple):
    """How the URLs of one scheme are opened."""

    open: Callable[[BrokerUrl, Codec], Store]
    capabilities: Capabilities
    options: Sequence[str] = ()
    """What may stand behind the question mark."""
    check: Callable[[BrokerUrl, str], None] = _check_nothing
    """Raises ConfigError for a URL that cannot mean anything."""
    extra: str | None = None
    """The extra of the package that brings the driver."""


ADAPTERS = {
    "memory": Adapter(_open_memory, MemoryBroker.capabilities),
    **dict.fromkeys(_REDIS_KINDS, Adapter(_open_redis, Capabilities(), _REDIS_OPTIONS, _check_redis, "redis")),
    "sqlite": Adapter(_open_sqlite, SqliteBroker.capabilities, ("durability", "patience"), _check_sqlite),
    "postgresql": Adapter(
        _open_postgres, Capabilities(transaction=True), _POSTGRES_OPTIONS, _check_postgres, "postgres"
    ),
}
"""From the scheme of a URL to what it opens."""

ALIASES = {"postgres": "postgresql"}
"""Schemes that are another one."""
