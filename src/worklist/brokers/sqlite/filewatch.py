"""Wake up when another process writes to a file: inotify on Linux, kqueue on BSD and macOS, a short poll elsewhere.

SQLite has no notifications, but a commit appends to its write-ahead log, and the kernel tells of that within
microseconds at no cost to the writer.
"""

import ctypes
import math
import os
import select
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

_IN_MODIFY = 0x2
_POLL_SECONDS = 0.005
_ECHO_SECONDS = 30.0
"""For how long after a write one keeps looking for what it has brought."""


class FileWatch(ABC):
    """Waits for writes to one file. Writes between two waits are not missed."""

    def __init__(self) -> None:
        self._written_at = -math.inf

    def wait(self, seconds: float) -> bool:
        """Return at the first write since the last wait, at a `poke`, or after `seconds`; True where it was poked.

        A writer writes first and makes it visible a moment later, so one who was woken by the write may look too
        early. Therefore waits after a write are short: a millisecond at first, then twice as long each time.
        """
        since = time.monotonic() - self._written_at
        if since < _ECHO_SECONDS:
            seconds = min(seconds, max(0.001, since))
        written, poked = self._wait(max(0.0, seconds))
        if written:
            self._written_at = time.monotonic()
        return poked

    @abstractmethod
    def _wait(self, seconds: float) -> tuple[bool, bool]:
        """Wait once; return whether the file was written, and whether there was a poke."""

    @abstractmethod
    def poke(self) -> None:
        """Make the wait under way, or the next one, return."""

    @abstractmethod
    def close(self) -> None:
        """Give back the descriptors."""


def watch_file(path: str) -> FileWatch:
    """Return the best watch that this system has."""
    try:
        return _best_watch()(path)
    except OSError:  # no descriptors left, such as fs.inotify.max_user_instances
        return _PollWatch(path)


def _best_watch() -> Callable[[str], FileWatch]:
    system: str = sys.platform
    if system == "linux":
        return _InotifyWatch
    return _KqueueWatch if hasattr(select, "kqueue") else _PollWatch


class _Pipe:
    """A pipe to one's own wait, for `poke`."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        os.set_blocking(self.read, False)
        os.set_blocking(self._write, False)

    def poke(self) -> None:
        try:
            os.write(self._write, b"!")
        except (BlockingIOError, OSError):
            return  # full, so the wait will end anyhow; or closed

    def close(self) -> None:
        os.close(self.read)
        os.close(self._write)


class _InotifyWatch(FileWatch):
    def __init__(self, path: str) -> None:
        super().__init__()
        libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        if libc.inotify_add_watch(self._inotify, os.fsencode(path), ctypes.c_uint32(_IN_MODIFY)) < 0:
            os.close(self._inotify)
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")
        self._pipe = _Pipe()
        self._poll = select.poll()
        self._poll.register(self._inotify, select.POLLIN)
        self._poll.register(self._pipe.read, select.POLLIN)
        self._closed = False

    def _wait(self, seconds: float) -> tuple[bool, bool]:
        ready = [descriptor for descriptor, _ in self._poll.poll(math.ceil(seconds * 1000))]
        for descriptor in ready:
            os.read(descriptor, 65536)
        return self._inotify in ready, self._pipe.read in ready

    def poke(self) -> None:
        self._pipe.poke()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._inotify)
            self._pipe.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()


class _KqueueWatch(FileWatch):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_RDONLY)
        self._pipe = _Pipe()
        system: Any = select  # these names exist on BSD and macOS alone
        self._queue = system.kqueue()
        writes = system.kevent(
            self._file,
            system.KQ_FILTER_VNODE,
            system.KQ_EV_ADD | system.KQ_EV_CLEAR,
            system.KQ_NOTE_WRITE | system.KQ_NOTE_EXTEND,
        )
        pokes = system.kevent(self._pipe.read, system.KQ_FILTER_READ, system.KQ_EV_ADD)
        self._queue.control([writes, pokes], 0)
        self._closed = False

    def _wait(self, seconds: float) -> tuple[bool, bool]:
        ready = [event.ident for event in self._queue.control([], 8, seconds)]
        poked = self._pipe.read in ready
        if poked:
            os.read(self._pipe.read, 4096)
        return self._file in ready, poked

    def poke(self) -> None:
        self._pipe.poke()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.close()
            os.close(self._file)
            self._pipe.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()


class _PollWatch(FileWatch):
    """Looks at size and time of the file every few milliseconds."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._seen = self._stamp()
        self._poked = False

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._path)
        except OSError:
            return 0, 0, 0
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _wait(self, seconds: float) -> tuple[bool, bool]:
        end = time.monotonic() + seconds
        while (stamp := self._stamp()) == self._seen and not self._poked and time.monotonic() < end:
            time.sleep(min(_POLL_SECONDS, seconds))
        written, self._seen = stamp != self._seen, stamp
        poked, self._poked = self._poked, False
        return written, poked

    def poke(self) -> None:
        self._poked = True

    def close(self) -> None:
        """Nothing to give back."""
