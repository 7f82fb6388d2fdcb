"""What RabbitMQ cannot do: it holds messages, and can neither look into a queue nor change what stands there."""

from collections.abc import Sequence
from typing import NoReturn

from ...core.errors import ConfigError
from ...core.job import GroupId, Job, JobId, JobRecord, JobState
from ...core.lane import Lane
from ...core.ports import Capabilities, Change, Filter, GroupRecord, LaneChange, WorkerInfo
from ...core.schedule import Schedule

CAPABILITIES = Capabilities(key=False, inspect=False, lane=False, group=False, schedule=False, complete=False)
"""What is left to it."""
ELSEWHERE = "use a postgresql://, redis:// or sqlite:// URL for it, here or as results="


def with_ledger(ledger: Capabilities) -> Capabilities:
    """Return what RabbitMQ can do with such a ledger beside it."""
    names = CAPABILITIES.__struct_fields__
    return Capabilities(
        **{name: getattr(CAPABILITIES, name) or (name != "complete" and getattr(ledger, name)) for name in names}
    )


def refuse(what: str) -> NoReturn:
    """Raise what to say of something that RabbitMQ cannot do."""
    raise ConfigError(f"RabbitMQ cannot {what}; {ELSEWHERE}")


class Without:
    """The verbs of a Store that need more than messages. Each raises ConfigError."""

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Refuse to count jobs."""
        refuse("count jobs by their state")

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Refuse to list jobs."""
        refuse("list jobs")

    def workers(self) -> list[WorkerInfo]:
        """Refuse to list workers."""
        refuse("list workers")

    def paused(self) -> list[str]:
        """Refuse to list paused queues."""
        refuse("pause queues")

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Refuse to change jobs."""
        refuse(f"{change} a job that it holds")

    def purge(self, queue: str, state: JobState) -> int:
        """Refuse to remove jobs by their state."""
        refuse("remove jobs by their state")

    def pause(self, queue: str, paused: bool) -> None:
        """Refuse to pause a queue."""
        refuse("pause queues")

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Refuse to make a group."""
        refuse("hold groups of jobs")

    def seal_group(self, id: GroupId) -> None:
        """Refuse to seal a group."""
        refuse("hold groups of jobs")

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Refuse to load groups."""
        refuse("hold groups of jobs")

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Refuse to list the members of a group."""
        refuse("hold groups of jobs")

    def results(self, id: GroupId) -> list[bytes | None]:
        """Refuse to collect the results of a group."""
        refuse("hold groups of jobs")

    def call_off(self, id: GroupId) -> int:
        """Refuse to call off a group."""
        refuse("hold groups of jobs")

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Refuse to show lanes."""
        refuse("hold lanes")

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Refuse to change a lane."""
        refuse("hold lanes")

    def schedules(self) -> list[Schedule]:
        """Refuse to hold schedules."""
        refuse("hold schedules")

    def save_schedule(self, schedule: Schedule, seen: Schedule | None) -> bool:
        """Refuse to hold schedules."""
        refuse("hold schedules")

    def delete_schedule(self, name: str) -> bool:
        """Refuse to hold schedules."""
        refuse("hold schedules")

    def tick(self, seen: Schedule, due: float, last: float | None, jobs: Sequence[Job]) -> list[JobId] | None:
        """Refuse to hold schedules."""
        refuse("hold schedules")
