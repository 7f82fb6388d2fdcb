"""Jobs that run for longer than RabbitMQ lets anybody hold a message: it is acknowledged, and a copy of it waits.

The copy stands in a queue of its own, where nobody consumes and no timer but that of the queue runs. It is renewed
while the job runs; where that ends, since its worker has died, the queue hands it to the one that the job came from, as
a delivery that was lost. It knows messages and their histories, and no jobs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from pamqp import commands

from ...core.outcome import lost_worker
from ...core.ports import Lease
from . import envelope, frames
from .consumer import Consumer
from .envelope import History, with_error
from .frames import Message
from .publisher import Parcel
from .topology import Names, QueueType

HOLD_SECONDS = 300.0
"""After this a job is held by a copy. RabbitMQ's limit is 30 minutes, unless it is set otherwise."""


class _Copy:
    """The message of a job that runs, and since when its copy waits; None: there is none yet."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.since: float | None = None


class Holding:
    """The copies of one worker. `hold` is how long a job runs before it gets one, in seconds."""

    def __init__(
        self,
        consumer: Consumer,
        publish: Callable[[Sequence[Parcel]], object],
        names: Names,
        queue_type: QueueType,
        hold: float,
    ) -> None:
        self._consumer = consumer
        self._publish = publish
        self._names = names
        self._type = queue_type
        self._hold = hold
        self._copies: dict[tuple[int, int], _Copy] = {}

    def renew(self, leases: Sequence[Lease], seconds: float, now: float) -> None:
        """Make copies of what has run for long, and renew those that are older than `seconds`; they last twice that."""
        due = [(lease, copy) for lease in leases if (copy := self._due(lease, seconds, now)) is not None]
        if not due:
            return
        self._publish([self._parcel(lease, copy.message, seconds, now) for lease, copy in due])
        with self._consumer.lock:
            for lease, copy in due:
                if lease.number != self._consumer.generation:
                    continue
                if copy.since is None:
                    self._consumer.done([lease.token])
                else:
                    self._consumer.drop_oldest(self._queue(copy.message))
                copy.since = now
                self._copies[lease.number, lease.token] = copy

    def _due(self, lease: Lease, seconds: float, now: float) -> _Copy | None:
        copy = self._copies.get((lease.number, lease.token))
        if copy is not None:
            return copy if copy.since is None or now - copy.since >= seconds else None
        message = self._consumer.held.get(lease.token) if lease.number == self._consumer.generation else None
        return _Copy(message) if message is not None and now - message.started >= self._hold else None

    def _parcel(self, lease: Lease, message: Message, seconds: float, now: float) -> Parcel:
        known: History = message.history or envelope.history_of(message)
        errors = with_error(known.errors, lost_worker("that held it", lease.attempt, now))
        history = History(known.body, lease.attempt, lease.lost + 1, known.enqueued, known.expires, errors)
        lasts = math.ceil(2000 * seconds)
        arguments: dict[str, Any] = {
            "x-message-ttl": lasts,
            "x-expires": 10 * lasts,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": message.origin,
        }
        if self._type == "quorum":
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}

        def properties(again: bool) -> bytes:
            return frames.properties(
                message.id, message.task, message.reply_to, message.time, wrapped=True, again=again
            )

        body = envelope.encode(history)
        return Parcel(message.id, self._queue(message), properties, body, arguments=arguments)

    def _queue(self, message: Message) -> str:
        return f"{self._names.prefix}:held.{message.id}"

    def message_of(self, lease: Lease) -> Message | None:
        """Return the message of a job that is held by a copy."""
        copy = self._copies.get((lease.number, lease.token))
        return None if copy is None or lease.number != self._consumer.generation else copy.message

    def release(self, leases: Sequence[Lease]) -> None:
        """Drop the copies of jobs that have ended; whoever calls has the consumer's lock."""
        for lease in leases:
            copy = self._copies.pop((lease.number, lease.token), None)
            if copy is not None and lease.number == self._consumer.generation:
                self._consumer.tell(commands.Queue.Delete(0, self._queue(copy.message), nowait=True))
