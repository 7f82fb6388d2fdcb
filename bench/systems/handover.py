"""The floor of latency: a process that takes each stamp from a server as it comes. It has the driver and no queue."""

import os
import struct
from collections.abc import Callable, Iterator
from typing import cast

from bench.systems.gate import Delays, Gate

STAMPS = "stamps"
"""The name of the list, the channel or the queue."""
Bodies = Iterator[bytes]


def packed(stamp: float) -> bytes:
    return struct.pack("d", stamp)


def main() -> None:
    """Tell the measurement that this worker is up, then note each stamp."""
    gate, delays = Gate(), Delays()
    bodies = SERVERS[os.environ["BENCH_SERVER"]](os.environ["BENCH_URL"])
    for body in bodies:
        if not gate.open:
            gate.wait()
            continue
        delays.add(struct.unpack("d", body)[0])


def _redis(url: str) -> Bodies:
    from redis import Redis

    connection = Redis.from_url(url)
    while True:
        found = connection.brpop([STAMPS], timeout=5)
        if found:
            yield cast("bytes", found[1])


def _postgresql(url: str) -> Bodies:
    """A notification says that there is a row, which is then claimed."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"LISTEN {STAMPS}")
        while True:
            claim = "DELETE FROM stamp WHERE id = (SELECT min(id) FROM stamp) RETURNING body"
            while row := connection.execute(claim).fetchone():
                yield bytes(row[0])
            for _ in connection.notifies(timeout=5, stop_after=1):
                pass


def _rabbitmq(url: str) -> Bodies:
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=100)
    for method, _properties, body in channel.consume(STAMPS):
        yield body
        channel.basic_ack(method.delivery_tag)


SERVERS: dict[str, Callable[[str], Bodies]] = {"redis": _redis, "postgresql": _postgresql, "rabbitmq": _rabbitmq}

if __name__ == "__main__":
    main()
