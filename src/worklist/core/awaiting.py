"""One thread per app that looks at every watched job, so that a thousand who wait cost two queries at a time.

`await handle`, `job.updates()`, `app.wait` and `app.as_completed` are all watches that are shown records here. It
knows the store only as Records.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from .errors import BrokerError
from .job import JobId, JobRecord

if TYPE_CHECKING:
    from .client import Records

CHUNK = 500
"""How many jobs one query asks for."""
_LONGEST_WAIT = 5.0
"""Whoever gave up is forgotten after this at the latest, also where nothing happens."""
_LONGEST_REST = 0.02
"""Between two looks, where nothing that is watched ends while others write all the time. Longer, where a look takes
longer: the thread spends half of its time at rest."""


class Watch:
    """One who wants to know what becomes of some jobs. The watcher's thread alone calls these methods."""

    deadline: float | None = None
    """By `time.monotonic`: when the watch is over at the latest."""

    def see(self, id: JobId, record: JobRecord | None) -> bool:
        """Take what is known of a job now (None: nothing); return whether that was all one wanted to know of it."""
        raise NotImplementedError

    def looked(self) -> None:
        """Hear that all jobs have been looked at once more."""

    def late(self) -> None:
        """Hear that the time is over. There was a look after the watch began, however early the deadline."""

    def fail(self, error: Exception) -> None:
        """Hear that nothing more can be learned."""
        raise NotImplementedError

    def given_up(self) -> bool:
        """Return whether nobody wants to know any more."""
        return False


class Watcher:
    """Looks at the jobs of all watches whenever some job may have changed. The thread lives while there are any.

    `wake` makes the `wait_change` that is under way return.
    """

    def __init__(self, records: "Records", wake: Callable[[], object]) -> None:
        self._records = records
        self._wake = wake
        self._lock = threading.Lock()
        self._watches: dict[Watch, set[JobId]] = {}
        self._news = threading.Event()
        self._waiting = False
        self._thread: threading.Thread | None = None
        self._closed = False

    def result(self, id: JobId) -> "Future[JobRecord | None]":
        """Return a future of the job's record once it has finished; None where the job is unknown."""
        watch = _Result()
        self.follow((id,), watch)
        return watch.future

    def follow(self, ids: Iterable[JobId], watch: Watch) -> None:
        """Show the watch what is known of these jobs, now and after each change, until it wants no more."""
        with self._lock:
            self._watches[watch] = set(ids)
            self._news.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="worklist-results", daemon=True)
                self._thread.start()
        self._end_wait()

    def _end_wait(self) -> None:
        if self._waiting:
            self._wake()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        rest = 0.0
        while watches := self._open_watches():
            begun = time.monotonic()
            try:
                ended = self._look(watches)
                took = time.monotonic() - begun
                self._wait_change(watches)
            except Exception as error:
                self._drop(watches, error)
                continue
            rest = 0.0 if ended else min(_LONGEST_REST, rest + 0.0005)
            self._news.wait(max(rest, took))

    def _open_watches(self) -> dict[Watch, set[JobId]]:
        """Drop the watches that are over; the thread ends, under the lock, where none is left."""
        with self._lock:
            self._news.clear()
            self._watches = {watch: ids for watch, ids in self._watches.items() if ids and not watch.given_up()}
            if self._watches and not self._closed:
                return dict(self._watches)
            self._thread = None
            left, self._watches = self._watches, {}
        for watch in left:
            watch.fail(BrokerError("the app was closed while jobs were waited for"))
        return {}

    def _look(self, watches: Mapping[Watch, set[JobId]]) -> int:
        """Show every watch its jobs; return how many times a watch had seen enough of one."""
        wanted: defaultdict[JobId, list[Watch]] = defaultdict(list)
        for watch, ids in watches.items():
            for id in ids:
                wanted[id].append(watch)
        ended = 0
        all_ids = list(wanted)
        for start in range(0, len(all_ids), CHUNK):
            chunk = all_ids[start : start + CHUNK]
            for id, record in zip(chunk, self._records.load(chunk), strict=True):
                for watch in wanted[id]:
                    if watch.see(id, record):
                        watches[watch].discard(id)
                        ended += 1
        now = time.monotonic()
        for watch, ids in watches.items():
            watch.looked()
            if ids and watch.deadline is not None and watch.deadline <= now:
                watch.late()
                ids.clear()
        return ended

    def _wait_change(self, watches: Mapping[Watch, set[JobId]]) -> None:
        now = time.monotonic()
        deadlines = [watch.deadline - now for watch, ids in watches.items() if ids and watch.deadline is not None]
        self._waiting = True
        if not self._news.is_set() and any(watches.values()):
            self._records.wait_change(max(0.0, min([_LONGEST_WAIT, *deadlines])))
        self._waiting = False

    def _drop(self, watches: Iterable[Watch], error: Exception) -> None:
        with self._lock:
            for watch in watches:
                self._watches.pop(watch, None)
        for watch in watches:
            watch.fail(error)

    def close(self) -> None:
        """Stop watching: whoever still waits is told with a BrokerError."""
        self._closed = True
        self._news.set()
        self._end_wait()


class _Result(Watch):
    """Waits for the end of one job."""

    def __init__(self) -> None:
        self.future: Future[JobRecord | None] = Future()

    def see(self, id: JobId, record: JobRecord | None) -> bool:
        if record is not None and not record.state.finished:
            return False
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(record)
        return True

    def fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def given_up(self) -> bool:
        return self.future.done()
