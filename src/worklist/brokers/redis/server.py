"""One Redis server, cluster or set of sentinels: how scripts are called there, and what its errors mean for a user.

It knows no verb. No message shows a password.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from typing import Any

import redis
from redis.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.sentinel import MasterNotFoundError

from ...core.errors import BrokerError, BrokerUnavailable, SchemaMismatch, StoreFull, WorklistError
from ...core.events import log
from .. import lua
from .connections import Connections

Client = Any
"""A client of redis-py: Redis or RedisCluster, which share no type."""
LEAST_VERSION = (6, 2)
"""Of Redis: ZMSCORE. Valkey began with 7.2."""
FORMAT = b"worklist 1"
"""What stands under ``format``, for another program or a newer Worklist to be told apart."""
ERRORS = (RedisError, RedisClusterException)
"""What redis-py raises."""
_TRANSIENT = (
    redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError, ClusterDownError, TryAgainError,
    RedisClusterException,
)  # fmt: skip
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], tuple[str, ...], type[WorklistError], str], ...] = (
    (
        (AuthenticationError,),
        ("NOAUTH", "WRONGPASS"),
        BrokerError,
        "{where} refuses the user or the password; check both in the URL",
    ),
    ((NoPermissionError,), ("NOPERM",), BrokerError, "{where} does not let this user do that: {text}"),
    (
        (OutOfMemoryError,),
        ("OOM command not allowed",),
        StoreFull,
        "{where} has no memory left (maxmemory); nothing was changed",
    ),
    (
        (),
        ("DB index is out of range", "invalid DB index"),
        BrokerError,
        "{where} has no such database; expected a lower number behind the last slash of the URL",
    ),
    (
        (),
        ("Cluster mode is not enabled", "cluster support disabled"),
        BrokerError,
        "{where} is no cluster; expected redis:// and the name of one server",
    ),
    (
        (),
        ("unknown command 'SENTINEL'",),
        BrokerError,
        "{where} is no sentinel; expected redis:// and the name of one server, or the port of a sentinel (26379)",
    ),
    (
        (),
        ("CERTIFICATE_VERIFY_FAILED",),
        BrokerError,
        "the certificate of {where} is not to be trusted: {text}; ?cafile=FILE names who may have signed it",
    ),
    (
        (),
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"),
        BrokerError,
        "{where} does not speak TLS; expected redis:// without the second s, or the port where it does",
    ),
    (
        (InvalidResponse,),
        ("Protocol error", "Protocol Error"),
        BrokerError,
        "{where} does not answer as Redis does; is this another program's port?",
    ),
    (
        (MasterNotFoundError,),
        (),
        BrokerUnavailable,
        "no sentinel of {shown} can name the master just now: {text}; ?master=NAME says what they call it",
    ),
    (
        (),
        ("WRONGTYPE",),
        SchemaMismatch,
        "there is another program's data under {keys} on {where}; choose another ?prefix=",
    ),
    (
        _TRANSIENT,
        ("MISCONF", "MASTERDOWN", "NOREPLICAS", "LOADING", "READONLY"),
        BrokerUnavailable,
        "{where} cannot be used just now: {text}",
    ),
)
"""By kind or by words: what errors mean for us, and how that is said; the first that fits."""


class RedisServer:
    """Calls scripts. `connect` makes a client, `shown` is its URL as people may see it."""

    def __init__(self, connect: Callable[[], Client], shown: str, prefix: str, constants: dict[str, object]) -> None:
        self._connect = connect
        self._constants = constants
        self.shown = shown
        self.prefix = f"{{{prefix}}}:"
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._connections: Connections | None = None
        """How scripts are called where there is one server; in a cluster the client finds the right one."""
        self._digests: dict[str, str] = {}

    @property
    def client(self) -> Client:
        """The client, made and looked over at first use. Raises BrokerError where it cannot be used."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    client = self._greeted(self._connect())
                    self._connections = Connections(client) if isinstance(client, redis.Redis) else None
                    self._client = client
        return self._client

    def call(self, verb: str, now: float | None, *arguments: Any, again: bool = False) -> Any:
        """Call the script of a verb; `again`: once more where a connection was broken or silent, as does no harm.

        Raises BrokerUnavailable where trying again later may help, other kinds of BrokerError where it will not.
        """
        given = (1, self.prefix, "" if now is None else repr(now), *arguments)
        try:
            try:
                return self._run(verb, given)
            except (redis.ConnectionError, redis.TimeoutError):
                if not again:
                    raise
                return self._run(verb, given)
        except ERRORS as error:
            raise self.explained(error) from None

    def call_at_bell(self, wait: Callable[..., Any], verb: str, now: float | None, *arguments: Any) -> Any:
        """Call the script of a verb as `call` does, by `wait`, which sends a command when there is work.

        Where the script is not known to the server yet, it is called at once.
        """
        given = (1, self.prefix, "" if now is None else repr(now), *arguments)
        digest = self._digests.get(verb)
        try:
            if digest is None:
                return self._run(verb, given)
            try:
                return wait("EVALSHA", digest, *given)
            except NoScriptError:
                return self._run(verb, given)
        except ERRORS as error:
            raise self.explained(error) from None

    def command(self, *arguments: Any) -> Any:
        """Call a command. Raises what `call` raises."""
        try:
            return self.client.execute_command(*arguments)
        except ERRORS as error:
            raise self.explained(error) from None

    def connection(self, timeout: float | None = None) -> Any:
        """Return a connection for a use of its own, in a cluster to our server; see `Connections.new`.

        Raises what redis-py raises.
        """
        client, connections = self.client, self._connections
        if connections is None:
            connections = Connections(client.get_redis_connection(client.get_node_from_key(self.prefix)))
        return connections.new(timeout)

    def explained(self, error: Exception) -> WorklistError:
        """Return an error of the server as one of ours, in one sentence."""
        text = " ".join(str(error).split()) or "no answer"
        where = f"the Redis server of {self.shown}"
        for kinds, begins, ours, sentence in _MEANINGS:
            if isinstance(error, kinds) or any(word in text for word in begins):
                return ours(sentence.format(where=where, shown=self.shown, text=text, keys=f"{self.prefix}*"))
        return BrokerError(f"{where} says: {text}")

    @property
    def is_open(self) -> bool:
        """Whether anything was called."""
        return self._client is not None

    def close(self) -> None:
        """Give back the connections."""
        with self._lock:
            client, self._client = self._client, None
            connections, self._connections = self._connections, None
            if connections is not None:
                connections.close()
            if client is not None:
                client.close()

    def _run(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        client, connections = self.client, self._connections
        ask = client.execute_command if connections is None else connections.ask
        digest = self._digests.get(verb)
        if digest is not None:
            try:
                return ask("EVALSHA", digest, *arguments)
            except NoScriptError:  # the server was started anew, or another one took over
                pass
        text = lua.script(verb, **self._constants)
        found = ask("EVAL", text, *arguments)
        self._digests[verb] = _digest(text)
        return found

    def _greeted(self, client: Client) -> Client:
        try:
            self._look_over(client)
        except ERRORS as error:
            client.close()
            raise self.explained(error) from None
        except WorklistError:
            client.close()
            raise
        return client

    def _look_over(self, client: Client) -> None:
        about = _facts(client)
        version = tuple(int(part) for part in re.findall(r"\d+", about.get("redis_version", ""))[:2])
        if version and version < LEAST_VERSION:
            raise BrokerError(
                f"the Redis server of {self.shown} is version {about['redis_version']}; "
                f"{'.'.join(map(str, LEAST_VERSION))} or newer is needed"
            )
        self._check_mode(client, about.get("redis_mode", "standalone"))
        policy = about.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and about.get("maxmemory", "0") != "0":
            log.warning(
                "the Redis server of %s may throw jobs away when its memory is full (maxmemory-policy %s); "
                "set it to noeviction",
                self.shown,
                policy,
            )
        client.execute_command("SET", f"{self.prefix}format", FORMAT, "NX")
        found = client.execute_command("GET", f"{self.prefix}format")
        if found != FORMAT:
            said = found.decode("utf-8", "replace") if found else "nothing"
            ours = said.startswith("worklist")
            whose = "a newer Worklist wrote it, so upgrade this one" if ours else "it is another program's"
            raise SchemaMismatch(
                f"the data under {self.prefix}* in {self.shown} has the format {said!r}: {whose}, or choose another "
                "?prefix="
            )

    def _check_mode(self, client: Client, mode: str) -> None:
        """Refuse a server that is to be talked to in another way."""
        if mode == "sentinel":
            raise BrokerError(
                f"the server of {self.shown} is a sentinel; expected redis+sentinel://HOST:PORT?master=NAME"
            )
        if mode == "cluster" and not isinstance(client, RedisCluster):
            raise BrokerError(f"the server of {self.shown} is one of a cluster; expected redis+cluster://HOST:PORT")


def _facts(client: Client) -> dict[str, str]:
    """Return what a server tells of itself; of a cluster, one of its servers."""
    found = client.execute_command("INFO")
    if isinstance(found, dict) and "redis_version" not in found:
        found = next(iter(found.values()))
    return {str(name): str(value) for name, value in found.items()}


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
