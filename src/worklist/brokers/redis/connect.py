"""Makes the client of redis-py for each way to run Redis: one server, with TLS or without, sentinels, a cluster."""

from collections.abc import Sequence
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

    kind: Literal["plain", "tls", "sentinel", "cluster"]
    hosts: Sequence[tuple[str, int | None]]
    database: int = 0
    user: str | None = None
    password: str | None = None
    timeout: float = 5.0
    """How long a server may take to answer."""
    master: str = "mymaster"
    """What sentinels call the one that is written to."""

    def connect(self) -> Client:
        """Return a client. It connects when it is first used."""
        options: dict[str, Any] = {
            "username": self.user,
            "password": self.password,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # those who call know whether a verb may be repeated
        }
        if self.kind == "cluster":
            nodes = [ClusterNode(name, port or PORT) for name, port in self.hosts]  # type: ignore[no-untyped-call]
            return RedisCluster(startup_nodes=nodes, **options)
        options["db"] = self.database
        if self.kind == "sentinel":
            found = [(name, port or SENTINEL_PORT) for name, port in self.hosts]
            asked = {"socket_timeout": self.timeout}
            sentinels: Any = Sentinel(found, 0, asked, **options)  # type: ignore[no-untyped-call]
            return sentinels.master_for(self.master)
        name, port = self.hosts[0] if self.hosts else ("localhost", None)
        return redis.Redis(host=name, port=port or PORT, ssl=self.kind == "tls", **options)
