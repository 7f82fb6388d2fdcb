"""Results in MongoDB: one document for each job that has ended, which MongoDB removes itself when its time is over.

Who waits is woken by a change stream, where the server is part of a replica set; a single one is asked again and
again, ever more rarely. It knows the core's records and its driver, and nothing of brokers.
"""

import datetime as dt
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from pymongo import MongoClient, ReplaceOne
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from ..core.errors import BrokerError, BrokerUnavailable, ConfigError
from ..core.job import JobId, JobRecord, JobState

COLLECTION = "worklist_results"
POLL_SECONDS = (0.01, 0.5)
"""First and longest pause between two looks where there is no change stream."""
_AFTER_TROUBLE_SECONDS = 1.0
_AUTHENTICATION_FAILED, _UNAUTHORIZED, _DUPLICATE_KEY, _NO_REPLICA_SET = 18, 13, 11000, 40573
_CHANGES: list[Mapping[str, Any]] = [
    {"$match": {"operationType": {"$in": ["insert", "replace", "update"]}}},
    {"$project": {"operationType": 1}},
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(JobRecord).decode


class MongoResults:
    """A ResultStore in a database of MongoDB. `shown` is the URL without its password."""

    def __init__(
        self, url: str, shown: str, database: str, *, timeout: float = 10.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._shown = shown
        self._clock = clock
        self._changes = _Changes(self._watch)
        milliseconds = round(timeout * 1000)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                self._client: MongoClient[dict[str, Any]] = MongoClient(
                    url, serverSelectionTimeoutMS=milliseconds, connectTimeoutMS=milliseconds, tz_aware=True
                )
        except (InvalidURI, ConfigurationError, ValueError, TypeError) as error:
            raise ConfigError(f"results is {shown!r}: {error}") from None
        slips = [str(it.message) for it in warned if it.category is UserWarning]  # such as an option with a typo
        try:
            self._jobs = self._client[database][COLLECTION]
        except InvalidName as error:
            slips.append(str(error))
        if slips:
            self._client.close()
            raise ConfigError(f"results is {shown!r}: {slips[0]}")
        self._indexed = False

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of jobs."""
        wanted = {"_id": {"$in": [*ids]}, "until": {"$gt": self._now()}}
        with self._said():
            found = {it["_id"]: _decode(it["record"]) for it in self._jobs.find(wanted, {"record": 1})}
        return [found.get(id) for id in ids]

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Keep records (see ResultStore.keep)."""
        if not records:
            return
        until = self._now() + dt.timedelta(seconds=seconds)
        with self._said():
            if not self._indexed:
                self._jobs.create_index("until", expireAfterSeconds=0)
                self._indexed = True
            try:
                self._jobs.bulk_write([_replace(record, until) for record in records], ordered=False)
            except BulkWriteError as error:
                # none is replaced where a later attempt or a success is there; the insert that is tried instead finds
                # its key taken
                if any(it.get("code") != _DUPLICATE_KEY for it in error.details["writeErrors"]):
                    raise

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock(), dt.UTC)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say in one sentence what the driver says in a paragraph."""
        try:
            yield
        except OperationFailure as error:
            if error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED):
                raise BrokerError(
                    f"MongoDB at {self._shown} refuses the login, or this user may not write to the database "
                    f"{self._jobs.database.name!r}; check user, password and authSource in the url"
                ) from None
            raise BrokerError(f"MongoDB at {self._shown}: {error}") from None
        except ConnectionFailure as error:
            reason = str(error).split(" (configured timeouts", maxsplit=1)[0].split(", Timeout:", maxsplit=1)[0]
            raise BrokerUnavailable(f"MongoDB at {self._shown} cannot be reached: {reason}") from None
        except PyMongoError as error:
            raise BrokerError(f"MongoDB at {self._shown}: {error}") from None

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait_change(self, seconds: float) -> None:
        """Return when a result has been kept, or after `seconds`."""
        self._changes.wait(seconds)

    def _watch(self) -> Any:
        return self._jobs.watch(_CHANGES, max_await_time_ms=1000)

    def wake(self) -> None:
        """Make every wait return."""
        self._changes.note()

    # -- the end --------------------------------------------------------------------------------------------------

    def prune(self, limit: int) -> int:
        """Do nothing: MongoDB removes what is too old."""
        return 0

    def close(self) -> None:
        """Close the connections."""
        self._changes.close()
        self._client.close()


def _replace(record: JobRecord, until: dt.datetime) -> ReplaceOne[dict[str, Any]]:
    document = {
        "_id": record.id,
        "attempt": record.attempt,
        "until": until,
        "task": record.task,
        "queue": record.queue,
        "state": str(record.state),
        "record": _encode(record),
    }
    replaced = {"_id": record.id, "attempt": {"$lte": record.attempt}, "state": {"$ne": str(JobState.SUCCEEDED)}}
    return ReplaceOne(replaced, document, upsert=True)


class _Changes:
    """Counts the changes of a collection, for threads to wait for the next one. Its own thread reads the stream."""

    def __init__(self, watch: Callable[[], Any]) -> None:
        self._watch = watch
        self._changed = threading.Condition()
        self._count = 0
        self._seen = threading.local()
        self._thread: threading.Thread | None = None
        self._polls = False
        self._closed = False

    def note(self) -> None:
        """End every wait."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Return when there was a change since this thread waited last, or after `seconds`."""
        with self._changed:
            if self._thread is None and not self._polls:
                self._thread = threading.Thread(target=self._read, name="worklist-mongodb", daemon=True)
                self._thread.start()
            if self._count == getattr(self._seen, "count", -1):
                self._changed.wait(min(seconds, self._pause()))
            self._seen.count = self._count

    def _pause(self) -> float:
        """Return how long this thread sleeps at most: longer each time where nothing tells of changes."""
        if not self._polls:
            return threading.TIMEOUT_MAX
        now = time.monotonic()
        first, longest = POLL_SECONDS
        fresh = now - getattr(self._seen, "at", 0.0) > 2 * longest
        self._seen.pause = first if fresh else min(longest, self._seen.pause * 1.5)
        self._seen.at = now
        return float(self._seen.pause)

    def _read(self) -> None:
        while not self._closed:
            try:
                with self._watch() as stream:
                    self.note()  # what happened before the stream began was not told
                    while stream.alive and not self._closed:
                        if stream.try_next() is not None:
                            self.note()
            except OperationFailure as error:
                if error.code == _NO_REPLICA_SET:
                    self._polls = True
                    self.note()
                    return
                self._rest()
            except PyMongoError:
                self._rest()

    def _rest(self) -> None:
        self.note()
        time.sleep(0.0 if self._closed else _AFTER_TROUBLE_SECONDS)

    def close(self) -> None:
        """End all waits, and the thread within a second."""
        self._closed = True
        self.note()
