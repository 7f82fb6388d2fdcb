"""What people have ordered of jobs that RabbitMQ carries: queues that rest, and jobs that are to be cancelled.

RabbitMQ can be told neither, so the orders stand in the ledger, among its paused queues, which every worker reads once
a second. A job that is to be cancelled stands there as a queue of its own name, until a worker has ended it.
"""

import threading
import time
from collections.abc import Collection, Sequence

from ...core.job import JobId
from ...core.ports import Store

READ_SECONDS = 1.0
"""How old what is known of orders may be."""
KEPT_SECONDS = 30 * 86400.0
"""After this an order to cancel is dropped: nobody knows a job that it could mean."""
_CANCEL = "worklist:cancel:"


class Orders:
    """The orders as they were a second ago at most."""

    def __init__(self, ledger: Store) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._resting: frozenset[str] = frozenset()
        self.cancelled: frozenset[JobId] = frozenset()
        """Jobs that are not wanted any more."""

    def read(self) -> None:
        """Look again where the last look is too old. Raises BrokerUnavailable where the ledger does not answer."""
        now = time.monotonic()
        if now - self._read_at < READ_SECONDS:
            return
        with self._lock:
            self._read_at = now
            paused = self._ledger.paused()
            self._resting = frozenset(paused)
            orders = {_job_of(name): name for name in paused if name.startswith(_CANCEL)}
            self.cancelled = frozenset(orders)
            if orders:
                self._forget(orders)

    def _forget(self, orders: dict[JobId, str]) -> None:
        """Drop the orders whose jobs have ended, and those that are too old."""
        oldest = time.time() - KEPT_SECONDS
        for record, name in zip(self._ledger.load([*orders]), orders.values(), strict=True):
            if (record is not None and record.state.finished) or _time_of(name) < oldest:
                self._ledger.pause(name, False)

    def awake(self, queues: Sequence[str]) -> Sequence[str]:
        """Return those of `queues` that do not rest."""
        if self._resting.isdisjoint(queues):
            return queues
        return [queue for queue in queues if queue not in self._resting]

    def cancel(self, ids: Collection[JobId]) -> None:
        """Order jobs to be cancelled that no record is known of."""
        for id in ids:
            self._ledger.pause(f"{_CANCEL}{id}:{time.time():.0f}", True)

    def paused(self) -> list[str]:
        """Return the queues that are paused."""
        return [name for name in self._ledger.paused() if not name.startswith(_CANCEL)]


def _job_of(name: str) -> JobId:
    return name.removeprefix(_CANCEL).rpartition(":")[0]


def _time_of(name: str) -> float:
    written = name.rpartition(":")[2]
    return float(written) if written.isdecimal() else 0.0
