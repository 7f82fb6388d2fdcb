"""What processes need to share memory and survive one another's death: a lock, a bell and a fence.

The lock is released by the kernel when its holder dies, and who sleeps is woken by a pipe. Nothing here knows what
the memory holds.
"""

import contextlib
import errno
import os
import select
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

with contextlib.suppress(ImportError):  # Windows, see `check_platform`
    import fcntl

    LOCK, LOCK_NOW, UNLOCK = fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN

BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""Another process has the lock. EDEADLK: two threads of a process that wait for two locks look to the kernel like one
that waits for itself."""
HELD_FOR_LONG = 100
"""Looks at a lock after which its holder is no longer in the middle of something short."""
PAUSE = 0.0005
"""Seconds between two looks at a lock that is held for long."""


def check_platform() -> None:
    """Raise OSError where the system has no POSIX record locks."""
    if "fcntl" not in globals():
        raise OSError("ProcessQueue needs the file locks of POSIX, which this system lacks; use multiprocessing.Queue")


def make_file() -> int:
    """Return a descriptor of a new file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("worklist")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class DeathSafeLock:
    """Excludes threads by a lock of Python and processes by a POSIX record lock on one byte of a file.

    The kernel lets go of a record lock when the process that holds it dies, however it dies. Record locks belong to
    processes, not to descriptors: a child that inherits the descriptor does not inherit the lock. (A lock of
    `flock` it would inherit, and keep it for a parent that was killed.) The price: a process that closes any
    descriptor of the file loses its locks. So the file is for locks alone; `mmap` would duplicate its descriptor,
    and close that.
    """

    def __init__(self, fd: int, byte: int) -> None:
        self._fd = fd
        self._byte = byte
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
        try:
            fcntl.lockf(self._fd, LOCK_NOW, 1, self._byte)
        except BaseException as error:
            return self._wait_or_give_up(error, seconds)
        return True

    def _wait_or_give_up(self, error: BaseException, seconds: float | None) -> bool:
        """Wait for the lock of the file, which is busy; without it, give the other one back."""
        taken = False
        try:
            if not isinstance(error, OSError) or error.errno not in BUSY:
                raise error
            taken = self._wait_for_file(seconds)
        finally:
            if not taken:
                self.threads.release()
        return taken

    def acquire_now(self) -> bool:
        """Take the lock if nobody holds it."""
        return self.acquire(0)

    def release(self) -> None:
        """Let go of the lock, which the caller holds."""
        fcntl.lockf(self._fd, UNLOCK, 1, self._byte)
        self.threads.release()

    def _try_file(self, operation: int) -> bool:
        try:
            fcntl.lockf(self._fd, operation, 1, self._byte)
        except OSError as error:
            if error.errno in BUSY:
                return False
            raise
        return True

    def _wait_for_file(self, seconds: float | None) -> bool:
        deadline = None if seconds is None else time.monotonic() + seconds
        looks = 0
        while deadline is None or time.monotonic() < deadline:
            if self._try_file(LOCK if deadline is None else LOCK_NOW):
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
