"""Results as replies: each process has a queue to which the workers send what became of the jobs that it has put.

Nobody else can ask for them. The queue outlives a broken connection and a restart of RabbitMQ, and is gone an hour
after its process. It is read only when somebody wants to know.
"""

import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from pamqp import commands

from ...core.codec import Codec
from ...core.errors import BrokerUnavailable, ConfigError, JobUnknown, UndecodableJob
from ...core.job import Job, JobId, JobRecord
from . import frames
from .connection import Address, Connection, select_readable
from .frames import Message
from .topology import Names, QueueType
from .waking import Wakers

EXPIRY_SECONDS = 3600.0
"""For how long the queue outlives the last use of it."""
MOST = 1_000_000
"""How many results it holds at most; then the oldest are dropped."""
_PREFETCH = 2000
_HEARTBEAT = 20.0
_SUFFIX = 16
"""Where in a job's id the part begins that is the same for all ids of a process."""
_decode = msgspec.msgpack.Decoder(JobRecord).decode


class Replies:
    """A ResultStore for the jobs that this process puts."""

    def __init__(self, address: Address, names: Names, queue_type: QueueType, codec: Codec) -> None:
        self._address = address
        self._type = queue_type
        self._codec = codec
        self.queue = f"{names.prefix}:reply.{secrets.token_hex(8)}"
        """The name of the queue."""
        self._lock = threading.RLock()
        self._wakers = Wakers()
        self._connection: Connection | None = None
        self._consuming = False
        self._declared_at = -EXPIRY_SECONDS
        self._last = 0
        self._ours: set[str] = set()
        self._records: dict[JobId, JobRecord] = {}

    def address_for(self, jobs: Sequence[Job]) -> str:
        """Return where the results of these jobs are to be sent."""
        self._ours.update({job.id[_SUFFIX:] for job in jobs})
        if time.monotonic() - self._declared_at > EXPIRY_SECONDS / 6:
            with self._lock:
                self._declare(self._ready())
        return self.queue

    # -- the store ------------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of jobs. Raises JobUnknown for one that another process has put."""
        for id in ids:
            if id[_SUFFIX:] not in self._ours:
                raise JobUnknown(
                    f"job {id} was not put by this process, and with results='rpc' only the process that has put a job "
                    "learns what became of it; name a store for all of them, such as results='redis://HOST'"
                )
        with self._lock:
            self._take_in()
            return [self._records.get(id) for id in ids]

    def wait_change(self, seconds: float) -> None:
        """Wait until a result has come in."""
        end = time.monotonic() + seconds
        with self._wakers.waiting() as woken:
            while (left := end - time.monotonic()) > 0:
                with self._lock:
                    known = len(self._records)
                    self._take_in()
                    if len(self._records) > known:
                        return
                    socket = self._ready().fileno()
                if woken in select_readable((socket, woken), min(left, _HEARTBEAT / 2)):
                    return

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Refuse to keep records: they are sent to whoever has put the job."""
        raise ConfigError("results='rpc' goes with amqp:// alone; name a store such as results='redis://HOST'")

    def prune(self, limit: int) -> int:
        """Do nothing: RabbitMQ drops what is too old."""
        return 0

    def wake(self) -> None:
        """End every wait."""
        self._wakers.wake()

    def close(self) -> None:
        """Delete the queue and close the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._consuming, self._declared_at = False, -EXPIRY_SECONDS
            if connection is not None and not connection.lost:
                connection.tell(commands.Queue.Delete(0, self.queue, nowait=True))
                connection.close()
        self.wake()

    # -- the queue ------------------------------------------------------------------------------------------------

    def _take_in(self) -> None:
        """Take what has come in, and acknowledge it."""
        connection = self._consume()
        before = self._last
        while connection.read(0.0):
            pass
        if self._last > before:
            connection.send(frames.ack(self._last, multiple=True))
            self.wake()

    def _consume(self) -> Connection:
        connection = self._ready()
        if not self._consuming:
            self._declare(connection)
            connection.ask(commands.Basic.Qos(prefetch_count=_PREFETCH), commands.Basic.QosOk)
            connection.ask(commands.Basic.Consume(0, self.queue, "replies"), commands.Basic.ConsumeOk)
            self._consuming = True
        return connection

    def _ready(self) -> Connection:
        """Return a connection that is alive."""
        if self._connection is not None:
            try:
                self._connection.read(0.0)
            except BrokerUnavailable:
                self._connection = None
        if self._connection is None:
            self._connection = Connection(self._address, _HEARTBEAT)
            self._connection.on_message = self._have_reply
            self._consuming, self._last = False, 0
        return self._connection

    def _declare(self, connection: Connection) -> None:
        arguments: dict[str, Any] = {
            "x-queue-type": self._type,
            "x-expires": round(EXPIRY_SECONDS * 1000),
            "x-max-length": MOST,
        }
        declare = commands.Queue.Declare(0, self.queue, durable=True, arguments=arguments)
        connection.ask(declare, commands.Queue.DeclareOk)
        self._declared_at = time.monotonic()

    def _have_reply(self, kind: bytes, message: Message) -> None:
        self._last = max(self._last, message.tag)
        try:
            record = _decode(self._codec.unseal(message.body))
        except (UndecodableJob, msgspec.DecodeError):
            return  # not ours: the next one
        self._records[record.id] = record
