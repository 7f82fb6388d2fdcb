"""What processes need to share memory and survive one another's death: a lock, a bell and a fence.

The lock is released by the kernel when its holder dies, and who sleeps is woken by a pipe. Nothing here knows what
the memory holds.
"""

import contextlib
import ctypes
import errno
import functools
import mmap
import os
import select
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, see `check_platform`
    HAS_FILE_LOCKS = False
else:
    HAS_FILE_LOCKS = True

HELD_FOR_LONG = 100
"""Looks at a lock after which its holder is no longer in the middle of something short."""
PAUSE = 0.0005
"""Seconds between two looks at a lock that is held for long."""


def check_platform() -> None:
    """Raise OSError where the system has no POSIX record locks."""
    if not HAS_FILE_LOCKS:
        raise OSError("ProcessQueue needs the file locks of POSIX, which this system lacks; use multiprocessing.Queue")


def make_file() -> int:
    """Return a descriptor of a new file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("worklist")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class FileLock:
    """A POSIX record lock on one byte of a file. Two calls of the kernel for each use; every POSIX system has it.

    Record locks belong to processes, not to descriptors: a child that inherits the descriptor does not inherit the
    lock. (A lock of `flock` it would inherit, and keep it for a parent that was killed.) The price: a process that
    closes any descriptor of the file loses its locks. So the file is for locks alone; `mmap` would duplicate its
    descriptor, and close that.
    """

    def __init__(self, fd: int, byte: int) -> None:
        self._fd = fd
        self._byte = byte

    def try_lock(self) -> int:
        """Take the lock; return 0, or EBUSY if another process has it."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
        except (BlockingIOError, PermissionError):  # some systems say one, some the other
            return errno.EBUSY
        return 0

    def unlock(self) -> None:
        """Let go of the lock."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._byte)


class RobustMutex:
    """A mutex of the C library in the shared memory, of the kind that the kernel hands on when its holder dies.

    Taking one that is free needs no call of the kernel; it takes a quarter of the time that a FileLock does. Linux has
    it, see `pthread_mutexattr_setrobust(3)`.
    """

    SIZE = 128
    """Bytes; those of glibc and musl are smaller on every processor."""

    def __init__(self, page: mmap.mmap, place: int) -> None:
        self._page = page  # stays mapped as long as the mutex may be used
        address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page, place)))
        self.unlock = functools.partial(_C.pthread_mutex_unlock, address)
        self._address = address

    def initialize(self) -> None:
        """Make it, once, by the process that made the memory."""
        kind = ctypes.create_string_buffer(self.SIZE)
        done = (
            _C.pthread_mutexattr_init(kind),
            _C.pthread_mutexattr_setpshared(kind, SHARED),
            _C.pthread_mutexattr_setrobust(kind, ROBUST),
            _C.pthread_mutex_init(self._address, kind),
        )
        if any(done):
            raise OSError(max(done), "ProcessQueue cannot make a robust mutex")

    def try_lock(self) -> int:
        """Take the lock; return 0, or EBUSY if another process has it."""
        code: int = _C.pthread_mutex_trylock(self._address)
        if code == errno.EOWNERDEAD:  # it is ours; what it protects is always in order
            code = _C.pthread_mutex_consistent(self._address)
        return code


SHARED = ROBUST = 1
"""PTHREAD_PROCESS_SHARED and PTHREAD_MUTEX_ROBUST, in glibc and musl."""
_C: Any = ctypes.PyDLL(None) if sys.platform == "linux" else None
"""The C library, called without giving up the GIL: none of these calls waits."""
HAS_ROBUST_MUTEX = hasattr(_C, "pthread_mutex_consistent")


class DeathSafeLock:
    """Excludes threads by a lock of Python and processes by one that does not outlive its holder, however it dies."""

    def __init__(self, kernel: FileLock | RobustMutex) -> None:
        self._try_lock = kernel.try_lock
        self._unlock = kernel.unlock
        self.reset()

    def reset(self) -> None:
        """After a fork, in the child: another thread of the parent may have held it."""
        self.threads = threading.Lock()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, seconds: float | None = None) -> bool:
        """Take the lock; False if it could not be had for so many seconds. None: wait for as long as it takes."""
        if not self.threads.acquire(True, -1 if seconds is None else seconds):
            return False
        taken = False
        try:
            taken = not self._try_lock() or self._wait(seconds)
        finally:
            if not taken:
                self.threads.release()
        return taken

    def acquire_now(self) -> bool:
        """Take the lock if nobody holds it."""
        return self.acquire(0)

    def release(self) -> None:
        """Let go of the lock, which the caller holds."""
        self._unlock()
        self.threads.release()

    def _wait(self, seconds: float | None) -> bool:
        deadline = None if seconds is None else time.monotonic() + seconds
        looks = 0
        while deadline is None or time.monotonic() < deadline:
            if not self._try_lock():
                return True
            looks += 1
            if looks > HELD_FOR_LONG:
                time.sleep(PAUSE)
        return False


class Bell:
    """Wakes whoever waits for a change that is made under a lock.

    A sleeper says so in a word of the shared memory and then watches a pipe; who makes the change looks at the word.
    Both happen under the lock, so no ring is missed, whoever dies. The bell is rung before the change: a ringer that
    dies in between has woken others for nothing; the other way round it would have left them asleep. It goes on ringing
    for all sleepers, until one that finds nothing to do silences it.
    """

    def __init__(self, lock: DeathSafeLock, words: memoryview, flag: int, pipe: Sequence[int]) -> None:
        self._lock = lock
        self._words = words
        self._flag = flag
        self._out, self._in = pipe

    def ring(self) -> None:
        """Wake all. The caller holds the lock, has seen the flag, and makes its change after this."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it rings already
            os.write(self._in, b"!")
        self._words[self._flag] = 0

    def wait(self, quiet: Callable[[], bool], deadline: float | None) -> bool:
        """Wait while `quiet()` holds; False if it still does at the deadline (monotonic seconds)."""
        looks = 0
        while quiet():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self._lock.acquire_now():
                if self._lie_down(quiet):
                    _sleep_until_readable(self._out, left)
            else:  # somebody makes a change right now
                looks += 1
                if looks > HELD_FOR_LONG:
                    time.sleep(PAUSE)
        return True

    def _lie_down(self, quiet: Callable[[], bool]) -> bool:
        """Ask to be woken; False if there is a reason not to sleep. Gives the lock back."""
        try:
            self._words[self._flag] = 1
            with contextlib.suppress(BlockingIOError):
                while os.read(self._out, 4096):
                    pass
            return quiet()
        finally:
            self._lock.release()


def _sleep_until_readable(fd: int, seconds: float | None) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll(None if seconds is None else min(seconds * 1000 + 1, 2**31 - 1))


def make_fence() -> threading.Lock:
    """Return a lock that is held; `release()` and then `acquire()` on it is a fence.

    What was written, or read, before the release is so before what comes after the acquire, also on processors that
    do not keep memory in order (ARM; x86 does). Python has no fence of its own.
    """
    fence = threading.Lock()
    fence.acquire()
    return fence
