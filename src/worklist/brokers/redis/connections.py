"""Connections to one Redis server, held ready for one command after another.

redis-py's own pool looks a connection over before each command and counts what becomes of it, which takes longer than
to send the command and read its answer. Here it is only taken from a stack and, once its answer has been read to the
end, put back. It knows no verb.
"""

import os
from collections import deque
from typing import Any

import redis
from redis.exceptions import ResponseError


class Connections:
    """As many connections as threads ask at the same time. A fork's child makes its own."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._free: deque[Any] = deque()

    def ask(self, *command: Any) -> Any:
        """Send a command and return its answer. Raises what redis-py raises.

        Whatever keeps the answer from being read to the end, an interrupt among them, ends its connection. Where that
        is the server or the network, it ends those that are not in use, too: they would be found broken one by one.
        """
        connection = self._taken()
        try:
            connection.send_command(*command)
            answer = connection.read_response()
        except ResponseError:  # which is an answer
            self._free.append(connection)
            raise
        except (redis.ConnectionError, redis.TimeoutError):
            connection.disconnect()
            self.close()
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._free.append(connection)
        return answer

    def _taken(self) -> Any:
        """Return a connection that is nobody else's."""
        if self._process != os.getpid():
            self._reset()
        while True:
            try:
                connection = self._free.pop()
            except IndexError:
                return self.new()
            if self._pool.owns_connection(connection):
                return connection
            connection.disconnect()  # sentinels have named another master since

    def new(self, timeout: float | None = None) -> Any:
        """Return a connection for a use of its own, where answers may take so many seconds.

        It is connected: only `connect` asks sentinels for the master.
        """
        manner = self._pool.connection_kwargs
        connection = self._pool.connection_class(
            **(manner if timeout is None else {**manner, "socket_timeout": timeout})
        )
        connection.connect()
        return connection

    def close(self) -> None:
        """Close the connections that are not in use."""
        while True:
            try:
                self._free.pop().disconnect()
            except IndexError:
                return
