"""A queue of records in shared memory: one end puts, the other takes, and either may be killed at any moment.

Each end has a lock of its own, so putting and taking do not wait for each other. It knows bytes and pickles of plain
lists; what the values are, who waits, and for how long, is for others to know.
"""

import mmap
import os
import pickle
from struct import Struct
from typing import Any

from .shared import DeathSafeLock, make_fence, make_file

HEADER = Struct("@QII")
"""Before each record: bytes in it, values in it, its kind. A record begins at a multiple of this size."""
ONE, PLAIN, PICKLES, HOP = range(4)
"""Kinds: the pickle of a value; the pickle of a list of plain values; the pickle of a list of pickles of values; no
record but the place where the next one is."""

WORD = Struct("@Q")
STATE = Struct("@QQQQ")
"""Where an end is: its count, the place of its next record, the hops it made, the values already taken from that
record."""
PAGE = mmap.PAGESIZE
SMALLEST = 1 << 20
"""Bytes of a ring that has just been made."""
CHUNK = 256
"""Values in a record, at most: taking one of them costs a process the decoding of all, once."""
CHUNK_BYTES = 1 << 20
NEVER = 2**64 - 1

# The first page holds words of 8 bytes, which are written in one piece. What the ends write lies on cache lines apart.
PUT, GOT, DONE, CAPACITY = 0, 8, 16, 24
GETTERS_SLEEP, PUTTERS_SLEEP, JOINERS_SLEEP = 32, 40, 48
PUT_STATE, GOT_STATE = 512, 1024
"""Where the states are, in bytes."""
MUTEXES = 2048
"""Where the mutexes are, in bytes, on systems that have the robust kind."""


def make_memory() -> int:
    """Return a descriptor of new shared memory with an empty ring in it. It is gone when the last process closes it."""
    fd = make_file()
    os.ftruncate(fd, PAGE)
    reserve(fd, PAGE, SMALLEST)
    with mmap.mmap(fd, PAGE) as page:
        for place in (PUT_STATE, GOT_STATE):
            STATE.pack_into(page, place, 0, PAGE, 0, 0)
            STATE.pack_into(page, place + STATE.size, NEVER, 0, 0, 0)
        WORD.pack_into(page, CAPACITY * WORD.size, SMALLEST)
    return fd


def reserve(fd: int, start: int, stop: int) -> None:
    """Give the file memory from `start` to `stop`; raise MemoryError if there is none, rather than die of it later."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, start, stop - start)
        else:  # pragma: no cover - macOS
            os.ftruncate(fd, stop)
    except OSError as error:
        raise MemoryError(f"no memory for the waiting values of a ProcessQueue, {stop:,} bytes ({error})") from None


class Memory:
    """The shared memory as this process sees it: the first page for good, the rest as far as it reaches today."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.page = mmap.mmap(fd, PAGE)
        self.words = memoryview(self.page).cast("Q")

    def map(self) -> mmap.mmap:
        """Return all of it. Each end maps it for itself, since it grows under the lock of only one."""
        return mmap.mmap(self.fd, self.words[CAPACITY])


class _End:
    """One end of the ring: its lock, its count, and where it is.

    The count is the one word that makes a change true. Where the end will be is written before it, beside the state
    that still holds: of the two states, the one that carries the count is valid. So a process that dies leaves the
    old state or the new one, never half of each, and nothing has to be repaired.
    """

    def __init__(self, memory: Memory, lock: DeathSafeLock, count: int, state: int) -> None:
        self.lock = lock
        self._memory = memory
        self._words = memory.words
        self._page = memory.page
        self._count_word = count
        self._slots = (state, state + STATE.size)
        self._data = memory.map()
        self._mapped = len(self._data)
        self._fence = make_fence()
        self.count, self.position, self.hops, self.skip = 0, 0, 0, 0
        self._committed = NEVER
        """The count for which the fields above hold; NEVER while they are being changed."""
        self._used = self._spare = 0
        """Which slot holds the state that is true, and which one the next is written to."""

    def refresh(self) -> bool:
        """Begin a change: find where the end is. False if it is where this process left it."""
        known, self._committed = self._committed, NEVER
        count = self._words[self._count_word]
        if count == known:
            return False
        for used, spare in (self._slots, self._slots[::-1]):
            state = STATE.unpack_from(self._page, used)
            if state[0] == count:
                self.count, self.position, self.hops, self.skip = state
                self._used, self._spare = used, spare
        return True

    def commit(self, count: int) -> None:
        """End a change: make the present position true, together with this count."""
        STATE.pack_into(self._page, self._spare, count, self.position, self.hops, self.skip)
        self._fence.release()
        self._fence.acquire()
        self._words[self._count_word] = count
        self._spare, self._used = self._used, self._spare
        self._committed = self.count = count

    def _reach(self, stop: int) -> mmap.mmap:
        """Return the memory, mapped at least up to `stop`."""
        if stop > self._mapped:
            self._data = self._memory.map()
            self._mapped = len(self._data)
        return self._data


class PutEnd(_End):
    """Where records are put. The caller holds `lock`."""

    def __init__(self, memory: Memory, lock: DeathSafeLock) -> None:
        super().__init__(memory, lock, PUT, PUT_STATE)
        self._head = self._head_hops = 0
        """Where the other end was when this one last looked."""
        self._limit = 0
        """Up to where the memory ahead is known to be free."""

    def put(self, count: int, kind: int, payload: bytes) -> None:
        """Write a record of `count` values, and commit. O(its bytes). Raises MemoryError; then nothing has changed."""
        size = len(payload)
        stop = HEADER.size + size
        whole = stop + -stop % HEADER.size
        if self.refresh():
            self._limit = 0  # others have put, and may have come round
        if self.position + whole + HEADER.size > self._limit:
            self._find_place(whole + HEADER.size)
        start = self.position
        self._data[start : start + stop] = HEADER.pack(size, count, kind) + payload
        self.position = start + whole
        self.commit(self.count + count)

    def _find_place(self, need: int) -> None:
        """Move to where so many bytes are free: the record, and a hop after it.

        Free is what the taking end has left behind. Between the two ends there may be hops that it has yet to make: one
        where the ring began anew, or more where it had to grow. While there are, only what lies ahead is free.
        """
        self._look_at_other_end()
        capacity: int = self._words[CAPACITY]
        behind = self.hops != self._head_hops and self.position < self._head
        self._limit = self._head if behind else capacity
        if self.position + need > self._limit:
            if self.hops == self._head_hops and PAGE + need <= self._head:
                self._hop(PAGE)
                self._limit = self._head
            else:
                self._limit = self._grow(capacity, need)
                if behind:
                    self._hop(capacity)
        self._reach(self._limit)

    def _look_at_other_end(self) -> None:
        """Find how far the other end has come, without its lock: look again if it moved meanwhile."""
        while True:
            count = self._words[GOT]
            for slot in (GOT_STATE, GOT_STATE + STATE.size):
                self._fence.release()
                self._fence.acquire()
                tag, self._head, self._head_hops, _ = STATE.unpack_from(self._page, slot)
                self._fence.release()
                self._fence.acquire()
                if tag == count == self._words[GOT]:
                    return

    def _grow(self, capacity: int, need: int) -> int:
        larger = max(2 * capacity, capacity + need + -need % PAGE)
        reserve(self._memory.fd, capacity, larger)
        self._words[CAPACITY] = larger
        return larger

    def _hop(self, target: int) -> None:
        """Leave word of where the next record is."""
        HEADER.pack_into(self._reach(self.position + HEADER.size), self.position, target, 0, HOP)
        self.position = target
        self.hops += 1


class GetEnd(_End):
    """Where records are taken. The caller holds `lock`."""

    def __init__(self, memory: Memory, lock: DeathSafeLock) -> None:
        super().__init__(memory, lock, GOT, GOT_STATE)
        self._opened: tuple[int, list[Any]] = (NEVER, [])
        """The last record that was taken in part: the number of its first value, and all its values."""

    def ready(self) -> int:
        """Begin to take: return how many values there are. If any are taken, `commit` has to follow."""
        self.refresh()
        waiting: int = self._words[PUT] - self.count
        self._fence.release()
        self._fence.acquire()
        return waiting

    def take_one(self) -> bytes | None:
        """Take the next record if it is of one value, and commit; None, and nothing has changed, if it is not."""
        position = self.position
        start = position + HEADER.size
        size, _, kind = HEADER.unpack_from(self._data if start <= self._mapped else self._reach(start), position)
        if kind != ONE:
            return None
        stop = start + size
        payload = (self._data if stop <= self._mapped else self._reach(stop))[start:stop]
        self.position = stop + -stop % HEADER.size
        self.commit(self.count + 1)
        return payload

    def take(self, limit: int) -> tuple[int, list[Any]]:
        """Pass over at most `limit` values of the next record; return its kind and them. O(the record's bytes)."""
        size, count, kind = HEADER.unpack_from(self._reach(self.position + HEADER.size), self.position)
        while kind == HOP:
            self.position = size
            self.hops += 1
            size, count, kind = HEADER.unpack_from(self._reach(size + HEADER.size), size)
        start = self.position + HEADER.size
        stop = start + size
        if kind == ONE:
            values, skip = [self._reach(stop)[start:stop]], 0
        else:
            values, skip = self._open(start, stop), self.skip
        taken = min(count - skip, limit)
        self.count += taken
        if skip + taken < count:
            self.skip = skip + taken
            return kind, values[skip : skip + taken]
        self.position = stop + -stop % HEADER.size
        self.skip = 0
        return kind, values[skip:] if skip else values

    def _open(self, start: int, stop: int) -> list[Any]:
        """Return all values of a record, from the last time if it is the same. Such lists run no code of others."""
        first = self.count - self.skip
        if self._opened[0] != first:
            self._opened = (first, pickle.loads(self._reach(stop)[start:stop]))  # noqa: S301 - written by `put`
        return self._opened[1]
