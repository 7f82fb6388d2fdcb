"""The verbs of a Store that the ledger answers alone: what it knows is all there is to know."""

from collections.abc import Sequence
from typing import Any

from ...core.job import GroupId, Job, JobId, JobRecord
from ...core.lane import Lane
from ...core.ports import Filter, GroupRecord, LaneChange, Store, WorkerInfo
from ...core.schedule import Schedule


class OfLedger:
    """Verbs that are the ledger's own."""

    _ledger: Store

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return jobs that have a record: all with ties, and of the others those that have ended."""
        return self._ledger.find(wanted)

    def workers(self) -> list[WorkerInfo]:
        """Return the workers (see Inspector.workers)."""
        return self._ledger.workers()

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group (see Groups.open_group)."""
        self._ledger.open_group(id, most)

    def seal_group(self, id: GroupId) -> None:
        """Let a group end (see Groups.seal_group)."""
        self._ledger.seal_group(id)

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Return what is known of groups (see Groups.load_groups)."""
        return self._ledger.load_groups(ids)

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended (see Groups.members)."""
        return self._ledger.members(id, ended_after, limit)

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of a group (see Groups.results)."""
        return self._ledger.results(id)

    def call_off(self, id: GroupId) -> int:
        """Cancel a group (see Groups.call_off)."""
        return self._ledger.call_off(id)

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes (see Lanes.lanes)."""
        return self._ledger.lanes(names)

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Change a lane (see Lanes.change_lane)."""
        self._ledger.change_lane(name, change)

    def now(self) -> float:
        """Return the time by the ledger's clock, which beats go by."""
        return self._ledger.now()

    def schedules(self) -> list[Schedule]:
        """Return all schedules (see Schedules.schedules)."""
        return self._ledger.schedules()

    def save_schedule(self, schedule: Schedule, seen: Schedule | None) -> bool:
        """Store a schedule (see Schedules.save_schedule)."""
        return self._ledger.save_schedule(schedule, seen)

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule (see Schedules.delete_schedule)."""
        return self._ledger.delete_schedule(name)

    def tick(self, seen: Schedule, due: float, last: float | None, jobs: Sequence[Job]) -> list[JobId] | None:
        """Put the jobs of a tick in the ledger, in one transaction with the schedule (see Schedules.tick)."""
        return self._ledger.tick(seen, due, last, jobs)

    def put_within(self, connection: Any, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the ledger, in the transaction of a connection to its database (see Transactions)."""
        ledger: Any = self._ledger
        ids: list[JobId] = ledger.put_within(connection, jobs)
        return ids

    def keep(self, records: Sequence[JobRecord], seconds: float) -> None:
        """Keep the records of another broker's jobs (see ResultStore.keep)."""
        self._ledger.keep(records, seconds)
