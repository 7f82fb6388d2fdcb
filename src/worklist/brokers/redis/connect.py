"""Makes the client of redis-py for each way to run Redis: one server, with TLS or without, sentinels, a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from .server import Client

PORT, SENTINEL_PORT = 6379, 26379
HEALTH_SECONDS = 15


@dataclass(frozen=True)
class Where:
    """Which servers, and how to talk to them. Times in seconds."""

    kind: Literal["plain", "socket", "sentinel", "cluster"]
    hosts: Sequence[tuple[str, int | None]]
    socket: str | None = None
    """The file of a socket, where that is what leads to the server."""
    database: int = 0
    user: str | None = None
    password: str | None = None
    timeout: float = 5.0
    """How long a server may take to answer."""
    master: str = "mymaster"
    """What sentinels call the one that is written to."""
    sentinel_user: str | None = None
    sentinel_password: str | None = None
    tls: Mapping[str, str] | None = None
    """How connections are encrypted, as redis-py names it; None: not at all."""

    def connect(self) -> Client:
        """Return a client. It connects when it is first used."""
        login: dict[str, Any] = {"username": self.user, "password": self.password}
        if self.kind == "cluster":
            nodes = [ClusterNode(name, port or PORT) for name, port in self.hosts]  # type: ignore[no-untyped-call]
            return RedisCluster(startup_nodes=nodes, **login, **self._manner())
        login["db"] = self.database
        if self.kind == "socket":
            return redis.Redis(unix_socket_path=self.socket, **login, **self._manner())
        if self.kind == "sentinel":
            return self._master(login)
        name, port = self.hosts[0] if self.hosts else ("localhost", None)
        return redis.Redis(host=name, port=port or PORT, **login, **self._manner())

    def _manner(self) -> dict[str, Any]:
        """Return how to hold a connection, whatever its server is."""
        return {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # those who call know whether a verb may be repeated
            **({"ssl": True, **self.tls} if self.tls is not None else {}),
        }

    def _master(self, login: dict[str, Any]) -> Client:
        """Return a client of the server that sentinels name, whichever it is each time it connects."""
        found = [(name, port or SENTINEL_PORT) for name, port in self.hosts]
        asked = {"username": self.sentinel_user, "password": self.sentinel_password, **self._manner()}
        sentinels: Any = Sentinel(found, 0, asked, **login, **self._manner())  # type: ignore[no-untyped-call]
        return sentinels.master_for(self.master)
