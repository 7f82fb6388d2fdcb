"""What tasks, handles and workflows need of their app. They know it by these protocols alone."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .awaiting import Watch
from .job import GroupId, Job, JobId, JobRecord
from .ports import Capabilities, Change, GroupRecord


class Records(Protocol):
    """Where the handle of a job looks."""

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return what is known of each job."""

    def wait_change(self, seconds: float) -> None:
        """Return when some job may have changed, or after `seconds`."""

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs."""

    def watch(self, id: JobId) -> "Future[JobRecord | None]":
        """Return a future of the job's record once it has finished (None: unknown)."""

    def follow(self, ids: Iterable[JobId], watch: Watch) -> None:
        """Show `watch` what is known of these jobs, now and after each change."""


class Bar(Protocol):
    """A progress bar, or nothing that looks like one."""

    def update(self, done: int, total: int, failed: int) -> None:
        """Show how far it is."""


class Client(Records, Protocol):
    """What puts jobs, and knows groups."""

    @property
    def capabilities(self) -> Capabilities:
        """What the app's broker can do."""

    @property
    def max_payload(self) -> int:
        """The largest size of a job's arguments, in bytes."""

    def put(self, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the broker."""

    def put_within(self, connection: Any, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs in the transaction of a connection to the broker's database."""

    async def aput(self, jobs: Sequence[Job]) -> list[JobId]:
        """Put jobs from a coroutine."""

    def check_queue(self, queue: str) -> None:
        """Raise ConfigError where no task declares this queue."""

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group that does not end before it is sealed, with `most` members at most."""

    def seal_group(self, id: GroupId) -> None:
        """Let a group end with its last member."""

    def load_group(self, id: GroupId) -> GroupRecord | None:
        """Return what is known of a group."""

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended, in the order of their end."""

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of all members, in the order in which they were made."""

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop."""

    def progress_bar(self, title: str) -> AbstractContextManager[Bar]:
        """Return a bar on the terminal; where there is none, one that shows nothing."""
