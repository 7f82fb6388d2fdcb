"""From a URL to the broker that it names: the one table of schemes, and how URLs are read.

A broker is imported when it is opened, so that nobody needs the driver of a server that they do not use. No error
and no log line shows the password of a URL.
"""

import contextlib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .brokers.memory import MemoryBroker
from .brokers.rabbitmq.without import CAPABILITIES as RABBITMQ
from .brokers.rabbitmq.without import with_ledger
from .brokers.sqlite import SqliteBroker
from .core.codec import Codec
from .core.errors import ConfigError, did_you_mean
from .core.ports import Capabilities, ResultStore, Store
from .core.units import seconds


class Host(NamedTuple):
    """Where a server listens."""

    name: str
    port: int | None
    """None: the usual one."""


class BrokerUrl:
    """A parsed URL: what to open, where, and how. Raises ConfigError where it cannot mean anything."""

    _kind = "broker"

    def __init__(self, url: str, what: str = "url") -> None:
        if not isinstance(url, str) or ":" not in url:
            raise ConfigError(f"{what} is {url!r}; expected something like sqlite:///worklist.db or memory://")
        self.url = url
        self.shown = without_password(url)
        """The URL as people may see it."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ConfigError(f"{what} is {self.shown!r}, which is no URL: {error}") from None
        self.scheme = ALIASES.get(parts.scheme, parts.scheme)
        known = self._known()
        if self.scheme not in known:
            if self.scheme in RESULT_STORES:
                raise ConfigError(
                    f"{what}: there is no broker for {self.scheme}:// URLs, which keep results and no jobs; expected "
                    f"amqp:// for the jobs, and this one as results="
                )
            raise ConfigError(
                f"{what}: there is no {self._kind} for {self.scheme}:// URLs{did_you_mean(self.scheme, known)}; "
                f"known are {', '.join(f'{scheme}://' for scheme in sorted(known))}"
            )
        self._adapter = known[self.scheme]
        self.results: ResultsUrl | None = None
        """Where results are kept, if not in the same place."""
        self.queues: Callable[[], Sequence[str]] = tuple
        """Returns the queues that its app knows, for a broker that cannot list its own."""
        if parts.fragment:
            raise ConfigError(
                f"{what} is {self.shown!r}; a # in a password or in the name of a file is written %23, and a ? %3F"
            )
        self.options = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.place = unquote(parts.path)[1:]
        """What stands behind the third slash: a file, a database, a virtual host."""
        login, _, self._servers = parts.netloc.rpartition("@")
        self.user, self.password = _login(login)
        self._adapter.check(self, what)

    @staticmethod
    def _known() -> "Mapping[str, Adapter]":
        return ADAPTERS

    def keep_results_in(self, results: "ResultsUrl | None") -> None:
        """Keep results apart from the broker; None: in queues of those who put the jobs."""
        if not self._adapter.results_apart:
            where = "rpc" if results is None else results.shown
            raise ConfigError(
                f"results is {where!r}, but {self.scheme}:// keeps results itself; leave it out, or write "
                "results='all', 'failures' or 'none'"
            )
        self.results = results

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
        """What the broker behind it can do, with the ledger that its results are in."""
        if self.results is not None and self.results.is_ledger:
            return with_ledger(self.results.capabilities)
        return self._adapter.capabilities

    def open(self, codec: Codec) -> Any:
        """Open it: a Store, or a ResultStore where it is no broker.

        Raises ConfigError for an option that means nothing, BrokerError where it cannot be reached.
        """
        known = self.options if self._adapter.options is None else self._adapter.options
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


class ResultsUrl(BrokerUrl):
    """The URL of a place for results: that of a broker which keeps them, or of a store of results alone."""

    _kind = "store of results"

    @property
    def is_ledger(self) -> bool:
        """Whether it can hold the jobs that a broker of messages cannot: it is a broker that outlives its processes."""
        return self.scheme in ADAPTERS and self.capabilities.durable

    @staticmethod
    def _known() -> "Mapping[str, Adapter]":
        keeping = {scheme: adapter for scheme, adapter in ADAPTERS.items() if not adapter.results_apart}
        return keeping | RESULT_STORES


def without_password(url: str) -> str:
    """Return a URL that may be shown to anybody, also one whose password holds signs that ought to be escaped."""
    scheme, _, rest = url.partition(":")
    main, question, options = rest.partition("?")
    if "@" not in main:
        main, question, options = rest, "", ""
    login, at, servers = main.rpartition("@")
    slashes = "//" if login.startswith("//") else ""
    user, colon, _ = login.removeprefix(slashes).partition(":")
    if at and (colon or not slashes) and scheme not in ("sqlite", "memory"):
        url = f"{scheme}:{slashes}{user if colon else ''}{colon}***@{servers}{question}{options}"
    return re.sub(r"(password=)[^&#]*", r"\1***", url)


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
        escape = "; in a password a / is written %2F, and a ? %3F" if text not in url else ""
        raise ConfigError(
            f"url is {url!r}; expected HOST or HOST:PORT behind the slashes, the port from 1 to 65535{escape}"
        )
    return Host(name, port)


# -- the table --------------------------------------------------------------------------------------------------


def _open_memory(url: BrokerUrl, codec: Codec) -> Store:
    return MemoryBroker(codec)


def _open_sqlite(url: BrokerUrl, codec: Codec) -> Store:
    durability = url.one_of("durability", {"normal": "a process crash", "full": "a power cut"})
    patience = url.seconds("patience", 30.0)
    return SqliteBroker(Path(url.place), codec, durability=durability, patience=patience)  # type: ignore[arg-type]


def _open_rabbitmq(url: BrokerUrl, codec: Codec) -> Store:
    from .brokers.rabbitmq.broker import RabbitBroker  # noqa: PLC0415 - needs the driver
    from .brokers.rabbitmq.connection import Address  # noqa: PLC0415
    from .brokers.rabbitmq.ledger import LedgerBroker  # noqa: PLC0415

    address = Address(
        [(host.name, host.port or (5671 if url.scheme == "amqps" else 5672)) for host in url.hosts],
        url.user or "guest",
        url.password if url.password is not None else "guest",
        url.place or "/",
        _tls(url),
        url.seconds("timeout", 10.0),
    )
    options: dict[str, Any] = {
        "prefix": url.options.get("prefix", "worklist"),
        "queue_type": url.one_of("queue_type", {"quorum": "replicated", "classic": "on one node"}),
    }
    results: Any = None if url.results is None else url.results.open(codec)
    if url.results is not None and url.results.is_ledger:
        return LedgerBroker(address, codec, ledger=results, queues=url.queues, **options)
    store: Store = RabbitBroker(address, codec, results=results, **options)
    return store


def _tls(url: BrokerUrl) -> ssl.SSLContext | None:
    """Return how connections are encrypted; None: not."""
    file = url.options.get("cafile")
    if url.scheme == "amqp":
        if file is not None:
            raise ConfigError("cafile is for amqps:// URLs; amqp:// does not encrypt")
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ConfigError(f"cafile is {file!r}, which cannot be read: {error}") from None


def _check_rabbitmq(url: BrokerUrl, what: str) -> None:
    if not url.url.startswith(f"{url.scheme}://") or not url.hosts:
        raise ConfigError(f"{what} is {url.shown!r}; expected {url.scheme}://USER:PASSWORD@HOST:PORT/VHOST")
    prefix = url.options.get("prefix", "worklist")
    if not 0 < len(prefix) <= 40 or not prefix.isprintable() or ":" in prefix:
        raise ConfigError(f"{what}: prefix is {prefix!r}; expected a name of up to 40 characters without a colon")


def _open_mongodb(url: BrokerUrl, codec: Codec) -> ResultStore:
    from .results.mongodb import MongoResults  # noqa: PLC0415 - needs the driver

    store: ResultStore = MongoResults(url.url, url.shown, url.place or "worklist")
    return store


def _check_mongodb(url: BrokerUrl, what: str) -> None:
    if not url.url.startswith(f"{url.scheme}://") or not url.hosts:
        raise ConfigError(f"{what} is {url.shown!r}; expected {url.scheme}://USER:PASSWORD@HOST:PORT/DATABASE")


_REDIS_OPTIONS = {
    "prefix": "",
    "timeout": "",
    "master": "sentinel",
    "sentinel_user": "sentinel",
    "sentinel_password": "sentinel",
    "db": "socket",
    "cafile": "tls",
    "certfile": "tls",
    "keyfile": "tls",
    "verify": "tls",
}
"""What may stand behind the question mark, and for which kind of server; "" for all."""
_REDIS_KINDS = {
    "redis": "plain",
    "rediss": "plain",
    "valkey": "plain",
    "valkeys": "plain",
    "redis+unix": "socket",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}


def _open_redis(url: BrokerUrl, codec: Codec) -> Store:
    from .brokers.redis import RedisBroker, connect  # noqa: PLC0415 - it needs its driver

    where = connect.Where(
        kind=_REDIS_KINDS[url.scheme],  # type: ignore[arg-type]
        hosts=[(host.name, host.port) for host in url.hosts],
        socket=f"/{url.place}" if url.scheme == "redis+unix" else None,
        database=_database(url),
        user=url.user,
        password=url.password,
        timeout=url.seconds("timeout", 5.0),
        master=url.options.get("master", "mymaster"),
        sentinel_user=url.options.get("sentinel_user"),
        sentinel_password=url.options.get("sentinel_password"),
        tls=_redis_tls(url),
    )
    prefix = url.options.get("prefix", "worklist")
    return RedisBroker(where.connect, codec, prefix=prefix, shown=url.shown)


def _is_encrypted(scheme: str) -> bool:
    return scheme.startswith("rediss") or scheme == "valkeys"


def _redis_tls(url: BrokerUrl) -> dict[str, str] | None:
    """Return how a connection is encrypted, in words of the driver; None where it is not."""
    if not _is_encrypted(url.scheme):
        return None
    words = {"cafile": "ssl_ca_certs", "certfile": "ssl_certfile", "keyfile": "ssl_keyfile"}
    files = {}
    for name, word in words.items():
        if name in url.options:
            files[word] = file = url.options[name]
            if not Path(file).is_file():
                raise ConfigError(f"{name} is {file!r}; expected a file that is there")
    checks = url.one_of("verify", {"required": "check the certificate", "none": "believe anybody"})
    return {"ssl_cert_reqs": checks, **files}


def _check_redis(url: BrokerUrl, what: str) -> None:
    hosts, kind = url.hosts, _REDIS_KINDS[url.scheme]
    if len(hosts) > 1 and kind == "plain":
        raise ConfigError(
            f"{what} is {url.shown!r}, which names {len(hosts)} servers; expected redis+sentinel:// or redis+cluster://"
        )
    if not hosts and kind in ("sentinel", "cluster"):
        raise ConfigError(f"{what} is {url.shown!r}; expected {url.scheme}://HOST:PORT,HOST:PORT")
    if kind == "socket" and (hosts or not url.place):
        raise ConfigError(f"{what} is {url.shown!r}; expected redis+unix:///FOLDER/FILE (three slashes)")
    for name in url.options:
        fits = _REDIS_OPTIONS.get(name, "")
        if fits and fits != kind and not (fits == "tls" and _is_encrypted(url.scheme)):
            expected = "rediss://" if fits == "tls" else "redis+unix://" if fits == "socket" else "redis+sentinel://"
            raise ConfigError(f"{what} is {url.shown!r}; the option {name} is for {expected}")
    prefix = url.options.get("prefix", "worklist")
    if not prefix or not prefix.isprintable() or set(prefix) & set("{} "):
        raise ConfigError(f"{what}: prefix is {prefix!r}; expected a name without spaces and braces")
    _database(url, what)


def _database(url: BrokerUrl, what: str = "url") -> int:
    kind = _REDIS_KINDS[url.scheme]
    number = url.options.get("db", "0") if kind == "socket" else url.place or "0"
    if not (number.isascii() and number.isdecimal()):
        example = {
            "socket": "redis+unix:///run/redis.sock?db=0",
            "sentinel": "redis+sentinel://localhost:26379/0?master=mymaster",
        }.get(kind, f"{url.scheme}://localhost:6379/0")
        raise ConfigError(f"{what} is {url.shown!r}; expected the number of a database, as in {example}")
    if number != "0" and kind == "cluster":
        raise ConfigError(f"{what} is {url.shown!r}; a cluster has database 0 only, so tell apps apart by ?prefix=")
    return int(number)


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

    open: Callable[[BrokerUrl, Codec], ResultStore]
    capabilities: Capabilities
    options: Sequence[str] | None = ()
    """What may stand behind the question mark; None: whatever its driver knows."""
    check: Callable[[BrokerUrl, str], None] = _check_nothing
    """Raises ConfigError for a URL that cannot mean anything."""
    extra: str | None = None
    """The extra of the package that brings the driver."""
    results_apart: bool = False
    """Whether it is a broker that keeps no results itself."""


_RABBITMQ_OPTIONS = ("prefix", "queue_type", "timeout", "cafile")

ADAPTERS = {
    "memory": Adapter(_open_memory, MemoryBroker.capabilities),
    **dict.fromkeys(
        ("amqp", "amqps"),
        Adapter(_open_rabbitmq, RABBITMQ, _RABBITMQ_OPTIONS, _check_rabbitmq, "rabbitmq", results_apart=True),
    ),
    **dict.fromkeys(_REDIS_KINDS, Adapter(_open_redis, Capabilities(), tuple(_REDIS_OPTIONS), _check_redis, "redis")),
    "sqlite": Adapter(_open_sqlite, SqliteBroker.capabilities, ("durability", "patience"), _check_sqlite),
    "postgresql": Adapter(
        _open_postgres, Capabilities(transaction=True), _POSTGRES_OPTIONS, _check_postgres, "postgres"
    ),
}
"""From the scheme of a URL to what it opens."""

RESULT_STORES = {
    "mongodb": Adapter(_open_mongodb, Capabilities(), None, _check_mongodb, "mongodb"),
    "mongodb+srv": Adapter(_open_mongodb, Capabilities(), None, _check_mongodb, "mongodb"),
}
"""What keeps results and is no broker."""

ALIASES = {"postgres": "postgresql"}
"""Schemes that are another one."""
