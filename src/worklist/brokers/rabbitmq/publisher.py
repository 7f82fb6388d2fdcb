"""Puts messages in queues: a window of publishes at a time, then their confirms, together.

What was not confirmed when the connection broke is published again on the next one, marked as perhaps there twice.
It has a connection of its own, since RabbitMQ stops reading from those that publish when it is short of memory or
disk. It knows names and properties, and no jobs.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pamqp import commands

from ...core.errors import BrokerError, BrokerUnavailable
from . import frames
from .connection import Address, Connection, ConnectionLost
from .frames import Message
from .topology import Names, QueueType, Topology

WINDOW = 2000
"""How many messages are published before confirms are waited for."""
_PAUSE = 0.1
"""Seconds between attempts to connect."""
_GONE_SECONDS = 0.5
"""A queue that is gone is made anew after this: until its consumers have heard of its end, they would be taken for
those of the new one, and get nothing."""
_ATTEMPTS = 3
"""How often a message is published whose queue is gone, or that the server refuses."""


class Parcel(NamedTuple):
    """A message that is to be published, and how."""

    id: str
    queue: str
    properties: Callable[[bool], bytes]
    """Returns its properties; the argument says whether it may be there already."""
    body: bytes
    delay: float = 0.0
    arguments: Mapping[str, Any] | None = None
    """What its queue is declared with; None: as one for jobs."""
    ours: bool = True
    """Whether it is ours to make the queue; where not, a message that cannot be routed is dropped."""


class Publisher:
    """Publishes on one connection, made when it is needed. Not thread-safe."""

    def __init__(self, address: Address, names: Names, queue_type: QueueType) -> None:
        self._address = address
        self._names = names
        self._type: QueueType = queue_type
        self._connection: Connection | None = None
        self._topology: Topology | None = None
        self._published = 0
        self._unheard = 1
        """The lowest number of which no confirm has been heard that meant all up to it."""
        self._waiting: dict[int, Parcel] = {}
        self._returned: dict[str, str] = {}
        self._refused: list[Parcel] = []

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Publish messages; each is stored where it belongs when this returns.

        Raises BrokerUnavailable where not all were confirmed in time: some may be there then. Raises BrokerError
        where one cannot be routed.
        """
        end = time.monotonic() + self._address.patience
        for start in range(0, len(parcels), WINDOW):
            self._publish_window(parcels[start : start + WINDOW], end)

    def _publish_window(self, parcels: Sequence[Parcel], end: float) -> None:
        left, again = parcels, False
        for attempt in itertools.count(1):
            try:
                self._send(left, again)
                self._hear_confirms(end)
                left = self._not_stored(left)
            except ConnectionLost as lost:
                left, again = [*self._waiting.values()] or left, True
                self._wait_out(lost, end)
            else:
                if not left:
                    return
                if attempt > _ATTEMPTS:
                    self._refuse(left[0])

    def _wait_out(self, lost: ConnectionLost, end: float) -> None:
        """Wait before the next attempt. Raises BrokerUnavailable where there is no time for another one."""
        self.drop()
        if time.monotonic() + _PAUSE > end:
            raise BrokerUnavailable(str(lost)) from None
        time.sleep(_PAUSE)

    def _send(self, parcels: Sequence[Parcel], again: bool) -> None:
        self._waiting = {}
        connection, topology = self._ready()
        places = [self._place(topology, it) for it in parcels]
        self._returned.clear()
        self._refused.clear()
        self._waiting = {self._published + n: it for n, it in enumerate(parcels, 1)}
        self._published += len(parcels)
        message = connection.message
        connection.send(
            b"".join([message(at, it.properties(again), it.body) for at, it in zip(places, parcels, strict=True)])
        )

    def _place(self, topology: Topology, parcel: Parcel) -> bytes:
        if parcel.delay > 0:
            return frames.publish(*topology.delayed(parcel.queue, parcel.delay))
        if parcel.ours:
            topology.declare(parcel.queue, parcel.arguments)
        return frames.publish("", parcel.queue)

    def _hear_confirms(self, end: float) -> None:
        connection, _ = self._current()
        silent_until = time.monotonic() + self._address.patience / 3
        while self._waiting:
            now = time.monotonic()
            if now >= end:
                self._give_up(connection)
            if connection.read(min(end, silent_until) - now):
                silent_until = time.monotonic() + self._address.patience / 3
            elif time.monotonic() >= silent_until and not connection.blocked:
                connection.fail(f"{self._address} is silent")  # half-open, perhaps: another one may answer

    def _not_stored(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Return what has to be published once more: the server refused it, or its queue was gone."""
        if not self._returned and not self._refused:
            return []
        left = [it for it in parcels if it.id in self._returned and it.ours]
        if left:
            self.close()  # a channel that has known a queue may lose what it sends to a new one of the same name
            time.sleep(_GONE_SECONDS)
        return left + self._refused

    def _refuse(self, parcel: Parcel) -> None:
        if parcel.id in self._returned:
            raise BrokerError(
                f"{self._address} cannot route job {parcel.id} to the queue {parcel.queue!r}: "
                f"{self._returned[parcel.id]}; was it, or an exchange of ours, deleted by hand?"
            )
        raise BrokerUnavailable(f"{self._address} refuses messages for the queue {parcel.queue!r}; is it full?")

    def _give_up(self, connection: Connection) -> None:
        count, blocked = len(self._waiting), connection.blocked
        self.drop()
        why = f", since it takes no messages for now ({blocked})" if blocked else ""
        raise BrokerUnavailable(
            f"{self._address} did not confirm {count} message(s) within {self._address.patience:g} s{why}; "
            "some of them may have been stored"
        )

    # -- the connection -----------------------------------------------------------------------------------------

    def _ready(self) -> tuple[Connection, Topology]:
        """Return a connection that has not ended as far as can be seen, a new one where there is none."""
        if self._connection is not None:
            try:
                while self._connection.read(0.0):
                    pass
            except BrokerError:
                self._connection = None
            else:
                return self._current()
        connection = Connection(self._address)
        connection.on_message = self._have_returned
        connection.on_confirm = self._have_confirm
        connection.ask(commands.Confirm.Select(), commands.Confirm.SelectOk)
        self._published, self._unheard = 0, 1
        self._connection, self._topology = connection, Topology(connection, self._names, self._type)
        return self._current()

    def _current(self) -> tuple[Connection, Topology]:
        if self._connection is None or self._topology is None:
            raise ConnectionLost(f"the connection to {self._address} was closed")
        return self._connection, self._topology

    def _have_returned(self, kind: bytes, message: Message) -> None:
        self._returned[message.id] = message.consumer

    def _have_confirm(self, number: int, multiple: bool, well: bool) -> None:
        for it in range(self._unheard, number + 1) if multiple else (number,):
            parcel = self._waiting.pop(it, None)
            if parcel is not None and not well:
                self._refused.append(parcel)
        if multiple:
            self._unheard = number + 1

    def drop(self) -> None:
        """Close the connection at once; what it has not taken is thrown away."""
        self._waiting = {}
        if self._connection is not None:
            self._connection.drop()
            self._connection = None

    def close(self) -> None:
        """Close the connection in good order."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
