"""The groups of the model, and the jobs that wait for a group or for another job."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...core.errors import GroupEnded
from ...core.job import KEEP_UNRUN, ErrorInfo, GroupId, JobState
from ...core.outcome import PREDECESSOR_FAILED, predecessor_failed, why_group, why_job
from ...core.ports import GroupRecord
from .rows import Row

Release = Callable[[Row], None]
Cancel = Callable[[Row, ErrorInfo], None]


@dataclass(eq=False, slots=True)
class _Group:
    id: GroupId
    created: float
    members: dict[int, Row] = field(default_factory=dict)
    """Those that are still known, by token."""
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    open: bool = False
    most: int | None = None
    collects: bool = False
    called_off: bool = False
    ended: float | None = None

    @property
    def is_over(self) -> bool:
        return not self.open and self.ended is None and self.total <= self.succeeded + self.failed + self.cancelled

    @property
    def reason(self) -> str:
        return why_group(self.id, self.total, self.failed, self.cancelled, self.called_off)

    @property
    def ended_well(self) -> bool:
        return not (self.failed or self.cancelled or self.called_off)

    def count(self, state: JobState, by: int) -> None:
        if state is JobState.SUCCEEDED:
            self.succeeded += by
        elif state is JobState.FAILED:
            self.failed += by
        else:
            self.cancelled += by


class _Known(NamedTuple):
    """How something ended that a job was put to wait for after its end."""

    after: str
    succeeded: bool
    result: bytes | None
    reason: str


class MemoryGroups:
    """Groups by id, and who waits for what.

    `release` and `cancel` do so to a waiting row; `hold_again` gives one its key back where that is free.
    """

    def __init__(self, release: Release, cancel: Cancel, hold_again: Callable[[Row], object]) -> None:
        self._release = release
        self._cancel = cancel
        self._hold_again = hold_again
        self._groups: dict[GroupId, _Group] = {}
        self._waiting: defaultdict[str, list[Row]] = defaultdict(list)  # what is waited for -> who waits
        self._ends: deque[Row] = deque()
        self._over: deque[_Group] = deque()
        self._known: deque[_Known] = deque()

    def find(self, id: GroupId, now: float) -> _Group:
        """Return a group, made where there is none."""
        return self._groups.setdefault(id, _Group(id, now))

    def open(self, id: GroupId, most: int | None, now: float) -> None:
        """Make a group that does not end before it is sealed, with `most` members at most."""
        if id not in self._groups:
            group = self.find(id, now)
            group.open, group.most = True, most

    def room(self, id: GroupId) -> float | None:
        """Return how many more members a group takes; None: any number."""
        group = self._groups.get(id)
        if self.takes_no_more(id):
            return 0
        return None if group is None or group.most is None else group.most - group.total

    def seal(self, id: GroupId) -> None:
        """Let a group end with its last member."""
        group = self._groups.get(id)
        if group is not None and group.open:
            group.open = False
            self._over.append(group)

    def look(self, id: GroupId) -> None:
        """Note that a group may be one of which no member is left to end."""
        self._over.append(self._groups[id])

    def refuse_ended(self, id: GroupId) -> None:
        """Raise GroupEnded where a group takes no member any more."""
        if self.takes_no_more(id):
            how = "was called off" if self._groups[id].called_off else "has ended"
            raise GroupEnded(f"group {id} {how}, so nothing can be added to it; make a new group")

    def takes_no_more(self, id: GroupId) -> bool:
        """Return whether a group has ended or was called off."""
        group = self._groups.get(id)
        return group is not None and (group.ended is not None or group.called_off)

    def join(self, row: Row, id: GroupId, now: float) -> None:
        """Count a new member."""
        group = self.find(id, now)
        group.total += 1
        group.members[row.token] = row
        row.group = id

    def collects(self, row: Row) -> bool:
        """Return whether the results of this row's group are kept for a job that waits for them."""
        return row.group is not None and self._groups[row.group].collects

    def wait(self, row: Row, parent: Row | None, now: float) -> None:
        """Have a new row wait for its parent, or for its group; where that has ended already, note it for `follow`."""
        after = row.ties.after or ""
        self._waiting[after].append(row)
        if after.startswith("g"):
            group = self.find(after, now)
            if group.ended is not None:
                self._known.append(_Known(after, group.ended_well, None, group.reason))
        elif parent is None or not parent.ties.followed:
            reason = f"job {after} is not known any more, or nothing was to follow it"
            self._known.append(_Known(after, False, None, reason))
        elif parent.state.finished:
            ok = parent.state is JobState.SUCCEEDED
            self._known.append(_Known(after, ok, parent.result, _why(parent, None)))

    def note_end(self, row: Row) -> None:
        """Note that a row has ended, for `follow`."""
        self._ends.append(row)

    def follow(self, now: float) -> None:
        """See to what follows from the ends noted since: a job that is cancelled may be one that others wait for."""
        while self._known or self._ends or self._over:
            while self._known:
                self._release_all(*self._known.popleft(), now)
            while self._ends:
                self._count(self._ends.popleft(), now)
            groups, self._over = self._over, deque()
            for group in groups:
                if group.is_over:
                    group.ended = now
                    self._release_all(group.id, group.ended_well, None, group.reason, now)

    def _count(self, row: Row, now: float) -> None:
        if row.ties.followed:
            error = row.errors[-1] if row.errors and row.state is not JobState.EXPIRED else None
            ok = row.state is JobState.SUCCEEDED
            self._release_all(row.job.id, ok, row.result, _why(row, error), now)
        if row.group is not None:
            group = self._groups[row.group]
            group.count(row.state, 1)
            self._over.append(group)

    def _release_all(self, after: str, succeeded: bool, result: bytes | None, reason: str, now: float) -> None:
        for row in sorted(self._waiting[after], key=lambda row: row.token):
            if row.state is not JobState.WAITING:
                continue
            if succeeded or row.ties.when == "all":
                row.given = result if succeeded else None
                self._release(row)
            else:
                self._cancel(row, predecessor_failed(reason, now))

    def retried(self, row: Row, state: JobState) -> None:
        """Take back what followed from the end, in `state`, of a row that is queued again."""
        if row.group is not None:
            group = self._groups[row.group]
            group.count(state, -1)
            if group.ended is not None:
                group.ended, group.called_off = None, False
                self._wait_again(group.id)
        if row.ties.followed:
            self._wait_again(row.job.id)

    def _wait_again(self, after: str) -> None:
        for row in self._waiting[after]:
            if row.state is JobState.CANCELLED and row.errors and row.errors[-1].type == PREDECESSOR_FAILED:
                row.state, row.finished, row.errors = JobState.WAITING, None, []
                self._hold_again(row)
                self.retried(row, JobState.CANCELLED)

    def forget(self, row: Row) -> None:
        """Forget a row that is no longer kept."""
        if row in self._waiting.get(row.ties.after or "", ()):
            self._waiting[row.ties.after or ""].remove(row)
        if row.group is not None:
            self._groups[row.group].members.pop(row.token)

    def record(self, id: GroupId) -> GroupRecord | None:
        """Return what is known of a group."""
        group = self._groups.get(id)
        if group is None:
            return None
        return GroupRecord(
            id=id,
            created=group.created,
            total=group.total,
            succeeded=group.succeeded,
            failed=group.failed,
            cancelled=group.cancelled,
            running=sum(row.state is JobState.RUNNING for row in group.members.values()) if group.ended is None else 0,
            open=group.open,
            called_off=group.called_off,
            ended=group.ended,
        )

    def members(self, id: GroupId) -> list[Row]:
        """Return the members of a group that are still known, in the order in which they were made."""
        group = self._groups.get(id)
        return [] if group is None else sorted(group.members.values(), key=made_at)

    def call_off(self, id: GroupId) -> None:
        """Note that a group was cancelled as a whole."""
        group = self._groups.get(id)
        if group is not None and group.ended is None:
            group.called_off, group.open = True, False
            self._over.append(group)

    def prune(self, limit: int, now: float) -> list[Row]:
        """Forget groups that ended long ago; return the members that were kept for them."""
        rows: list[Row] = []
        for group in sorted(self._groups.values(), key=lambda group: group.ended or 0.0):
            if group.ended is None or group.ended > now - KEEP_UNRUN or self._is_waited_for(group.id):
                continue
            if group.collects:
                rows += [row for row in group.members.values() if row.state.finished][: limit - len(rows)]
            if len(rows) >= limit:
                break
            for row in group.members.values():
                row.group = None
            del self._groups[group.id]
        return rows

    def _is_waited_for(self, id: GroupId) -> bool:
        return any(not row.state.finished for row in self._waiting[id])


def made_at(row: Row) -> tuple[str, int]:
    """Return what orders members: the time in their ids, and for one time the order in which they came."""
    return row.job.id[:16], row.token


def _why(row: Row, error: ErrorInfo | None) -> str:
    """Return how a job ended, as a reason for those that waited for it."""
    return why_job(row.job.task, row.job.id, row.state, error)
