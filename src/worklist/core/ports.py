"""The narrow interfaces between the queue and what carries it: Broker, ResultStore, Inspector, Executor.

Every verb is plural, synchronous and thread-safe. Time, keys, priority and expiry are fields of a Job, not
methods. What each verb promises is said in its docstring and held by `worklist.testing.BrokerContract`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from .job import GroupId, Job, JobId, JobRecord, JobState, Progress
from .lane import Lane, LaneLimits
from .outcome import Outcome
from .schedule import Schedule

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
    lane: bool = True
    group: bool = True
    """Groups, followers, and jobs that wait for others."""
    schedule: bool = True
    complete: bool = True
    """Lists, counts and changes know every job; else those with a record, and messages are only counted."""
    transaction: bool = False
    """Jobs can be put in a transaction of the caller's own, on a connection of the same database."""


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
    tied: int = 0
    """Whether more than the job itself is to be changed when it ends; the broker's own bits."""
    given: bytes | None = None
    """The result of the job that it waited for."""


class Settlement(msgspec.Struct, gc=False):
    """The end of one lease, to be written down."""

    lease: Lease
    outcome: Outcome
    results: ResultsPolicy = "all"
    keep: float = 604800.0
    """Seconds for which the finished job is kept."""
    progress: Progress | None = None
    followers: Sequence[Job] = ()
    """Jobs that come to exist with this settle."""
    logs: Sequence[str] = ()
    """The last lines that the job has logged."""


class Report(msgspec.Struct, gc=False):
    """What a running job says of itself."""

    lease: Lease
    progress: Progress | None = None
    logs: Sequence[str] | None = None
    """The last lines that it has logged, where there are new ones."""


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
    rate: float = 0.0
    """Jobs a second, on average over the last minute."""


class Extended(msgspec.Struct, frozen=True):
    """What `extend` learned."""

    lost: frozenset[int] = frozenset()
    """Numbers of the leases that are no longer ours."""
    cancelled: frozenset[JobId] = frozenset()
    """Jobs of ours that somebody asked to stop."""


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one group. Its members are counted as they are put and as they end."""

    id: GroupId
    created: float
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    """Or expired."""
    running: int = 0
    open: bool = False
    """Members may still be added from outside, so it does not end."""
    called_off: bool = False
    """It was cancelled as a whole."""
    ended: float | None = None
    """Unix time at which its last member ended."""

    @property
    def finished(self) -> int:
        """How many members have ended, however."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def waiting(self) -> int:
        """How many members have not begun."""
        return self.total - self.finished - self.running


class LaneChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to set of a lane; what is UNSET stays."""

    limits: LaneLimits | msgspec.UnsetType = msgspec.UNSET
    """Pins the lane: what tasks declare no longer counts. """
    weight: float | msgspec.UnsetType = msgspec.UNSET
    paused: float | msgspec.UnsetType = msgspec.UNSET
    """Until when; infinite: until it is resumed; 0: not."""
    pinned: bool | msgspec.UnsetType = msgspec.UNSET

    def apply_to(self, lane: Lane) -> None:
        """Set it of `lane`."""
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if value is not msgspec.UNSET:
                setattr(lane, field, value)


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

        A group comes to be with the first job that names it. Raises GroupEnded for a member of one that has ended.
        A job that waits is put together with the job that it waits for, or after it; a group may be waited for at
        any time.
        """

    def lease(self, worker: str, queues: Sequence[str], limit: int, seconds: float) -> list[Lease]:
        """Take up to `limit` due jobs for `seconds`: queues in the order given, priority, then first in first out.

        Jobs whose worker let its lease lapse are due again, or failed where too many workers died with them;
        jobs past their expiry are expired, and paused queues passed over.

        Lanes of a queue take turns, and the jobs in no lane take turns with them as one more. A lane that is paused,
        has spent its tokens or is at its ceiling is passed over without a look.
        """

    def extend(self, worker: WorkerInfo, leases: Sequence[Lease], seconds: float) -> Extended:
        """Hold these leases for `seconds` from now, report the worker alive, and hear what is no longer wanted."""

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down how leases ended, in one transaction. A lease that is no longer ours is ignored.

        With a job that has ended, in the same transaction: its lane and its group are told, its followers are put,
        the jobs that waited for it are due or cancelled. Followers of a group that was called off, or is full, are
        not put.
        """

    def exchange(
        self,
        settlements: Sequence[Settlement],
        worker: str,
        queues: Sequence[str],
        limit: int,
        seconds: float,
    ) -> list[Lease]:
        """Settle, then lease, in one transaction: the busy loop of a worker."""

    def report(self, reports: Sequence[Report]) -> None:
        """Write down how far running jobs have come, and what they log."""

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether there are jobs that only the rate or the ceiling of their lane keeps from being leased.

        They may have come to be free since the last lease; those in a paused lane or queue do not count.
        """

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


@runtime_checkable
class LeasesWhenDue(Protocol):
    """What a broker may have besides, where to wait and then to lease would be two ways to a server and back."""

    def lease_when_due(
        self, worker: str, queues: Sequence[str], limit: int, seconds: float, patience: float
    ) -> list[Lease]:
        """Do what `lease` does as soon as there is work, or return none after `patience` seconds or at a `wake`."""


class Transactions(Protocol):
    """What a broker has whose capabilities name `transaction`."""

    def put_within(self, connection: Any, jobs: Sequence[Job]) -> list[JobId]:
        """Add jobs as `put` does, in the transaction that is under way on `connection`, and visible with its commit.

        Raises ConfigError for a connection that is of another kind, or leads elsewhere.
        """


class Groups(Protocol):
    """Groups as wholes. Their members are jobs like others, and name the group."""

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group, if there is none, that does not end before it is sealed.

        Of followers that are members of it, no more are put than make `most` members; a key that is held takes no
        room.
        """

    def seal_group(self, id: GroupId) -> None:
        """Let the group end with its last member; members may still add others while they run."""

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Return what is known of each group, None for one that is unknown."""

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended, in the order of their end, those after the given time and id first."""

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of all members in the order in which they were made; None for one that has none."""

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop; return how many members that were.

        The group takes no member any more, and ends with the last one, also if it was open.
        """


class Lanes(Protocol):
    """Lanes, for people to look at and to change."""

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return these lanes as they are now, or all, by name; one that nobody has used or set is left out."""

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane, which need not exist yet. Persisted."""


class Schedules(Protocol):
    """Schedules, for any number of beats at once."""

    def now(self) -> float:
        """Return unix seconds by the broker's clock."""

    def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""

    def save_schedule(self, schedule: Schedule, seen: Schedule | None) -> bool:
        """Store a schedule in the place of `seen`, the one of its name as it was read; None: there was none.

        Only where that is still so, for nobody to undo what another has done meanwhile; return whether it was.
        """

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule; return whether it was there."""

    def tick(self, seen: Schedule, due: float, last: float | None, jobs: Sequence[Job]) -> list[JobId] | None:
        """Put `jobs`, and note when the schedule is due next and which tick was the last, in one transaction.

        Only where the stored schedule is still `seen`, so that of many beats one puts the jobs. Returns what `put`
        returns; None where another beat was faster, or the schedule has changed.
        """


class ResultStore(Protocol):
    """Where outcomes are kept and waited for. A broker that keeps them itself is its own ResultStore."""

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of each job, None for one that is unknown."""

    def wait_change(self, seconds: float) -> None:
        """Return as soon as some job may have changed, or after `seconds`."""

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Keep the records of jobs that have ended in another broker, which keeps none, for so long.

        A record takes the place of one that is there, unless that is of a later attempt or of a job that succeeded:
        a job that came twice there has one result, the first.
        """

    def prune(self, limit: int) -> int:
        """Remove records whose time is over, about `limit` at most; return how many."""

    def wake(self) -> None:
        """Make every `wait_change` under way in this process return."""

    def close(self) -> None:
        """Give back connections and files."""


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


class Store(Broker, ResultStore, Inspector, Groups, Lanes, Schedules, Protocol):
    """All ports in one adapter, as SQL brokers are."""


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
