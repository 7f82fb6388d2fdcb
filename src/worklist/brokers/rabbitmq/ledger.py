"""RabbitMQ and a ledger: a store of ours beside it that keeps results, and holds the jobs that need more than messages.

A job with ties (a key, a lane, a group, a job that it waits for or that waits for it) and one that a schedule or a
transaction of the caller's puts stands in the ledger, whose own code keeps every promise about it. All others go
through RabbitMQ as they do without a ledger. A worker leases from both: by turns each is asked first, and gets as much
room as it can fill. Where one of the two is away, the other one is served.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from ...core.codec import Codec
from ...core.errors import BrokerUnavailable, GroupEnded
from ...core.events import log
from ...core.job import Job, JobId, JobRecord, JobState
from ...core.outcome import HAND_BACK
from ...core.ports import Change, Extended, Lease, Report, Settlement, Store, WorkerInfo
from .bell import Bell
from .broker import RabbitBroker, unheard
from .connection import Address
from .of_ledger import OfLedger
from .orders import READ_SECONDS, Orders
from .without import with_ledger

ASK_SECONDS = 0.05
"""How long the ledger may go unasked while RabbitMQ has work."""
REST_SECONDS = 1.0
"""For how long, at least, one that does not answer is left alone, so that the other one is served."""
_REMEMBERED = 10_000
"""Of how many jobs that were put in the ledger a process remembers that they were."""


class LedgerBroker(OfLedger, RabbitBroker):
    """A Store on RabbitMQ and a ledger. `queues` returns the queues of the app, to be counted."""

    def __init__(
        self,
        address: Address,
        codec: Codec | None = None,
        *,
        ledger: Store,
        queues: Callable[[], Sequence[str]] = tuple,
        **options: Any,
    ) -> None:
        super().__init__(address, codec, results=ledger, **options)
        self.capabilities = with_ledger(ledger.capabilities)
        self._ledger = ledger
        self._queues = queues
        self._bell = Bell(ledger, self._consumer.wake)
        self._orders = Orders(ledger)
        self._messages_away, self._ledger_away = _Away("RabbitMQ"), _Away("the ledger of RabbitMQ")
        self._ledger_first = False
        self._asked_at = 0.0
        self._expects_more = True
        self._spare: list[Lease] = []
        self._entered: dict[JobId, None] = {}

    # -- putting --------------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs, those with ties to the ledger, first (see Broker.put).

        Where RabbitMQ does not take the others, those with ties are there.
        """
        tied = [job for job in jobs if self._is_tied(job)]
        if not tied:
            return super().put(jobs)
        holders = dict(zip((job.id for job in tied), self._enter(tied), strict=True))
        if len(tied) < len(jobs):
            super().put([job for job in jobs if job.id not in holders])
        return [holders.get(job.id, job.id) for job in jobs]

    def _enter(self, jobs: Sequence[Job]) -> list[JobId]:
        ids = self._ledger.put(jobs)
        self._remember(ids)
        return ids

    def _remember(self, ids: Collection[JobId]) -> None:
        """Remember that jobs stand in the ledger: where it does not know them any more, nobody does."""
        self._entered |= dict.fromkeys(ids)
        while len(self._entered) > _REMEMBERED:
            self._entered.pop(next(iter(self._entered)), None)

    def _put_tied(self, jobs: Sequence[Job]) -> None:
        """Put followers in the ledger, but for those whose group takes no member any more."""
        try:
            self._ledger.put(jobs)
        except GroupEnded:
            for job in jobs:
                with suppress(GroupEnded):
                    self._ledger.put([job])

    # -- leasing --------------------------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs from both (see Broker.lease)."""
        return self.exchange((), worker, queues, limit, seconds)

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle with both, then lease from both; of the ledger that is one transaction.

        Raises BrokerUnavailable where one does not answer and the other one has nothing.
        """
        carried, entered = _by_origin(settlements)
        super().settle(carried)
        may_have = self._expects_more or time.monotonic() - self._asked_at > ASK_SECONDS
        self._ledger_first = not self._ledger_first
        if self._ledger_first and (entered or may_have):
            taken = self._take_entries(entered, worker, queues, limit, seconds)
            taken += self._take_messages(worker, queues, limit - len(taken), seconds)
        else:
            taken = self._take_messages(worker, queues, limit, seconds)
            room = limit - len(taken)
            if entered or (room > 0 and (may_have or not taken)):
                try:
                    taken += self._take_entries(entered, worker, queues, room, seconds)
                except BrokerUnavailable:
                    self._spare = taken + self._spare
                    raise
        trouble = self._messages_away.news() or self._ledger_away.news()
        if trouble is not None and not taken:
            raise trouble
        return taken

    def _take_messages(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Lease from RabbitMQ, if it answers, and its queues do not rest."""
        spare, self._spare = self._spare[:limit], self._spare[limit:]
        if limit <= len(spare) or self._messages_away.rests():
            return spare
        begun = time.monotonic()
        try:
            awake = self._awake(queues)
            return spare + (super().lease(worker, awake, limit - len(spare), seconds) if awake else [])
        except BrokerUnavailable as error:
            self._messages_away.begin(error, begun)
            return spare

    def _awake(self, queues: Sequence[str]) -> Sequence[str]:
        """Return the queues that do not rest, and let others have what has come of those that do."""
        self._read_orders()
        self._cancelled = self._orders.cancelled
        awake = self._orders.awake(queues)
        if len(awake) < len(queues):
            with self._consumer.lock:
                waiting = [] if self._consumer.consumes_only(awake) else self._consumer.withdraw()
            self._put_back(waiting)
        return awake

    def _read_orders(self) -> None:
        if self._ledger_away.rests():
            return
        begun = time.monotonic()
        try:
            self._orders.read()
        except BrokerUnavailable as error:
            self._ledger_away.begin(error, begun)

    def _take_entries(
        self, entered: Sequence[Settlement], worker: str, queues: Sequence[str], limit: int, seconds: float
    ) -> list[Lease]:
        """Settle and lease in the ledger. Raises BrokerUnavailable where there was something to settle."""
        if not entered and self._ledger_away.rests():
            return []
        begun = time.monotonic()
        try:
            entries = self._ledger.exchange(entered, worker, queues, limit, seconds)
        except BrokerUnavailable as error:
            self._ledger_away.begin(error, begun)
            if entered:
                raise
            return []
        self._asked_at = time.monotonic()
        self._expects_more = len(entries) >= limit
        return entries

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Hold leases of both, and hear what is no longer wanted (see Broker.extend)."""
        carried = [lease for lease in leases if lease.number < 0]
        lost: frozenset[int] = frozenset()
        begun = time.monotonic()
        try:
            lost = super().extend(worker, carried, seconds).lost
        except BrokerUnavailable as error:
            self._messages_away.begin(error, begun)
        ours = self._ledger.extend(worker, [lease for lease in leases if lease.number >= 0], seconds)
        self._ledger_away.end()
        self._orders.read()
        unwanted = {lease.id for lease in carried} & self._orders.cancelled
        return Extended(lost | ours.lost, ours.cancelled | unwanted)

    # -- settling -------------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle with both; what was settled with one when the other fails is not settled again (see Broker.settle)."""
        carried, entered = _by_origin(settlements)
        super().settle(carried)
        if entered:
            self._ledger.settle(entered)

    def report(self, reports: Sequence[Report]) -> None:
        """Write down what jobs of the ledger say of themselves; the others have no record before they end."""
        entered = [report for report in reports if report.lease.number >= 0]
        if entered:
            self._ledger.report(entered)

    # -- waiting --------------------------------------------------------------------------------------------------

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether there are jobs on their way here, or that their lane keeps back."""
        self._read_orders()
        resting = self._messages_away.rests() or self._ledger_away.rests()
        if self._spare or resting or self._ledger.held_back(queues):
            return True
        return super().held_back(self._orders.awake(queues))

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for a message, or for work in the ledger (see Broker.wait)."""
        self._bell.listen(queues)
        if self._messages_away.rests():
            self._bell.wait(min(seconds, REST_SECONDS))
        else:
            self._wait_for_messages(queues, seconds)
        if self._bell.hear():
            self._expects_more = True

    def _wait_for_messages(self, queues: Sequence[str], seconds: float) -> None:
        awake = self._orders.awake(queues)
        if len(awake) < len(queues):
            seconds = min(seconds, READ_SECONDS)
        begun = time.monotonic()
        try:
            self._consumer.wait(awake, seconds, self._bell.rang)
        except BrokerUnavailable as error:
            self._messages_away.begin(error, begun)

    # -- what is known --------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of jobs. One without a record is queued, if RabbitMQ may carry it."""
        found = self._ledger.load(ids)
        return [
            unheard(id) if record is None and self._may_be_carried(id) else record
            for id, record in zip(ids, found, strict=True)
        ]

    def _may_be_carried(self, id: JobId) -> bool:
        """Return whether a job that the ledger does not know may be under way in RabbitMQ."""
        return id not in self._entered

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Count the jobs in the ledger, and as queued the messages that wait in RabbitMQ."""
        counts = self._ledger.counts()
        served = {queue for worker in self.workers() for queue in worker.queues}
        for queue in sorted({*self._queues(), *self._names.queues(), *served, *counts}):
            with self._consumer.lock:
                depth = self._consumer.depth(queue)
            if depth:
                states = counts.setdefault(queue, {})
                states[JobState.QUEUED] = states.get(JobState.QUEUED, 0) + depth
        return counts

    def paused(self) -> list[str]:
        """Return the paused queues."""
        return self._orders.paused()

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue; workers hear of it within a second."""
        self._ledger.pause(queue, paused)

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Change jobs (see Inspector.change).

        What has no record can only be cancelled, by an order that workers follow within a second of reading it. Of
        what ended well in RabbitMQ nothing is kept that could be run again.
        """
        found = self._ledger.load(ids)
        known = [it.id for it in found if it is not None and (it.body or change != "retry")]
        changed = set(self._ledger.change(known, change))
        if change == "cancel":
            unknown = [id for id, it in zip(ids, found, strict=True) if it is None and self._may_be_carried(id)]
            self._orders.cancel(dict.fromkeys(unknown))
            changed.update(unknown)
        return [id for id in dict.fromkeys(ids) if id in changed]

    def purge(self, queue: str, state: JobState) -> int:
        """Remove jobs of a queue in one state; of the queued ones also the messages that wait in RabbitMQ."""
        removed = self._ledger.purge(queue, state)
        if state is JobState.QUEUED:
            with self._consumer.lock:
                removed += self._consumer.purge(queue)
        return removed

    # -- the end --------------------------------------------------------------------------------------------------

    def goodbye(self, worker: str) -> None:
        """Hand back what was never begun, and forget the worker."""
        spare, self._spare = self._spare, []
        try:
            super().settle([Settlement(lease, HAND_BACK) for lease in spare])
            super().goodbye(worker)
        finally:
            self._ledger.goodbye(worker)

    def close(self) -> None:
        """Close all connections, those of the ledger too."""
        self._bell.close()
        super().close()


class _Away:
    """Whether one of the two does not answer, and for how long it is left alone."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._until = float("-inf")
        self._error: BrokerUnavailable | None = None
        self.seconds = REST_SECONDS

    def begin(self, error: BrokerUnavailable, begun: float) -> None:
        """Hear that it has not answered to what `begun` then; the longer that took, the longer it is left alone."""
        now = time.monotonic()
        if now - self._until > max(REST_SECONDS, now - begun):
            log.warning("no jobs come from %s for now, only from the other half: %s", self._what, error)
        self._until, self._error = now + self.seconds * max(1.0, 3 * (now - begun)), error

    def end(self) -> None:
        """Hear that it answers."""
        self._until = min(self._until, time.monotonic())

    def rests(self) -> bool:
        """Return whether it is left alone for now."""
        return time.monotonic() < self._until

    def news(self) -> BrokerUnavailable | None:
        """Return the trouble that nobody has heard of yet."""
        error, self._error = self._error, None
        return error


def _by_origin(settlements: Sequence[Settlement]) -> tuple[list[Settlement], list[Settlement]]:
    """Return those of jobs that RabbitMQ carries, and those of jobs in the ledger."""
    carried = [it for it in settlements if it.lease.number < 0]
    if len(carried) == len(settlements):
        return carried, []
    return carried, [it for it in settlements if it.lease.number >= 0]
