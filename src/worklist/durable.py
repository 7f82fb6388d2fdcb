"""DurableQueue: the verbs of a process queue between any programs, on any broker, surviving all of them.

An item is a job that no worker runs: `put` puts it, `get` leases and settles it. A bounded queue has tokens, one for
each free place, in a queue of their own: to put is to exchange a token for an item, and to get an item for a token,
each in one settle. So the bound is exact between programs, and a program that dies holds no place for longer than a
lease.
"""

import contextlib
import math
import os
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from .adapters import BrokerUrl
from .core.codec import Codec, decode_value, encode_value
from .core.errors import ArgumentError, ConfigError
from .core.job import FOREVER, Job, JobState, new_job_id
from .core.outcome import HAND_BACK, Done, Outcome
from .core.ports import Filter, Lease, Settlement, Store, WorkerInfo
from .core.units import Duration, seconds
from .settings import setting

ITEM = "worklist.item"
TOKEN = "worklist.token"  # noqa: S105 - no password
_ENDLESS = 1_000_000_000
"""How many programs may die with an item or a token: any number."""
_LOOK_AGAIN = 60.0
_MANY = 1000


class DurableQueue:
    """First in, first out, for plain data. Safe for any number of threads, processes and programs.

    `url` is where the items live, as for Worklist; `name` tells queues in one place apart; `maxsize` is how many
    items it holds at most, 0 for any number. A queue once opened with a larger `maxsize` keeps that. `lease` is for
    how long a program may be silent before what it has taken is given to another one.

    Raises ConfigError for arguments that mean nothing, BrokerError where the place cannot be used.
    """

    def __init__(
        self, url: str | None = None, name: str = "default", maxsize: int = 0, *, lease: Duration = 30.0
    ) -> None:
        if not isinstance(maxsize, int) or isinstance(maxsize, bool) or maxsize < 0:
            raise ConfigError(f"maxsize is {maxsize!r}; expected a whole number, 0 for a queue without a bound")
        if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
            raise ConfigError(f"the name of the queue is {name!r}; expected 1 to 100 printable characters")
        self.name = name
        self.maxsize = maxsize
        self._lease = seconds(lease, "lease")
        self._items = f"queue:{name}"
        self._tokens = f"queue:{name}:free"
        place = setting("url", url, BrokerUrl)
        self._store: Store = place.open(Codec())
        self._closed = False
        self._keeper = _Keeper(self._store, (self._items,), self._lease)
        for start in range(0, maxsize, _MANY):
            self._store.put([self._token(number) for number in range(start, min(start + _MANY, maxsize))])

    def _token(self, number: int | None = None) -> Job:
        """Return a token: one of the first ones, which exist once, or one for an item that was taken out."""
        key = None if number is None else f"{self._tokens}:{number}"
        hold = 0.0 if number is None else FOREVER
        return Job(new_job_id(), TOKEN, queue=self._tokens, key=key, hold=hold, redeliveries=_ENDLESS)

    def _item(self, value: Any) -> Job:
        try:
            data = encode_value(value)
        except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError) as error:
            raise ArgumentError(f"the item cannot be stored: {error}; put plain data, or the path of a file") from None
        return Job(new_job_id(), ITEM, data, queue=self._items, redeliveries=_ENDLESS, created=time.time())

    # -- putting --------------------------------------------------------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; it is durable on return. Waits while the queue is full.

        Raises queue.Full where it still is after `timeout` seconds, or at once without `block`; ArgumentError for
        what is no plain data; ValueError after `close`.
        """
        self.put_many((item,), block, timeout)

    def put_nowait(self, item: Any) -> None:
        """Add an item, or raise queue.Full."""
        self.put(item, block=False)

    def put_many(self, items: Iterable[Any], block: bool = True, timeout: float | None = None) -> None:
        """Add items in their order, many in a transaction.

        Raises queue.Full where not all had a place; those before are put, and its `args` are how many.
        """
        self._refuse_closed()
        jobs = [self._item(item) for item in items]
        if not self.maxsize:
            for start in range(0, len(jobs), _MANY):
                self._store.put(jobs[start : start + _MANY])
            return
        deadline = _deadline(block, timeout)
        put = 0
        while put < len(jobs):
            tokens = self._take(self._tokens, min(len(jobs) - put, _MANY), deadline)
            if not tokens:
                raise queue.Full(put)
            some = jobs[put : put + len(tokens)]
            self._store.settle([_gone(token, [job]) for token, job in zip(tokens, some, strict=True)])
            put += len(some)

    # -- getting --------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item out and return it. Waits while the queue is empty.

        The item is gone when this returns; for one that must not be lost with this program, see `taking`. Raises
        queue.Empty where there is none after `timeout` seconds, or at once without `block`; ValueError after `close`.
        """
        return self.get_many(1, block, timeout)[0]

    def get_nowait(self) -> Any:
        """Take the oldest item, or raise queue.Empty."""
        return self.get(block=False)

    def get_many(self, most: int = _MANY, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Take up to `most` items, as many as there are, at least one. Raises what `get` raises."""
        leases = self._leased(most, block, timeout)
        self._settle(leases, Done())
        return [self._value(lease) for lease in leases]

    @contextlib.contextmanager
    def taking(self, block: bool = True, timeout: float | None = None) -> Iterator[Any]:
        """Take the oldest item for the length of a ``with`` block: at least once.

        It is gone when the block has ended. Where the block raises, or this program dies, it is back in its place
        for others, in the second case after a lease. Raises what `get` raises.
        """
        (lease,) = self._leased(1, block, timeout)
        with self._keeper.holding(lease):
            try:
                yield self._value(lease)
            except BaseException:
                self._settle((lease,), HAND_BACK)
                raise
            self._settle((lease,), Done())

    def _leased(self, most: int, block: bool, timeout: float | None) -> list[Lease]:
        self._refuse_closed()
        leases = self._take(self._items, max(1, most), _deadline(block, timeout))
        if not leases:
            raise queue.Empty
        return leases

    def _take(self, name: str, most: int, deadline: float) -> list[Lease]:
        """Lease from a queue; wait until something is there or it is too late."""
        while True:
            leases = self._store.lease(self._keeper.worker, (name,), most, self._lease)
            left = deadline - time.monotonic()
            if leases or left <= 0:
                return leases
            self._store.wait((name,), min(left, _LOOK_AGAIN))
            self._refuse_closed()

    def _settle(self, leases: Sequence[Lease], outcome: Outcome) -> None:
        """Say what became of items; one that is gone leaves a token where the queue is bounded."""
        gone = isinstance(outcome, Done) and self.maxsize
        followers: Sequence[Sequence[Job]] = [[self._token()] if gone else () for _ in leases]
        self._store.settle(
            [Settlement(lease, outcome, "none", followers=more) for lease, more in zip(leases, followers, strict=True)]
        )

    def _value(self, lease: Lease) -> Any:
        return decode_value(_codec.decode(lease.body).args)

    # -- looking --------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Return how many items are there; those that are being taken count until they are gone."""
        states = self._store.counts().get(self._items, {})
        return states.get(JobState.QUEUED, 0) + states.get(JobState.RUNNING, 0)

    def empty(self) -> bool:
        """Return whether there is nothing to get now."""
        return not self._store.find(Filter(queue=self._items, state=JobState.QUEUED, limit=1))

    def full(self) -> bool:
        """Return whether there is no place to put to now."""
        return bool(self.maxsize) and not self._store.find(Filter(queue=self._tokens, state=JobState.QUEUED, limit=1))

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every item is gone; return whether that is so, and not `timeout` seconds over."""
        deadline = _deadline(True, timeout)
        while self.qsize():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._store.wait_change(min(left, 1.0))
        return True

    # -- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the place back; the items stay. Those who wait in this object get a ValueError."""
        if not self._closed:
            self._closed = True
            self._keeper.stop()
            self._store.wake()
            self._store.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ValueError(f"queue {self.name!r} is closed in this program; open another DurableQueue of that name")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DurableQueue {self.name}{f' of {self.maxsize}' if self.maxsize else ''}>"


class _Keeper:
    """Renews the leases that a program holds for longer than a moment. Its thread begins with the first of them."""

    def __init__(self, store: Store, queues: tuple[str, ...], lease: float) -> None:
        self._store = store
        self._queues = queues
        self._lease = lease
        self._started = time.time()
        self._held: list[Lease] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"

    @contextlib.contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        with self._lock:
            self._held.append(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="worklist-queue-keeper", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(lease)

    def _run(self) -> None:
        while not self._ended.wait(self._lease / 3):
            with self._lock:
                held = list(self._held)
            if held:
                self._store.extend(self._info(len(held)), held, self._lease)

    def _info(self, running: int) -> WorkerInfo:
        return WorkerInfo(
            id=self.worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._queues,
            slots=running,
            started=self._started,
            running=running,
        )

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=5)


_codec = Codec()


def _gone(token: Lease, followers: Sequence[Job]) -> Settlement:
    return Settlement(token, Done(), "none", followers=followers)


def _deadline(block: bool, timeout: float | None) -> float:
    """Return until when to wait, by `time.monotonic`. Raises ValueError for a time before now."""
    if not block:
        return -math.inf
    if timeout is None:
        return math.inf
    if timeout < 0:
        raise ValueError(f"timeout is {timeout!r}; expected seconds from 0, or None to wait for ever")
    return time.monotonic() + timeout
