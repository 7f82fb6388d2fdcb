"""ProcessQueue: first in, first out, between processes of one machine, and no process can hang the others by dying.

Values wait in shared memory that the kernel keeps as long as any process has the queue open; no thread and no server
stands between. It knows nothing of jobs and brokers, and nothing of the rest of the project.
"""

import contextlib
import itertools
import os
import pickle
import secrets
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing import reduction
from queue import Empty, Full
from typing import Any, Generic, TypeVar

from . import ring, shared
from .ring import DONE, GOT, ONE, PICKLES, PLAIN, PUT, GetEnd, PutEnd
from .shared import Bell, DeathSafeLock, FileLock, RobustMutex, check_platform, make_file

T = TypeVar("T")
Piece = tuple[int, list[Any]]
"""The kind of a record, and values or pickles out of it."""

NOW = 0.0
"""The deadline of a call that must not wait."""
PROTOCOL = pickle.HIGHEST_PROTOCOL
PLAIN_TYPES = frozenset({int, float, bool, str, bytes, type(None)})
"""Values that cannot fail to be unpickled and that nobody can change: many of them share one pickle."""
SPINS = 200
"""Looks at an empty (or full) queue before sleeping. Some 20 µs: less than going to sleep and being woken costs."""
FILES = 7
"""Descriptors of a queue whose locks are in its memory: the memory, and three pipes."""
PATIENCE = 1.0
"""Seconds a call that must not wait gives a lock, which is held for microseconds unless its holder is stopped."""


class NotAllPut(Full):
    """`put_many` ran out of time. The first `count` values were put."""

    def __init__(self, count: int, of: int) -> None:
        super().__init__(f"the ProcessQueue is full: {count} of {of} values were put")
        self.count = count
        self.of = of

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return NotAllPut, (self.count, self.of)


class ProcessQueue(Generic[T]):
    """A queue that processes share: whoever is given it, as an argument of a process or of a task, may put and get.

    It works under fork, spawn and forkserver, with the names and the exceptions of `multiprocessing.JoinableQueue`
    (`queue.Full`, `queue.Empty`). Different are these: a value is in the queue when `put` returns, so a process may end
    or be killed right after; a value that cannot be pickled is refused by `put`; and a process that is killed in the
    middle of `put` or `get` harms nobody. What it was putting is not in the queue; what it was taking is still there,
    or gone with it.

    `maxsize` is the number of values that may wait; `put` waits when there are as many. 0: as many as fit in memory. It
    grows with the longest queue there was and is given back when the last process closes the queue.

    Raises ValueError for a negative size, and OSError where the system has no POSIX file locks (Windows).
    """

    def __init__(self, maxsize: int = 0, *, _channel: "_Channel | None" = None) -> None:
        if maxsize < 0:
            raise ValueError(f"maxsize={maxsize}: give the number of values that may wait, or 0 for no limit")
        check_platform()
        self._maxsize = maxsize
        self._channel: _Channel | None = _channel or _Channel(secrets.token_hex(8), _make_files())

    # -- putting ------------------------------------------------------------------------------------------------

    def put(self, value: T, block: bool = True, timeout: float | None = None) -> None:
        """Put a value at the end. O(its pickle).

        Waits while the queue is full; raises Full after `timeout` seconds, or at once without `block`. Raises what
        pickle raises if the value cannot be pickled, and ValueError after `close`.
        """
        channel = self._opened()
        payload = pickle.dumps(value, PROTOCOL)
        if not channel.put(ONE, [payload], self._maxsize, _deadline(block, timeout)):
            raise Full(f"the ProcessQueue is full: {self._maxsize} values wait")

    def put_nowait(self, value: T) -> None:
        """Put a value if there is room; raise Full if there is not."""
        self.put(value, block=False)

    def put_many(self, values: Iterable[T], block: bool = True, timeout: float | None = None) -> None:
        """Put values in order, many times as fast as one by one.

        All are pickled before the first is put. Waits for room as `put` does; raises NotAllPut, a kind of Full that
        says how many were put.
        """
        channel = self._opened()
        items: list[Any] = list(values)
        kind = PLAIN
        if not PLAIN_TYPES.issuperset(map(type, items)):
            kind = PICKLES
            items = [pickle.dumps(item, PROTOCOL) for item in items]
        deadline = _deadline(block, timeout)
        done = 0
        while done < len(items):
            count = channel.put(kind, items[done : done + ring.CHUNK], self._maxsize, deadline)
            if not count:
                raise NotAllPut(done, len(items))
            done += count

    # -- getting ------------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the first value. O(its pickle).

        Waits while the queue is empty; raises Empty after `timeout` seconds, or at once without `block`. Raises what
        pickle raises if the value cannot be unpickled here; it is then gone from the queue. ValueError after `close`.
        """
        value: T = self._opened().get_one(_deadline(block, timeout))
        return value

    def get_nowait(self) -> T:
        """Take the first value if there is one; raise Empty if there is not."""
        return self.get(block=False)

    def get_many(self, limit: int = 100, block: bool = True, timeout: float | None = None) -> list[T]:
        """Take the first values, at least one and at most `limit`, many times as fast as one by one.

        Waits for the first as `get` does, and for no more. What cannot be unpickled is raised when it comes first.
        """
        if limit < 1:
            raise ValueError(f"limit={limit}: get_many() takes at least 1 value")
        return self._opened().get(limit, _deadline(block, timeout))

    # -- what there is ------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """Return how many values wait; with other processes at work it may have changed already."""
        return self._opened().waiting()

    def empty(self) -> bool:
        """Return whether no value waits."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Return whether `put` would wait."""
        return 0 < self._maxsize <= self.qsize()

    # -- the end of the work ------------------------------------------------------------------------------------

    def task_done(self, count: int = 1) -> None:
        """Say that as many values that were taken have been dealt with. ValueError if more than were taken."""
        self._opened().task_done(count)

    def join(self, timeout: float | None = None) -> None:
        """Wait until `task_done` was called for every value that was put.

        Raises TimeoutError after `timeout` seconds. A process that dies between `get` and `task_done` leaves `join`
        waiting: give it a timeout where that may happen.
        """
        if not self._opened().join(_deadline(True, timeout)):
            raise TimeoutError(f"the ProcessQueue has unfinished values after {timeout} s")

    def close(self) -> None:
        """Give the queue up in this process; other processes keep it, and all that was put."""
        self._channel = None

    def join_thread(self) -> None:
        """Do nothing: there is no thread to wait for. Programs written for multiprocessing's queue call it."""

    def _opened(self) -> "_Channel":
        if self._channel is None:
            raise ValueError("this ProcessQueue is closed in this process; use it before close()")
        return self._channel

    def __repr__(self) -> str:
        state = "closed" if self._channel is None else f"{self.qsize()} values wait"
        return f"<ProcessQueue(maxsize={self._maxsize}), {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        channel = self._opened()
        fds = [reduction.DupFd(fd) for fd in channel.fds]
        return _rebuild, (type(self), self._maxsize, channel.token, fds)


class _Channel:
    """What the queue is within a process: the two ends in the shared memory, and a bell for each thing to wait for.

    There is one for each queue in a process, however many ProcessQueue objects have come to it, since record locks
    keep processes apart and not threads.
    """

    def __init__(self, token: str, fds: list[int]) -> None:
        self.token = token
        self.fds = fds
        weakref.finalize(self, _close_files, fds).atexit = False
        memory, *pipes = fds
        view = ring.Memory(memory)
        put_lock, get_lock, done_lock = self.locks = [DeathSafeLock(lock) for lock in _kernel_locks(view, fds)]
        self._put_end = PutEnd(view, put_lock)
        self._get_end = GetEnd(view, get_lock)
        self._done_lock = done_lock
        self._words = words = view.words
        self._items = Bell(put_lock, words, ring.GETTERS_SLEEP, pipes[0:2])
        self._room = Bell(get_lock, words, ring.PUTTERS_SLEEP, pipes[2:4])
        self._done = Bell(done_lock, words, ring.JOINERS_SLEEP, pipes[4:6])
        self._undecoded: deque[Piece] = deque()
        """What this process took together with a value that could not be unpickled, from that one on."""
        _CHANNELS[token] = self

    def put(self, kind: int, items: list[Any], maxsize: int, deadline: float | None) -> int:
        """Put as many items as there is room for, in one record; wait for room for one. 0 if there was none in time."""
        words, lock = self._words, self._put_end.lock
        while lock.acquire(_patience(deadline)):
            try:
                room = maxsize - (words[PUT] - words[GOT]) if maxsize else ring.CHUNK
                if room > 0:
                    count, payload = (1, items[0]) if kind == ONE else _joint_pickle(items[:room])
                    if words[ring.GETTERS_SLEEP]:
                        self._items.ring()
                    self._put_end.put(count, kind, payload)
                    return count
            finally:
                lock.release()
            if not _wait(self._room, lambda: bool(words[PUT] - words[GOT] >= maxsize), deadline):
                break
        return 0

    def get_one(self, deadline: float | None) -> Any:
        """Take a value as `get(1)` does, by the shortest way if it was put by itself."""
        words, end, lock = self._words, self._get_end, self._get_end.lock
        if words[PUT] == words[GOT] or self._undecoded or not lock.acquire(_patience(deadline)):
            return self.get(1, deadline)[0]
        try:
            payload = None
            if end.ready():
                if words[ring.PUTTERS_SLEEP]:
                    self._room.ring()
                payload = end.take_one()
        finally:
            lock.release()
        return self.get(1, deadline)[0] if payload is None else pickle.loads(payload)  # noqa: S301 - see `_decode`

    def get(self, limit: int, deadline: float | None) -> list[Any]:
        """Take at least one and at most `limit` values; raise Empty if there was none in time."""
        if self._undecoded:
            return self._decode(self._left_over(limit))
        words, end = self._words, self._get_end
        while words[PUT] != words[GOT] or _wait(self._items, lambda: bool(words[PUT] == words[GOT]), deadline):
            if not end.lock.acquire(_patience(deadline)):
                break
            try:
                pieces = self._take(min(limit, end.ready()))
            finally:
                end.lock.release()
            if pieces:
                return self._decode(pieces)
        raise Empty("the ProcessQueue is empty")

    def _take(self, count: int) -> list[Piece]:
        """Take so many values, which are there. The caller holds the lock of the end."""
        if not count:
            return []
        end = self._get_end
        pieces = [end.take(count)]
        count -= len(pieces[0][1])
        while count:
            pieces.append(end.take(count))
            count -= len(pieces[-1][1])
        if self._words[ring.PUTTERS_SLEEP]:
            self._room.ring()
        end.commit(end.count)
        return pieces

    def _decode(self, pieces: list[Piece]) -> list[Any]:
        """Return the values, up to the first that cannot be unpickled; raise its error if it is the very first."""
        values: list[Any] = []
        for number, (kind, items) in enumerate(pieces):
            if kind == PLAIN:
                values += items
                continue
            for place, item in enumerate(items):
                try:
                    values.append(pickle.loads(item))  # noqa: S301 - put by a process that was given the queue
                except Exception:
                    rest = items[place if values else place + 1 :]  # the bad one stays first if others come before it
                    left_over = [(kind, rest)] if rest else []
                    self._undecoded.extendleft(reversed(left_over + pieces[number + 1 :]))
                    if values:
                        return values
                    raise
        return values

    def _left_over(self, limit: int) -> list[Piece]:
        kind, items = self._undecoded.popleft()
        if len(items) > limit:
            self._undecoded.appendleft((kind, items[limit:]))
        return [(kind, items[:limit])]

    def waiting(self) -> int:
        got = self._words[GOT]  # first: the other way round the difference could be negative
        left_over = sum(len(items) for _, items in self._undecoded)
        return int(self._words[PUT] - got) + left_over

    def task_done(self, count: int) -> None:
        words = self._words
        with self._done_lock:
            done = words[DONE] + count
            if count < 1 or done > words[GOT]:
                raise ValueError(f"task_done({count}): only {words[GOT] - words[DONE]} values were taken and not done")
            if words[ring.JOINERS_SLEEP] and done == words[PUT]:
                self._done.ring()
            words[DONE] = done

    def join(self, deadline: float | None) -> bool:
        words = self._words
        return self._done.wait(lambda: bool(words[DONE] != words[PUT]), deadline)


def _wait(bell: Bell, quiet: Callable[[], bool], deadline: float | None) -> bool:
    """Wait while it is quiet; False if it still is at the deadline. Looks around for a moment before it sleeps."""
    if deadline == NOW:
        return not quiet()
    for _ in range(SPINS):
        if not quiet():
            return True
    return bell.wait(quiet, deadline)


def _joint_pickle(items: list[Any]) -> tuple[int, bytes]:
    """Pickle the first items together, as many as make a record of a sensible size; return how many, and the pickle."""
    payload = pickle.dumps(items, PROTOCOL)
    while len(payload) > ring.CHUNK_BYTES and len(items) > 1:
        items = items[: len(items) // 2]
        payload = pickle.dumps(items, PROTOCOL)
    return len(items), payload


def _deadline(block: bool, timeout: float | None) -> float | None:
    """Return when to give up, in monotonic seconds; None: never."""
    if not block:
        return NOW
    if timeout is None:
        return None
    if timeout < 0:
        raise ValueError(f"timeout={timeout}: give the seconds to wait, 0 or more, or None to wait for ever")
    return time.monotonic() + timeout


def _patience(deadline: float | None) -> float | None:
    """Return how long to wait for a lock."""
    return None if deadline is None else max(deadline - time.monotonic(), PATIENCE)


# -- one channel for each queue in a process, also after forks ----------------------------------------------------

_CHANNELS: weakref.WeakValueDictionary[str, _Channel] = weakref.WeakValueDictionary()


def _kernel_locks(view: ring.Memory, fds: list[int]) -> list[RobustMutex] | list[FileLock]:
    """Return the locks of the two ends and of `task_done`, the fastest that the system has."""
    if len(fds) > FILES:
        return [FileLock(fds[FILES], byte) for byte in range(3)]
    return [RobustMutex(view.page, ring.MUTEXES + number * RobustMutex.SIZE) for number in range(3)]


def _make_files() -> list[int]:
    """Return the descriptors of a new queue: its memory, a pipe for each bell, perhaps a file for locks."""
    pipes = list(itertools.chain(*(os.pipe() for _ in range(3))))
    for fd in pipes:
        os.set_blocking(fd, False)
    fds = [ring.make_memory(), *pipes]
    if not shared.HAS_ROBUST_MUTEX:
        return [*fds, make_file()]
    view = ring.Memory(fds[0])
    for number in range(3):
        RobustMutex(view.page, ring.MUTEXES + number * RobustMutex.SIZE).initialize()
    return fds


def _rebuild(kind: type[ProcessQueue[Any]], maxsize: int, token: str, handles: list[Any]) -> ProcessQueue[Any]:
    """Make the queue that was pickled, in the process that it came to."""
    fds = [handle.detach() for handle in handles]
    channel = _CHANNELS.get(token)
    if channel is None:
        channel = _Channel(token, fds)
    else:  # this process has it already
        with contextlib.ExitStack() as stack:
            for lock in channel.locks:
                stack.enter_context(lock.threads)  # closing a descriptor of their file would take them away
            _close_files(fds)
    return kind(maxsize, _channel=channel)


def _close_files(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _after_fork() -> None:
    for channel in tuple(_CHANNELS.values()):
        for lock in channel.locks:
            lock.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
