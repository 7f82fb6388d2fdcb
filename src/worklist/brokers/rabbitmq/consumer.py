"""Takes messages from queues: RabbitMQ pushes them, bounded by a prefetch, and they wait here until they are leased.

Delivery tags count up within a connection, so what has ended is acknowledged by one frame for all of the first tags
in a row, and one for each other. Nobody reads while a worker is busy: what comes then waits in the socket. It knows
messages and no jobs.
"""

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pamqp import commands

from ...core.errors import BrokerUnavailable
from . import frames
from .connection import Address, ChannelClosed, Connection, ConnectionLost, select_readable
from .frames import Message
from .topology import BANDS, Names, QueueType, Topology
from .waking import Wakers

HOSTAGE_SECONDS = 0.5
"""Messages that nobody has leased for this long are for other workers to take."""
FIRST_SECONDS = 0.02
"""For how long the first message is waited for, once queues are consumed."""
USUAL_HEARTBEAT = 15.0
"""Seconds, until the first lease says how long it is."""
AVOID_SECONDS = 30.0
"""For how long a queue is left alone that did not answer in time, so that the others are served: it has no leader."""
CHECK_SECONDS = 5.0
"""How often an idle worker looks whether RabbitMQ sends it what it has."""
_RACE_SECONDS = 0.1
"""A connection that has just been lost is made anew after this: RabbitMQ also ends those that consume a quorum queue
which another one is declaring at that moment."""
_EXACT = 64
"""Up to here the prefetch is exactly what is asked for; above, a power of two, for it to change rarely."""
_MOST = 4096
_DROP_SECONDS = 0.1
"""How often it is looked at whether fewer messages may be sent."""


class Consumer:
    """Consumes the queues that were asked for last. Its `lock` is held by whoever calls anything but `wait`.

    `generation` counts the connections, downwards from -1, so that no number of another broker's leases is among them.
    What was taken from an earlier one is no longer ours.
    """

    def __init__(self, address: Address, names: Names, queue_type: QueueType) -> None:
        self._address = address
        self._names = names
        self._type: QueueType = queue_type
        self.lock = threading.RLock()
        self.generation = -1
        self._heartbeat = USUAL_HEARTBEAT
        self._silent: set[str] = set()
        self._avoided: dict[str, float] = {}
        self._checked_at = time.monotonic()
        self._suspicious = False
        self._wakers = Wakers()
        self._forget_all()

    def _forget_all(self) -> None:
        self._connection: Connection | None = None
        self._topology: Topology | None = None
        self._consumed: frozenset[str] = frozenset()
        self._prefetch = 0
        self._layers: list[tuple[int, list[str]]] = []
        self._numbers = itertools.count()
        self._dropped_at = 0.0
        self._consumers: dict[str, tuple[str, int, str]] = {}
        self._buffers: dict[str, tuple[deque[Message], ...]] = {}
        self._buffered = 0
        self._order: deque[int] = deque()
        self.held: dict[int, Message] = {}
        """What is to be acknowledged, by tag."""
        self._taken_at = time.monotonic()

    # -- the connection -------------------------------------------------------------------------------------------

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Where the connection ends meanwhile, what was taken from it is no longer ours."""
        try:
            yield
        except ChannelClosed as closed:
            self._lose()
            raise BrokerUnavailable(str(closed)) from None
        except BaseException:
            if self._connection is None or self._connection.lost:
                self._lose()
            raise

    def _lose(self) -> None:
        connection = self._connection
        self._forget_all()
        self.generation -= 1
        if connection is not None:
            connection.drop()
        self.wake()

    def _ready(self, heartbeat: float) -> tuple[Connection, Topology]:
        """Return the connection; `heartbeat` is that of a new one, in seconds."""
        if self._connection is None or self._topology is None:
            connection = Connection(self._address, heartbeat)
            connection.on_message, connection.on_cancel = self._have_message, self._have_cancel
            self._connection = connection
            self._topology = Topology(connection, self._names, self._type)
            self._heartbeat = heartbeat
        return self._connection, self._topology

    def look(self) -> None:
        """Take what has come in, send a heartbeat where one is due, and learn whether the connection has ended."""
        try:
            with self._watched():
                while self._connection is not None and self._connection.read(0.0):
                    pass
        except BrokerUnavailable:
            pass  # it is forgotten now, and made anew by the next lease

    # -- consuming --------------------------------------------------------------------------------------------------

    def take(self, queues: Sequence[str], limit: int, heartbeat: float) -> list[Message]:
        """Return up to `limit` messages: queues in their order, and in each those of high priority first."""
        try:
            self._take_in(queues, limit, heartbeat)
        except ConnectionLost:
            time.sleep(_RACE_SECONDS)
            self._take_in(queues, limit, heartbeat)
        self._taken_at = time.monotonic()
        taken: list[Message] = []
        if self._buffered:
            for queue in dict.fromkeys(queues):
                for buffer in self._buffers[queue]:
                    while buffer and len(taken) < limit:
                        taken.append(buffer.popleft())
        self._buffered -= len(taken)
        return taken

    def untake(self, messages: Sequence[Message]) -> None:
        """Have messages wait again that were taken last, before all others."""
        for message in reversed(messages):
            if self.held.get(message.tag) is message:
                names = [self._names.queue(message.queue, band) for band in range(len(BANDS))]
                self._buffers[message.queue][names.index(message.origin)].appendleft(message)
                self._buffered += 1

    def _take_in(self, queues: Sequence[str], limit: int, heartbeat: float) -> None:
        """Read what has come, and see to it that enough will."""
        with self._watched():
            connection, topology = self._ready(heartbeat)
            if self._consume(connection, topology, queues, len(self.held) - self._buffered + limit):
                connection.read(FIRST_SECONDS)
            while self._buffered < limit and connection.read(0.0):
                pass

    def _consume(self, connection: Connection, topology: Topology, queues: Sequence[str], room: int) -> bool:
        """See to it that these queues are consumed, with room for so many messages; return whether some are new.

        More room is another layer of consumers, since RabbitMQ counts what is on its way to a consumer that ends as
        delivered and lost.
        """
        new = frozenset(queues) - self._consumed
        more = 0
        if room > self._prefetch:
            wanted = max(room, 2 * self._prefetch)
            wanted = min(_MOST, wanted if wanted <= _EXACT else 1 << (wanted - 1).bit_length())
            more = max(0, wanted - self._prefetch)
        if more and self._consumed:
            self._add_layer(connection, topology, self._consumed, more)
        self._prefetch += more
        if new:
            self._add_layer(connection, topology, new, self._prefetch)
        if self._prefetch > max(_EXACT, 4 * room):
            self._drop_layer(connection, room)
        return bool(new)

    def _add_layer(self, connection: Connection, topology: Topology, queues: Collection[str], size: int) -> None:
        """Have up to `size` messages more sent of each band of these queues."""
        connection.ask(commands.Basic.Qos(prefetch_count=size), commands.Basic.QosOk)
        tags: list[str] = []
        for queue in sorted(queues):
            self._buffers.setdefault(queue, tuple(deque() for _ in BANDS))
            for band in range(len(BANDS)):
                name = self._names.queue(queue, band)
                if self._is_avoided(name):
                    continue
                topology.declare(name)
                tag = f"{next(self._numbers)}"
                self._consumers[tag] = (queue, band, name)
                tags.append(tag)
                self._start(connection, tag, name)
        self._layers.append((size, tags))
        self._consumed |= frozenset(queues)

    def _drop_layer(self, connection: Connection, room: int) -> None:
        """Have fewer messages sent, where none of the last layer's is on its way: all that it may be sent is here."""
        size, tags = self._layers[-1]
        now = time.monotonic()
        if len(self._layers) == 1 or self._prefetch - size < room or now - self._dropped_at < _DROP_SECONDS:
            return
        self._dropped_at = now
        while connection.read(0.0):
            pass
        held = Counter(message.consumer for message in self.held.values())
        full = [tag for tag in tags if held[tag] == size]
        of_all = len({self._consumers[tag][0] for tag in tags}) == len(self._consumed)
        if full and of_all and all(held[tag] in (0, size) for tag in tags):
            self._cancel(connection, tags)
            self._layers.pop()
            self._prefetch -= size

    def _cancel(self, connection: Connection, tags: Sequence[str]) -> None:
        connection.tell(*(commands.Basic.Cancel(tag) for tag in tags))
        for _ in tags:
            connection.expect(commands.Basic.CancelOk)
        for tag in tags:
            del self._consumers[tag]

    def _start(self, connection: Connection, tag: str, name: str) -> None:
        """Consume one queue. Of several at once it could not be told which of them keeps the answers to all waiting.

        One that gives no answer on two connections, one after the other, is left alone for a while.
        """
        try:
            connection.ask(commands.Basic.Consume(0, name, tag), commands.Basic.ConsumeOk)
        except ConnectionLost:
            if name in self._silent:
                self._avoided[name] = time.monotonic() + AVOID_SECONDS
            self._silent.add(name)
            raise
        self._silent.discard(name)

    def _is_avoided(self, name: str) -> bool:
        return self._avoided.get(name, 0.0) > time.monotonic()

    def _stop(self, connection: Connection) -> None:
        """Have no more messages sent; those that are under way still come in."""
        self._cancel(connection, [*self._consumers])
        self._layers = []
        self._consumed, self._prefetch = frozenset(), 0

    def _have_message(self, kind: bytes, message: Message) -> None:
        message.queue, band, message.origin = self._consumers[message.consumer]
        self._order.append(message.tag)
        self.held[message.tag] = message
        self._buffers[message.queue][band].append(message)
        self._buffered += 1
        self._wakers.wake()

    def _have_cancel(self, tag: str) -> None:
        """Hear that a queue was deleted, and begin anew.

        A channel that has seen its end may not get what comes to a new one of the same name.
        """
        if tag in self._consumers and self._connection is not None:
            self._connection.fail(f"the queue {self._consumers[tag][2]!r} was deleted")

    # -- giving back ------------------------------------------------------------------------------------------------

    def done(self, tags: Collection[int]) -> None:
        """Acknowledge messages."""
        if self._connection is None:
            return
        with self._watched():
            fresh = set(tags)
            for tag in fresh:
                del self.held[tag]
            upto = 0
            while self._order and self._order[0] not in self.held:
                tag = self._order.popleft()
                upto = tag if tag in fresh else upto  # the others were acknowledged before, so cannot be named again
            single = sorted(tag for tag in fresh if tag > upto)
            acks = [frames.ack(upto, multiple=True)] if upto else []
            self._connection.send(b"".join([*acks, *map(frames.ack, single)]))

    def tell(self, method: Any) -> None:
        """Send a method that has no answer."""
        if self._connection is not None:
            with self._watched():
                self._connection.tell(method)

    def drop_oldest(self, queue: str) -> None:
        """Remove the oldest message of a queue."""
        if self._connection is not None:
            with self._watched():
                get = commands.Basic.Get(0, queue, no_ack=True)
                self._connection.ask(get, Message, commands.Basic.GetEmpty)

    def consumes_only(self, queues: Sequence[str]) -> bool:
        """Return whether no other queues than these are consumed."""
        return self._consumed.issubset(queues)

    def withdraw(self, idle: float = 0.0) -> list[Message]:
        """Stop consuming and return what nobody has leased; nothing where somebody leased within `idle` seconds."""
        if self._connection is None or time.monotonic() - self._taken_at < idle or (idle and not self._buffered):
            return []
        with self._watched():
            self._stop(self._connection)
        waiting = [message for buffers in self._buffers.values() for buffer in buffers for message in buffer]
        for buffers in self._buffers.values():
            for buffer in buffers:
                buffer.clear()
        self._buffered = 0
        return waiting

    def is_empty(self, queues: Sequence[str]) -> bool:
        """Return whether these queues have no message that waits, here or in RabbitMQ."""
        return not any(self._depths(queues))

    def depth(self, queue: str) -> int:
        """Return how many messages of a queue wait, here or in RabbitMQ; not those on their way, or sent to others."""
        return sum(self._depths((queue,)))

    def _depths(self, queues: Sequence[str]) -> Iterator[int]:
        with self._watched():
            connection, topology = self._ready(self._heartbeat)
            for queue in queues:
                yield sum(map(len, self._buffers.get(queue, ())))
                for name in self._names_of(queue):
                    topology.declare(name)
                    passive = commands.Queue.Declare(0, name, passive=True)
                    yield connection.ask(passive, commands.Queue.DeclareOk).message_count

    def _names_of(self, queue: str) -> list[str]:
        names = [self._names.queue(queue, band) for band in range(len(BANDS))]
        return [name for name in names if not self._is_avoided(name)]

    def purge(self, queue: str) -> int:
        """Remove the messages of a queue that wait in RabbitMQ; return how many there were."""
        with self._watched():
            connection, topology = self._ready(self._heartbeat)
            removed = 0
            for name in self._names_of(queue):
                topology.declare(name)
                removed += connection.ask(commands.Queue.Purge(0, name), commands.Queue.PurgeOk).message_count
        return removed

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Return as soon as a message has come in, or after `seconds`; at once where the wait is `over`."""
        with self._wakers.waiting() as woken:
            if not over():  # asked where `wake` is heard, so that neither comes too early for the other
                self._wait(queues, time.monotonic() + seconds, woken)

    def _wait(self, queues: Sequence[str], end: float, woken: int) -> None:
        while True:
            with self.lock, self._watched():
                connection, topology = self._ready(self._heartbeat)
                if not self._consumed.issuperset(queues):
                    self._consume(connection, topology, queues, len(self.held) - self._buffered + 1)
                while connection.read(0.0):
                    pass
                if any(any(self._buffers[queue]) for queue in queues):
                    return
                self._check_flow(connection, queues)
                pause = end - time.monotonic()
                socket, beat = connection.fileno(), self._heartbeat
            if pause <= 0 or woken in select_readable((socket, woken), min(pause, beat / 2, CHECK_SECONDS)):
                return

    def _check_flow(self, connection: Connection, queues: Sequence[str]) -> None:
        """Begin anew where messages wait in RabbitMQ, though nothing keeps it from sending them.

        It may have lost sight of a consumer, as where a queue is deleted and made again at the same moment.
        """
        now = time.monotonic()
        if self.held or now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        stuck = not self.is_empty(queues) and not self.held
        if stuck and self._suspicious:
            self._suspicious = False
            connection.fail(f"{self._address} holds messages back")
        self._suspicious = stuck

    def wake(self) -> None:
        """Make every wait return."""
        self._wakers.wake()

    def close(self) -> None:
        """Close the connection; what was not acknowledged goes to others."""
        with self.lock:
            connection, self._connection = self._connection, None
            self._forget_all()
            self.generation -= 1
            if connection is not None:
                connection.close()
        self.wake()
