"""The app that Huey's own consumer imports."""

import sqlite3

from huey import Huey, RedisHuey
from huey.storage import SqliteStorage

from bench.systems.base import settings
from bench.systems.gate import Counter, Delays, Gate, called_back

gate = Gate()
delays = Delays()
counter = Counter()
options = settings()


class Storage(SqliteStorage):
    """As installed it runs with synchronous=FULL or, told not to sync, OFF; here with what all have."""

    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        connection.execute(f"PRAGMA synchronous = {options.durability}")
        return connection


kept = options.results == "all"
huey: Huey
if options.server:
    huey = RedisHuey("bench", url=options.url, results=kept)
else:
    huey = Huey("bench", storage_class=Storage, filename=str(options.database), results=kept, timeout=60)


@huey.task()
def noop(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@huey.task()
def stamped(stamp: float) -> None:
    delays.add(stamp)


@huey.task()
def counted(number: int) -> int:
    if not gate.open:
        gate.wait()
    counter.count()
    return number


@huey.task()
def member(number: int) -> int:
    if not gate.open:
        gate.wait()
    return number


@huey.task()
def callback(results: list[int]) -> None:
    called_back(results)
