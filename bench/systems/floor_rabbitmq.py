"""The floor on RabbitMQ: what pika does for the same messages on a quorum queue, with nothing around them.

Publishing is confirmed, one by one or 500 in flight; taking acknowledges many messages at once, after their results
were stored in Redis in one call.
"""

import sys
from collections.abc import Sequence
from typing import Any

import pika
from redis import Redis

from bench.systems import handover
from bench.systems.base import Options, System
from bench.systems.floor import envelope, noop
from bench.systems.script import main

BATCH = 200
"""Messages acknowledged at once."""
QUEUE = "jobs"
PERSISTENT = pika.BasicProperties(delivery_mode=2)
QUORUM = {"x-queue-type": "quorum"}


class RabbitFloor(System):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._connection = pika.BlockingConnection(pika.URLParameters(options.url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        for queue in (QUEUE, handover.STAMPS):
            self._channel.queue_declare(queue, durable=True, arguments=QUORUM)
        self._redis = Redis.from_url(options.results_url)

    def put(self, number: int) -> None:
        self._channel.basic_publish("", QUEUE, envelope(number), PERSISTENT, mandatory=True)

    def put_many(self, numbers: Sequence[int]) -> None:
        _Window(self.options.url, [envelope(number) for number in numbers]).publish()

    def put_stamp(self, stamp: float) -> None:
        self._channel.basic_publish("", handover.STAMPS, handover.packed(stamp), PERSISTENT)

    def worker(self) -> list[str]:
        self.put_stamp(0.0)  # the taker of stamps looks at none but these
        return [sys.executable, "-m", "bench.systems.handover"]

    def take_all(self) -> int:
        """Results first, then the acknowledgement, as at-least-once asks for."""
        channel = self._connection.channel()
        channel.basic_qos(prefetch_count=1000)
        taken = 0
        results: dict[int, bytes] = {}
        for method, _, body in channel.consume(QUEUE, inactivity_timeout=1):
            if method is None:
                break
            taken += 1
            results[taken] = noop(body)
            if len(results) == BATCH or taken == self.options.jobs:
                self._redis.hset("results", mapping=results)  # type: ignore[arg-type]
                channel.basic_ack(method.delivery_tag, multiple=True)
                results = {}
            if taken == self.options.jobs:
                break
        channel.cancel()
        return taken

    def close(self) -> None:
        self._connection.close()
        self._redis.close()


class _Window:
    """Publishes with at most 500 messages unconfirmed, over pika's connection of callbacks."""

    def __init__(self, url: str, bodies: list[bytes]) -> None:
        self._bodies = bodies
        self._sent = 0
        self._confirmed = 0
        self._connection = pika.SelectConnection(pika.URLParameters(url), on_open_callback=self._opened)

    def publish(self) -> None:
        self._connection.ioloop.start()

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._confirm, lambda _: self._fill())

    def _confirm(self, frame: Any) -> None:
        method = frame.method
        self._confirmed = method.delivery_tag if method.multiple else self._confirmed + 1
        if self._confirmed >= len(self._bodies):
            self._connection.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
            self._connection.close()
        else:
            self._fill()

    def _fill(self) -> None:
        while self._sent < len(self._bodies) and self._sent - self._confirmed < 500:
            self._channel.basic_publish("", QUEUE, self._bodies[self._sent], PERSISTENT, mandatory=True)
            self._sent += 1


if __name__ == "__main__":
    main(RabbitFloor)
