"""The queue on Redis or Valkey: sorted sets and hashes that scripts move jobs between, one script for each verb.

Rooms: `broker` (what workers and programs call), `inspector` (what people look at and change), `records` (how jobs
are stored), `connect` (one server, sentinels, a cluster), `server` (how scripts are called there, and what its errors
mean), `listener` (waiting without polling).
"""

from .broker import RedisBroker
from .server import RedisServer

__all__ = ["RedisBroker", "RedisServer"]
