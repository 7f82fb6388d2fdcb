"""What we declare in RabbitMQ, and under which names: a queue for each band of priority, and the levels of delay.

A delay of any length is a number of ticks in binary. Level n is a queue whose messages wait 2^n ticks; a message goes
down from the level of its highest bit, through the queues of the bits that are set and past the others, since the
delay stands as bits in its routing key. So no worker holds it, and none before it holds it up. (The scheme is that of
NServiceBus' RabbitMQ transport.) It knows no messages.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from pamqp import commands

from ...core.errors import BrokerError, ConfigError
from .connection import ChannelClosed, Connection

QueueType = Literal["quorum", "classic"]
TICK = 0.05
"""Seconds of the lowest level: how exact a delay is."""
LEVELS = 32
"""The longest delay is 2^32 ticks, nearly seven years."""
BANDS = ("high", "", "low")
"""A queue for priorities above 0, one for 0, one for those below, in the order in which they are served."""
_MAX_NAME = 170
_NEVER = 1_000_000
"""As a limit of deliveries: how often a job may die with its worker is its own option, and RabbitMQ 4 has a default
after which it would drop the message."""


def band_of(priority: int) -> int:
    """Return the place of a priority in `BANDS`."""
    return 1 if priority == 0 else 0 if priority > 0 else 2


def safe_name(name: str) -> str:
    """Return a name as AMQP and its patterns take it: odd characters as ``:`` and their bytes, too long ones hashed."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", lambda odd: "".join(f":{byte:02x}" for byte in odd[0].encode()), name)
    if len(safe) <= _MAX_NAME:
        return safe
    return f"{safe[: _MAX_NAME - 33]}:{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


class Names:
    """The names of one app's queues and exchanges."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._queues: dict[tuple[str, int], str] = {}

    def queue(self, queue: str, band: int) -> str:
        """Return the RabbitMQ queue of one band of a queue."""
        name = self._queues.get((queue, band))
        if name is None:
            name = safe_name(f"{self.prefix}.{queue}") + (f":{BANDS[band]}" if BANDS[band] else "")
            self._queues[queue, band] = name
        return name

    def known(self) -> list[str]:
        """Return the RabbitMQ queues that were asked for so far."""
        return [*self._queues.values()]

    def queues(self) -> set[str]:
        """Return the queues that these belong to."""
        return {queue for queue, _ in self._queues}

    def level(self, n: int) -> str:
        """Return the name of the queue and of the exchange of a level of delay."""
        return f"{self.prefix}:delay.{n:02}"

    @property
    def due(self) -> str:
        """The exchange to which messages come whose delay is over."""
        return f"{self.prefix}:due"


class Topology:
    """Declares what a connection needs, once for each connection."""

    def __init__(self, connection: Connection, names: Names, queue_type: QueueType) -> None:
        self._connection = connection
        self._names = names
        self._type = queue_type
        self._declared: set[str] = set()
        self._bound: set[str] = set()

    def declare(self, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Make a queue, where it is not there: one for jobs, or one with other arguments."""
        if name not in self._declared:
            for_jobs = {"x-delivery-limit": _NEVER} if self._type == "quorum" else {}
            self._queue(name, for_jobs if arguments is None else arguments)
            self._declared.add(name)

    def delayed(self, name: str, seconds: float) -> tuple[str, str]:
        """Return exchange and routing key with which a message comes to the queue `name` after `seconds`."""
        ticks = math.ceil(seconds / TICK)
        if ticks <= 0:
            return "", name
        if ticks >= 1 << LEVELS:
            raise ConfigError(f"a delay of {seconds:.0f} s is more than RabbitMQ can be asked for here (6.8 years)")
        self._build_levels(ticks)
        self._bind(name)
        bits = f"{ticks:0{LEVELS}b}"
        return self._names.level(ticks.bit_length() - 1), ".".join(bits) + "." + name

    def _build_levels(self, ticks: int) -> None:
        """Make the exchanges down from the highest bit, and the queues of those that are set."""
        top = ticks.bit_length()
        for n in range(top):
            self._build_exchange(n)
        for n in range(top):
            if ticks >> n & 1:
                self._build_queue(n)

    def _build_exchange(self, n: int) -> None:
        name, below = self._names.level(n), self._below(n)
        if name in self._bound:
            return
        for exchange in (below, name):
            self._ask(commands.Exchange.Declare(0, exchange, "topic", durable=True), commands.Exchange.DeclareOk)
        self._ask(commands.Exchange.Bind(0, below, name, _pattern(n, 0)), commands.Exchange.BindOk)
        self._bound.add(name)

    def _build_queue(self, n: int) -> None:
        name = self._names.level(n)
        if name in self._declared:
            return
        arguments: dict[str, Any] = {
            "x-message-ttl": round(TICK * 1000) << n,
            "x-dead-letter-exchange": self._below(n),
        }
        if self._type == "quorum":
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        self._queue(name, arguments)
        self._ask(commands.Queue.Bind(0, name, name, _pattern(n, 1)), commands.Queue.BindOk)
        self._declared.add(name)

    def _below(self, n: int) -> str:
        return self._names.level(n - 1) if n else self._names.due

    def _bind(self, name: str) -> None:
        """Have the messages for a queue come to it whose delay is over."""
        if name not in self._bound:
            self.declare(name)
            pattern = "*." * LEVELS + name
            self._ask(commands.Queue.Bind(0, name, self._names.due, pattern), commands.Queue.BindOk)
            self._bound.add(name)

    def _queue(self, name: str, arguments: Mapping[str, Any]) -> None:
        arguments = {"x-queue-type": self._type, **arguments}
        try:
            self._ask(commands.Queue.Declare(0, name, durable=True, arguments=arguments), commands.Queue.DeclareOk)
        except ChannelClosed as refused:
            if refused.code != 406:
                raise
            raise BrokerError(
                f"{self._connection.address} has a queue {name!r} of another kind ({refused}); if it is another "
                "program's, choose names of your own with ?prefix=NAME; if it is ours, ?queue_type= says which kind"
            ) from None

    def _ask(self, method: Any, answer: type[Any]) -> None:
        try:
            self._connection.ask(method, answer)
        except ChannelClosed:
            self._connection.open_channel()
            raise


def _pattern(n: int, bit: Literal[0, 1]) -> str:
    """Return the pattern of routing keys with this bit at level n."""
    return "*." * (LEVELS - 1 - n) + f"{bit}.#"
