"""The queue on RabbitMQ: jobs are messages, a lease is an unacknowledged delivery, a settle ends by acknowledging it.

RabbitMQ moves messages and remembers nothing of them, so results go to a store beside it. Nothing can be changed in
both at once: a settle publishes what is to come first, then keeps results, and acknowledges last. Whatever breaks in
between, the job is delivered again; a store that has its result already has it acknowledged without another run.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial

import msgspec

from ...core.codec import Codec
from ...core.errors import BrokerUnavailable, UndecodableJob
from ...core.job import KEEP_UNRUN, Job, JobId, JobRecord, JobState
from ...core.outcome import Cancel, Done, Fail, Retry, Snooze, lost_worker
from ...core.ports import Extended, Lease, Report, ResultsPolicy, ResultStore, Settlement, WorkerInfo
from . import envelope, frames
from .connection import Address
from .consumer import HOSTAGE_SECONDS, Consumer
from .envelope import History, history_of, with_error
from .frames import Message
from .holding import HOLD_SECONDS, Holding
from .publisher import Parcel, Publisher
from .replies import Replies
from .topology import Names, QueueType, band_of
from .without import CAPABILITIES, Without, refuse

_MAX_TASK = 200
"""Bytes of a task's name that stand in the properties of a message."""
_ENDS: dict[type, JobState] = {Done: JobState.SUCCEEDED, Fail: JobState.FAILED, Cancel: JobState.CANCELLED}


class RabbitBroker(Without):
    """A Store on RabbitMQ. Records of finished jobs go to `results`; None: back to the process that put the job."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        address: Address,
        codec: Codec | None = None,
        *,
        results: ResultStore | None = None,
        prefix: str = "worklist",
        queue_type: QueueType = "quorum",
        hold: float = HOLD_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._codec = codec or Codec()
        self._clock = clock
        self._names = Names(prefix)
        self._replies = Replies(address, self._names, queue_type, self._codec) if results is None else None
        self._results: ResultStore = results if results is not None else self._replies  # type: ignore[assignment]
        self._publishing = threading.Lock()
        self._publisher = Publisher(address, self._names, queue_type)
        self._consumer = Consumer(address, self._names, queue_type)
        self._cancelled: Collection[JobId] = frozenset()
        """Jobs that are not to be started any more, as far as is known here."""
        self._holding = Holding(self._consumer, self._publish, self._names, queue_type, hold)

    # -- putting --------------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs (see Broker.put). Where the connection breaks meanwhile, one may be there twice."""
        now = self._clock()
        self._put_tied([job for job in jobs if self._is_tied(job)])
        reply_to = self._replies.address_for(jobs) if self._replies is not None else ""
        self._publish([self._parcel(job, reply_to, now) for job in jobs])
        return [job.id for job in jobs]

    def _is_tied(self, job: Job) -> bool:
        """Return whether a job needs more than a message: others depend on it, or it on them."""
        ties = job.ties
        if ties is None:
            return job.key is not None
        return job.key is not None or any((ties.lane, ties.group, ties.after, ties.followed))

    def _put_tied(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs that need more than messages."""
        for job in jobs:
            if job.key is not None:
                refuse("hold keys of jobs")
            if job.ties is not None and job.ties.lane is not None:
                refuse("hold lanes")
            refuse("hold groups of jobs, or jobs that wait for others")

    def _parcel(self, job: Job, reply_to: str, now: float) -> Parcel:
        delay = job.due(now) - now if job.delay or job.eta else 0.0
        body = self._codec.encode(job)
        wrapped = job.expires is not None
        if job.expires is not None:
            body = envelope.encode(History(body, enqueued=now, expires=now + job.expires))
        queue = self._names.queue(job.queue, band_of(job.priority))
        return Parcel(job.id, queue, _properties(job.id, job.task, reply_to, now, wrapped), body, delay)

    def _publish(self, parcels: Sequence[Parcel]) -> None:
        if parcels:
            with self._publishing:
                self._publisher.publish(parcels)

    # -- leasing --------------------------------------------------------------------------------------------------

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take due jobs (see Broker.lease). What is on its way from RabbitMQ comes with a later call."""
        if limit <= 0:
            return []
        now = self._clock()
        with self._consumer.lock:
            taken = self._consumer.take(queues, limit, seconds / 2)
            generation = self._consumer.generation
        plain = [message for message in taken if not self._is_special(message)]
        leases = [self._fresh_lease(message, generation, now) for message in plain]
        if len(plain) < len(taken):
            others = [message for message in taken if self._is_special(message)]
            try:
                leases += self._lease_others(others, generation, now)
            except BrokerUnavailable:
                with self._consumer.lock:
                    self._consumer.untake(others)  # it takes the store of results to know whether they have ended
                if not leases:
                    raise
        return leases

    def _is_special(self, message: Message) -> bool:
        """Return whether a job has a history, or is not wanted any more."""
        return message.wrapped or message.redelivered or message.again or message.id in self._cancelled

    def _fresh_lease(self, message: Message, generation: int, now: float) -> Lease:
        message.started = now
        return Lease(message.id, message.tag, message.body, 1, 0, generation)

    def _lease_others(self, messages: Sequence[Message], generation: int, now: float) -> list[Lease]:
        """Lease jobs with a history, but for those that have ended, and those whose losses RabbitMQ does not count."""
        leases = []
        uncounted: list[Message] = []
        ended: list[tuple[Message, JobRecord]] = []
        for message in messages:
            message.history = self._history(message, now)
        over = self._over([message.id for message in messages if _may_have_run(message)])
        for message in messages:
            history = message.history
            message.started = now
            state = self._end_of(message, history, over, now)
            if state is not None:
                ended.append((message, _record(message, state, history.attempt, now, errors=history.errors)))
            elif _is_uncounted(message):
                uncounted.append(message)
            else:
                attempt = history.attempt + 1
                leases.append(Lease(message.id, message.tag, history.body, attempt, history.lost, generation))
        if ended:
            self._end(ended, over)
        self._put_again(uncounted)
        return leases

    def _history(self, message: Message, now: float) -> History:
        """Return what has become of a job; deliveries that ended with their worker are counted by RabbitMQ."""
        history = history_of(message)
        lost = _deliveries(message)
        for _ in range(lost):
            history.attempt += 1
            history.lost += 1
            error = lost_worker("that held it", history.attempt, now)
            history.errors = with_error(history.errors, error)
        return history

    def _over(self, ids: Sequence[JobId]) -> set[JobId]:
        """Return which of these jobs have a result already: their acknowledgement was lost, or they came twice."""
        if not ids or self._replies is not None:
            return set()
        return {it.id for it in self._results.load(ids) if it is not None and it.state.finished}

    def _end_of(self, message: Message, history: History, over: set[JobId], now: float) -> JobState | None:
        """Return in which state a job has ended that is not to be started."""
        if message.id in over:
            return JobState.SUCCEEDED
        if message.id in self._cancelled:
            return JobState.CANCELLED
        if history.expires is not None and history.expires <= now:
            return JobState.EXPIRED
        if history.lost and history.lost > self._redeliveries(history.body):
            return JobState.FAILED
        return None

    def _redeliveries(self, body: bytes) -> int:
        try:
            return self._codec.decode(body).redeliveries
        except UndecodableJob:
            return Job("", "").redeliveries

    def _end(self, ended: Sequence[tuple[Message, JobRecord]], over: set[JobId]) -> None:
        """Keep the records of jobs that end without a worker, and acknowledge them."""
        news = [(message, record) for message, record in ended if message.id not in over]
        if self._replies is not None:
            self._publish([self._reply(message, record, KEEP_UNRUN) for message, record in news if message.reply_to])
        elif news:
            self._results.keep([record for _, record in news], KEEP_UNRUN)
        with self._consumer.lock:
            self._consumer.done([message.tag for message, _ in ended if message.tag in self._consumer.held])

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Keep the connection alive, which is what holds leases; those of one that has ended are lost."""
        with self._consumer.lock:
            self._consumer.look()
            generation = self._consumer.generation
            waiting = self._consumer.withdraw(HOSTAGE_SECONDS)
        self._put_back(waiting)
        self._holding.renew(leases, seconds, self._clock())
        return Extended(frozenset(lease.number for lease in leases if lease.number != generation))

    def _put_back(self, messages: Sequence[Message]) -> None:
        """Have others take messages that nobody has leased here; RabbitMQ's own way would count as a lost worker."""
        now = self._clock()
        for message in messages:
            message.history = self._history(message, now)
        self._put_again(messages)

    def _put_again(self, messages: Sequence[Message]) -> None:
        """Publish messages with their history, and acknowledge them as they came."""
        if messages:
            self._publish([self._again(message, message.history) for message in messages])
            with self._consumer.lock:
                self._consumer.done([message.tag for message in messages if message.tag in self._consumer.held])

    # -- settling -------------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Publish what is to come, keep results, acknowledge (see Broker.settle): in this order, not at once."""
        if not settlements:
            return
        ours = self._still_ours(settlements)
        if not ours:
            return
        now = self._clock()
        self._pass_on([pair for pair in ours if not pair[1].passed_on], now)
        kept: defaultdict[float, list[JobRecord]] = defaultdict(list)
        for settlement, message in ours:
            state = _ENDS.get(type(settlement.outcome))
            if state is not None and self._replies is None and _is_kept(state, settlement.results):
                kept[settlement.keep].append(_ended_record(settlement, message, state, now))
        for seconds, records in kept.items():
            self._results.keep(records, seconds)
        with self._consumer.lock:
            held = self._consumer.held
            self._consumer.done([message.tag for _, message in ours if held.get(message.tag) is message])
            self._holding.release([settlement.lease for settlement, _ in ours])

    def _still_ours(self, settlements: Sequence[Settlement]) -> list[tuple[Settlement, Message]]:
        """Return the settlements with their messages, but for those whose connection has ended meanwhile."""
        with self._consumer.lock:
            self._consumer.look()
            generation, held = self._consumer.generation, self._consumer.held
            ours = [it for it in settlements if it.lease.number == generation]
            found = [(it, held.get(it.lease.token) or self._holding.message_of(it.lease)) for it in ours]
            return [(settlement, message) for settlement, message in found if message is not None]

    def _pass_on(self, ours: Sequence[tuple[Settlement, Message]], now: float) -> None:
        """Publish followers, what is to run again, and replies: once, also where the settle has to be repeated."""
        parcels: list[Parcel] = []
        tied: list[Job] = []
        for settlement, message in ours:
            state = _ENDS.get(type(settlement.outcome))
            if state is None:
                parcels.append(self._put_off(settlement, message))
                continue
            if settlement.followers and state is JobState.SUCCEEDED:
                tied += [job for job in settlement.followers if self._is_tied(job)]
                plain = [job for job in settlement.followers if not self._is_tied(job)]
                parcels += [self._parcel(job, message.reply_to, now) for job in plain]
            if self._replies is not None and message.reply_to and _is_kept(state, settlement.results):
                record = _ended_record(settlement, message, state, now)
                parcels.append(self._reply(message, record, settlement.keep))
        if tied:
            self._put_tied(tied)
        if parcels:
            self._publish(parcels)
            for _, message in ours:
                message.passed_on = True

    def _put_off(self, settlement: Settlement, message: Message) -> Parcel:
        """Return the message of a job that is to be run again."""
        lease, outcome = settlement.lease, settlement.outcome
        history = message.history or history_of(message)
        history.attempt, history.lost = lease.attempt, lease.lost
        if isinstance(outcome, Snooze):
            history.attempt -= 1
        error = outcome.error if isinstance(outcome, Retry) else None
        history.errors = with_error(history.errors, error)
        delay = outcome.delay if isinstance(outcome, Retry | Snooze) else None
        return self._again(message, history, delay or 0.0)

    def _again(self, message: Message, history: History, delay: float = 0.0) -> Parcel:
        properties = _properties(message.id, message.task, message.reply_to, float(message.time), wrapped=True)
        return Parcel(message.id, message.origin, properties, envelope.encode(history), delay)

    def _reply(self, message: Message, record: JobRecord, keep: float) -> Parcel:
        expiration = str(max(1, round(keep * 1000)))
        properties = partial(frames.properties, message.id, "", "", message.time, expiration=expiration)
        body = self._codec.seal(envelope.encode(record))
        return Parcel(message.id, message.reply_to, lambda again: properties(again=again), body, ours=False)

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease."""
        self.settle(settlements)
        return self.lease(worker, queues, limit, seconds)

    def report(self, reports: Sequence[Report]) -> None:
        """Forget what running jobs say: RabbitMQ has no place for it."""

    # -- waiting --------------------------------------------------------------------------------------------------

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether there are jobs that are still on their way here."""
        with self._consumer.lock:
            return not self._consumer.is_empty(queues)

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Wait for work (see Broker.wait)."""
        self._consumer.wait(queues, seconds)

    def wake(self) -> None:
        """Make every wait return."""
        self._consumer.wake()
        self._results.wake()

    # -- results --------------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of jobs. One that has no record yet counts as queued: nobody can look for it."""
        found = self._results.load(ids)
        return [unheard(id) if record is None else record for id, record in zip(ids, found, strict=True)]

    def wait_change(self, seconds: float) -> None:
        """Wait until some job may have changed."""
        self._results.wait_change(seconds)

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Refuse to keep the records of another broker's jobs."""
        refuse("keep results")

    def prune(self, limit: int) -> int:
        """Remove results whose time is over."""
        return self._results.prune(limit)

    # -- the end --------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return this machine's time: RabbitMQ does not tell its own."""
        return self._clock()

    def goodbye(self, worker: str) -> None:
        """Hand back what was never leased."""
        with self._consumer.lock:
            waiting = self._consumer.withdraw()
        self._put_back(waiting)

    def close(self) -> None:
        """Close all connections."""
        self._consumer.close()
        with self._publishing:
            self._publisher.close()
        self._results.close()


def _properties(id: JobId, task: str, reply_to: str, time: float, wrapped: bool) -> Callable[[bool], bytes]:
    """Return what makes the properties of a job's message."""
    task = task if len(task) <= _MAX_TASK else ""
    make = partial(frames.properties, id, task, reply_to, int(time), wrapped=wrapped)
    return lambda again: make(again=again)


def _deliveries(message: Message) -> int:
    """Return how many deliveries of a message ended without an acknowledgement."""
    count = (message.headers or {}).get("x-delivery-count")
    return count if isinstance(count, int) and message.redelivered else int(message.redelivered)


def _may_have_run(message: Message) -> bool:
    """Return whether a job may have been started before: who only handed it back has not, and nobody need be asked."""
    return message.redelivered or message.again or message.history.attempt > 0


def _is_uncounted(message: Message) -> bool:
    """Return whether RabbitMQ tells only that there were such deliveries: classic queues do not count them."""
    return message.redelivered and "x-delivery-count" not in (message.headers or {})


def _is_kept(state: JobState, policy: ResultsPolicy) -> bool:
    return policy == "all" or (policy == "failures" and state is not JobState.SUCCEEDED)


def _ended_record(settlement: Settlement, message: Message, state: JobState, now: float) -> JobRecord:
    lease, outcome = settlement.lease, settlement.outcome
    errors = message.history.errors if message.history is not None else ()
    record = _record(message, state, lease.attempt, now, errors=errors)
    changes: dict[str, object] = {"lost": lease.lost}
    if isinstance(outcome, Done):
        changes["result"] = outcome.result
    if isinstance(outcome, Fail):
        changes["errors"] = (*errors, outcome.error)
    if settlement.progress is not None:
        changes["progress"] = settlement.progress
    if settlement.logs:
        changes["logs"] = tuple(settlement.logs)
    return msgspec.structs.replace(record, **changes)


def _record(message: Message, state: JobState, attempt: int, now: float, errors: Sequence[object] = ()) -> JobRecord:
    """Return the record of a job that has ended. The body of one that succeeded is not kept."""
    history: History | None = message.history
    body = b"" if state is JobState.SUCCEEDED else history.body if history is not None else message.body
    return JobRecord(
        id=message.id,
        task=message.task,
        queue=message.queue,
        state=state,
        body=body,
        attempt=attempt,
        lost=history.lost if history is not None else 0,
        enqueued=(history.enqueued if history is not None else 0.0) or float(message.time),
        started=message.started,
        finished=now,
        errors=tuple(errors),  # type: ignore[arg-type]
    )


def unheard(id: JobId) -> JobRecord:
    """Return the record of a job of which nothing is known: it may be queued or run."""
    return JobRecord(id=id, task="not yet known", queue="", state=JobState.QUEUED, body=b"")
