"""One thread per app that watches every awaited job, so that a thousand coroutines cost one query.

Results of `await handle` come from here; it knows the store only as Records.
"""

import threading
import time
from concurrent.futures import Future

from .client import Records
from .job import JobId, JobRecord

_CHUNK = 500


class ResultWatcher:
    """Resolves futures of job records as the jobs finish."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        self._watched: dict[JobId, list[Future[JobRecord | None]]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, id: JobId) -> Future[JobRecord | None]:
        """Return a future of the job's record once it has finished; None where the job is unknown."""
        future: Future[JobRecord | None] = Future()
        with self._lock:
            self._watched.setdefault(id, []).append(future)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="worklist-results", daemon=True)
                self._thread.start()
        return future

    def _serve(self) -> None:
        pause = 0.0
        while ids := self._still_watched():
            try:
                found = sum(self._look(ids[start : start + _CHUNK]) for start in range(0, len(ids), _CHUNK))
                if not found:
                    self._records.wait_change(0.5)
            except Exception as error:
                self._fail(error)
                continue
            pause = 0.0 if found else min(0.02, pause + 0.0005)
            time.sleep(pause)

    def _still_watched(self) -> list[JobId]:
        """Drop what nobody waits for any more; the thread ends, under the lock, where nothing is left."""
        with self._lock:
            for id in [id for id, futures in self._watched.items() if all(f.done() for f in futures)]:
                del self._watched[id]
            if self._closed or not self._watched:
                self._thread = None
                return []
            return list(self._watched)

    def _look(self, ids: list[JobId]) -> int:
        ended = 0
        for id, record in zip(ids, self._records.load(ids), strict=True):
            if record is None or record.state.finished:
                ended += 1
                with self._lock:
                    futures = self._watched.pop(id, [])
                for future in futures:
                    if future.set_running_or_notify_cancel():
                        future.set_result(record)
        return ended

    def _fail(self, error: Exception) -> None:
        with self._lock:
            watched, self._watched = self._watched, {}
        for futures in watched.values():
            for future in futures:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
