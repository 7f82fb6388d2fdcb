"""What the tests of the contract of brokers share: jobs, leases and outcomes in few words, and threads that wait.

It knows the ports and no broker.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from ..core.job import ErrorInfo, Job, JobId, JobRecord, JobState, new_job_id
from ..core.outcome import Done, Outcome, Retry
from ..core.ports import Lease, Settlement, Store, WorkerInfo
from .inline import FakeClock

T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., object])
LEASE = 30.0
PATIENCE = 60.0
"""Real seconds after which something that should have happened at once counts as not having happened."""
DAY = 86400.0
DONE = Done()


def needs(*capabilities: str) -> Callable[[Test], Test]:
    """Mark a test of what a broker may do without."""

    def mark(test: Test) -> Test:
        test.__dict__["capabilities"] = capabilities
        return test

    return mark


def a_job(task: str = "task", **fields: Any) -> Job:
    """Return a job with a new id."""
    return Job(id=new_job_id(), task=task, **fields)


def a_worker(id: str = "w", **fields: Any) -> WorkerInfo:
    """Return a worker as it reports itself."""
    facts: dict[str, Any] = {"host": "here", "pid": 1, "queues": ("default",), "slots": 1, "started": 0.0}
    return WorkerInfo(id=id, **{**facts, **fields})


def an_error(attempt: int = 1, message: str = "no such file") -> ErrorInfo:
    """Return a failed attempt as text."""
    return ErrorInfo("OSError", message, "Traceback ...", attempt, 12.5)


def a_retry(delay: float = 0.0, error: ErrorInfo | None = None) -> Retry:
    """Return the outcome of an attempt that failed and is to be made again."""
    retry = Retry(delay)
    retry.error = error
    return retry


def lease(store: Store, limit: int = 1, queues: Sequence[str] = ("default",), worker: str = "w") -> list[Lease]:
    """Lease for the usual time."""
    return store.lease(worker, queues, limit, LEASE)


def lease_one(store: Store, worker: str = "w") -> Lease:
    """Lease the one job that has to be due."""
    (only,) = lease(store, 1, worker=worker)
    return only


def leased(store: Store, limit: int = 100, queues: Sequence[str] = ("default",)) -> list[JobId]:
    """Lease, and return the ids."""
    return [it.id for it in lease(store, limit, queues)]


def settle(store: Store, ours: Lease, outcome: Outcome = DONE, **policy: Any) -> None:
    """Settle one lease."""
    store.settle([Settlement(ours, outcome, **policy)])


def record(store: Store, id: JobId) -> JobRecord:
    """Return the record of a job that has to be known."""
    (found,) = store.load([id])
    assert found is not None, f"job {id} is not known"
    return found


def state(store: Store, id: JobId) -> JobState | None:
    """Return a job's state, None where it is not known."""
    (found,) = store.load([id])
    return found.state if found else None


def in_threads(count: int, call: Callable[[int], T]) -> list[T]:
    """Return what `call(0)` … `call(count - 1)` return, each called in a thread of its own, all at once."""
    start = threading.Barrier(count)
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(n: int) -> None:
        try:
            start.wait(PATIENCE)
            results[n] = call(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    assert len(results) == count, "a thread did not return"
    return [results[n] for n in range(count)]


class Waiting:
    """A thread that sits in `wait` for longer than any test is willing to."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(wait,), daemon=True)
        self._thread.start()
        self._begun.wait(PATIENCE)

    def _run(self, wait: Callable[[float], None]) -> None:
        self._begun.set()
        wait(10 * PATIENCE)

    def ends(self, seconds: float = PATIENCE) -> bool:
        """Return whether the wait ends within so many real seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()


class Contract:
    """How the tests get at a broker."""

    def make_broker(self, clock: FakeClock) -> Store:
        """Return a new, empty broker that tells the time by `clock`."""
        raise NotImplementedError("a subclass of BrokerContract says how its broker is made")

    def make_another(self, broker: Store, clock: FakeClock) -> Store:
        """Return a second object on the same store, as another process would open it; else the same one."""
        return broker

    def plant(self, broker: Store, id: JobId, body: bytes) -> None:
        """Overwrite the stored body of a job behind the broker's back."""
        raise NotImplementedError("a subclass of BrokerContract says how a stored body is damaged")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock of the broker under test."""
        return FakeClock()

    @pytest.fixture
    def broker(self, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Store]:
        """Give the broker under test, closed afterwards."""
        broker = self.make_broker(clock)
        for name in getattr(request.function, "capabilities", ()):
            if not getattr(broker.capabilities, name):
                pytest.skip(f"this broker declares that it cannot do {name}")
        yield broker
        broker.close()
