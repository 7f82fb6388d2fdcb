"""The narrow interfaces between the queue and what carries it: Broker, ResultStore, Inspector, Executor.

Every verb is plural, synchronous and thread-safe. Time, keys, priority and expiry are fields of a Job, not
methods. What each verb promises is said in its docstring and held by `worklist.testing.BrokerContract`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from .job import Job, JobId, JobRecord, JobState, Progress
from .outcome import Outcome

if TYPE_CHECKING:
    from .execution import Execution

ResultsPolicy = Literal["all", "failures", "none"]
"""What is kept of a finished job: everything, only what did not succeed, or nothing."""
Change = Literal["cancel", "retry", "delete"]


class Capabilities(msgspec.Struct, frozen=True):
    """What a broker can do. A task that asks for more is refused when it is declared."""

    delay: bool = True
    priority: bool = True
    key: bool = True
    expires: bool = True
    inspect: bool = True
    durable: bool = True
    """What was put outlives the process."""


class Lease(msgspec.Struct, gc=False):
    """The numbered, time-limited right to run one job. All leases of one call share their number."""

    id: JobId
    token: int
    """The broker's own name for the job's row."""
    body: bytes
    attempt: int
    """Which attempt this is, from 1; those that were handed back do not count."""
    lost: int
    """How many of the earlier attempts ended with the death of their worker."""
    number: int = 0
    key: str | None = None
    """Its unique key, for the broker to give back."""


class Settlement(msgspec.Struct, gc=False):
    """The end of one lease, to be written down."""

    lease: Lease
    outcome: Outcome
    results: ResultsPolicy = "all"
    keep: float = 604800.0
    """Seconds for which the finished job is kept."""
    progress: Progress | None = None


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, as others see it."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    slots: int
    started: float
    seen: float = 0.0
    """Unix time of its last sign of life, by the broker's clock."""
    running: int = 0
    processed: int = 0


class Extended(msgspec.Struct, frozen=True):
    """What `extend` learned."""

    lost: frozenset[int] = frozenset()
    """Numbers of the leases that are no longer ours."""
    cancelled: frozenset[JobId] = frozenset()
    """Jobs of ours that somebody asked to stop."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs an inspector is asked for; None means any."""

    state: JobState | None = None
    queue: str | None = None
    task: str | None = None
    limit: int = 50
    newest_first: bool = True


class Broker(Protocol):
    """Where jobs are put, leased and settled."""

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs, durably when it returns, all or none.

        Returns an id for each: the job's own, or that of the job which holds its key. A job whose id is
        already there is not added again.
        """

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take up to `limit` due jobs for `seconds`: queues in the order given, priority, then first in first out.

        Jobs whose worker let its lease lapse are due again, or failed where too many workers died with them;
        jobs past their expiry are expired, and paused queues passed over.
        """

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Hold these leases for `seconds` from now, report the worker alive, and hear what is no longer wanted."""

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down how leases ended, in one transaction. A lease that is no longer ours is ignored."""

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease, in one transaction: the busy loop of a worker."""

    def report(self, progress: Sequence[tuple[Lease, Progress]]) -> None:
        """Write down how far running jobs have come."""

    def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Return as soon as there may be work in `queues`, or after `seconds`. Sleeping would be correct too."""

    def goodbye(self, worker: str) -> None:
        """Forget a worker that has ended in good order."""

    def prune(self, limit: int) -> int:
        """Remove finished jobs whose time is over, and expire what waited too long; return how many.

        It stops at `limit`, or a little later where jobs that were settled together go together.
        """

    def wake(self) -> None:
        """Make every `wait` under way in this process return."""

    def close(self) -> None:
        """Give back connections and files."""


class ResultStore(Protocol):
    """Where outcomes are kept and waited for. A broker that keeps them itself is its own ResultStore."""

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of each job, None for one that is unknown."""

    def wait_change(self, seconds: float) -> None:
        """Return as soon as some job may have changed, or after `seconds`."""


class Inspector(Protocol):
    """The read side, for people, and the changes they may make."""

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Return how many jobs each queue has in each state."""

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return the jobs that fit."""

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that have given a sign of life within a lease."""

    def paused(self) -> list[str]:
        """Return the queues that are paused."""

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs; return the ids of those that could be changed.

        `cancel` ends a queued job at once and asks a running one to stop; `retry` queues a finished job again
        with all its attempts; `delete` removes a job that is not running.
        """

    def purge(self, queue: str, state: JobState) -> int:
        """Remove every job of a queue in one state (not `running`); return how many there were."""

    def pause(self, queue: str, paused: bool) -> None:
        """Let no job of this queue be leased, or let them again. Persisted."""


class Store(Broker, ResultStore, Inspector, Protocol):
    """All three ports in one adapter, as SQL brokers are."""


class Executor(Protocol):
    """Runs executions somewhere and never touches the broker."""

    @property
    def slots(self) -> int:
        """How many executions run at the same time."""

    def start(self, finished: Callable[["Execution"], Any]) -> None:
        """Begin; each execution is handed to `finished`, its outcome set, when it has ended."""

    def submit(self, executions: Sequence["Execution"]) -> None:
        """Run these as slots come free, in order."""

    def backlog(self) -> int:
        """Return how many executions wait for a slot."""

    def withdraw(self) -> list["Execution"]:
        """Take back those that wait for a slot."""

    def abort(self, execution: "Execution", reason: BaseException) -> None:
        """Make a running execution stop, by raising `reason` inside it or by killing its process."""

    def stop(self) -> None:
        """End; nothing is waiting or running any more, or is abandoned."""
