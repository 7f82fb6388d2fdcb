"""Who works on the crawl of a file: each process holds a lock as long as it lives, so that a start can tell the dead.

The lock is the kernel's, and goes with its process however that ends. It lies in a file of its own, since closing
any second handle of SQLite's own file would drop SQLite's locks on it.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows: leases lapse there by their time alone
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def present(path: Path, alone: Callable[[], object]) -> Iterator[None]:
    """Be present for the block; before it, where no other process is, call `alone`, while none can come."""
    locks: Any = fcntl
    if locks is None:
        yield
        return
    with path.open("ab") as file:
        with contextlib.suppress(BlockingIOError):
            locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
            alone()
        locks.flock(file, locks.LOCK_SH)
        yield
