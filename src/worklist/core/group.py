"""The handle of a group: how far it is, its results, and everything that can be done to it as a whole.

It knows the app only as a Client. From anywhere that has the group's id, ``app.group(id)`` gives it again.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .client import Bar, Client
from .codec import decode_value
from .errors import ConfigError, GroupFailed, GroupUnknown, ResultTimeout
from .handle import JobHandle, pause
from .job import GroupId, JobId, JobRecord, JobState
from .ports import GroupRecord

if TYPE_CHECKING:
    from .workflow import Node

PAGE = 500
"""How many members one look brings."""
RETRIES_AT_ONCE = 1000


class GroupHandle:
    """A set of jobs, known by its id, that may grow while it runs.

    As a context manager it is open: members may be added until the block ends, and it does not end before. Where the
    block raises, the group is called off.
    """

    def __init__(self, id: GroupId, client: Client) -> None:
        self.id = id
        self._client = client
        self.callback: Any = None
        """The handle of what runs when the group has ended, where ``app.group(then=...)`` has just put it."""

    # -- how far it is --------------------------------------------------------------------------------------

    def record(self) -> GroupRecord:
        """Return the counters of the group. Raises GroupUnknown."""
        record = self._client.load_group(self.id)
        if record is None:
            raise GroupUnknown(f"group {self.id} is not known: nothing was put in it here, or it is no longer kept")
        return record

    def done(self) -> bool:
        """Return whether the last member has ended."""
        return self.record().ended is not None

    def wait(self, timeout: float | None = None, *, bar: bool = False) -> GroupRecord:
        """Wait until the last member has ended and return the counters; `bar` shows a progress bar on a terminal.

        `timeout` is in seconds. Raises ResultTimeout, GroupUnknown.
        """
        begun = time.monotonic()
        with self._client.progress_bar(f"group {self.id}") if bar else nullcontext() as shown:
            while True:
                record = self.record()
                _show(shown, record)
                if record.ended is not None:
                    return record
                self._pause(begun, timeout, record)

    def _pause(self, begun: float, timeout: float | None, record: GroupRecord) -> None:
        if not pause(self._client, begun, timeout, longest=0.05):
            raise ResultTimeout(f"group {self.id} has {record.finished} of {record.total} done after {timeout:g} s")

    # -- results ----------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> list[Any]:
        """Wait for the group and return its members' results, in the order in which they were made.

        Raises GroupFailed where a member did not succeed, ResultTimeout, GroupUnknown. Members whose results are not
        kept give None.
        """
        record = self.wait(timeout)
        if record.succeeded < record.total:
            raise GroupFailed(self._how_it_failed(record))
        return [None if data is None else decode_value(data) for data in self._client.results(self.id)]

    def _how_it_failed(self, record: GroupRecord) -> str:
        message = f"group {self.id}: {record.failed} failed and {record.cancelled} were cancelled of {record.total}"
        for unlucky in self._ended(None):
            if unlucky.state is JobState.FAILED and unlucky.errors:
                last = unlucky.errors[-1]
                return f"{message}; the first was job {unlucky.id} ({unlucky.task}): {last.type}: {last.message}"
        return message

    def as_completed(self, timeout: float | None = None) -> Iterator[JobHandle[Any]]:
        """Yield the members as they end, whatever their end; those that are no longer kept are left out.

        Raises ResultTimeout where the group has not ended after `timeout` seconds.
        """
        return (JobHandle(record.id, self._client) for record in self.records_as_completed(timeout))

    def records_as_completed(self, timeout: float | None = None) -> Iterator[JobRecord]:
        """Yield what is known of the members as they end, a page of them in a query; else as `as_completed`."""
        begun = time.monotonic()
        last: tuple[float, JobId] | None = None
        seen: set[JobId] = set()
        while True:
            record = self.record()
            for member in self._ended(last):
                last = (member.finished or 0.0, member.id)
                if member.id not in seen:
                    seen.add(member.id)
                    yield member
            if record.ended is not None:
                return
            self._pause(begun, timeout, record)

    def _ended(self, after: tuple[float, JobId] | None) -> Iterator[JobRecord]:
        while page := self._client.members(self.id, after, PAGE):
            yield from page
            after = (page[-1].finished or 0.0, page[-1].id)

    # -- changing it ------------------------------------------------------------------------------------------

    def add(self, node: "Node") -> Any:
        """Add a member, such as ``task.s(1)``, and return its handle. Raises GroupEnded where the group has ended."""
        if not hasattr(node, "enqueue_in"):
            raise ConfigError(f"add() got {node!r}; expected a call such as task.s(1), or a workflow of such")
        return node.enqueue_in(self.id)

    def cancel(self) -> int:
        """Call the group off: cancel what has not begun, ask what runs to stop; return how many members that were.

        Nothing can be added to it any more, and what waits for it is cancelled with its end.
        """
        return self._client.call_off(self.id)

    def retry(self) -> int:
        """Queue the members again that failed or were cancelled, and what waits for the group goes on waiting.

        Returns how many could be.
        """
        unlucky = [record.id for record in self._ended(None) if record.state is not JobState.SUCCEEDED]
        steps = range(0, len(unlucky), RETRIES_AT_ONCE)
        return sum(len(self._client.change(unlucky[start : start + RETRIES_AT_ONCE], "retry")) for start in steps)

    def seal(self) -> None:
        """Let the group end with its last member."""
        self._client.seal_group(self.id)

    def __enter__(self) -> Self:
        self._client.open_group(self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancel()
        self.seal()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<GroupHandle {self.id}>"


def _show(bar: Bar | None, record: GroupRecord) -> None:
    if bar is not None:
        bar.update(record.finished, record.total, record.failed + record.cancelled)
