"""Waiting for work and leasing it in one visit to the server: a blocking pop with the script's call right behind it.

Redis runs what a client has sent behind a blocking command as soon as that ends, so between the put of a job and its
lease lies no way to the worker and back. A bell is a list that holds one entry while it rings: it wakes one worker,
which rings on where it leaves jobs behind. Of a worker whose machine has died a bell may take one lease, which lapses
like any other, and none once `SLICE_SECONDS` are over.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from .server import RedisServer

SLICE_SECONDS = 2.0
"""The longest wait of one call. Each ends with a lease, so it is also how often an idle worker looks by itself."""
_ANSWER_SECONDS = 1.0
"""How much longer an answer may take."""
_SHORTEST = 0.001
"""Of a wait, in seconds: for Redis, none at all is for ever."""


class Bell:
    """Where one thread waits. `own` is a list that only this one waits at, to be woken by others of its process."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._connection: Any = None
        self.own = f"{server.prefix}own:{secrets.token_hex(8)}"

    def ask(self, queues: Sequence[str], seconds: float, *command: Any) -> Any:
        """Wait for work in these queues, at most so long or `SLICE_SECONDS`; then return the answer to `command`.

        Raises what redis-py raises. What keeps both answers from being read ends the connection.
        """
        seconds = max(_SHORTEST, min(seconds, SLICE_SECONDS))
        bells = [f"{self._server.prefix}bell:{queue}" for queue in queues]
        connection = self._connection or self._server.connection(SLICE_SECONDS + _ANSWER_SECONDS)
        self._connection = None
        try:
            wait = connection.pack_command("BLPOP", *bells, self.own, f"{seconds:.3f}")
            connection.send_packed_command([b"".join([*wait, *connection.pack_command(*command)])], check_health=False)
            connection.read_response()
            answer = connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
        return answer
