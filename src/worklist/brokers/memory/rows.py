"""All that the model knows of one job."""

import math
from dataclasses import dataclass, field

from ...core.job import ErrorInfo, GroupId, Job, JobRecord, JobState, Progress, Ties

_UNTIED = Ties()


@dataclass(eq=False, slots=True)
class Row:
    """One job. Times are unix seconds."""

    token: int
    job: Job
    body: bytes
    enqueued: float
    due: float
    state: JobState = JobState.QUEUED
    place: int = 0
    """Which of its entries in the heaps is the valid one: the newest."""
    number: int = 0
    attempt: int = 0
    lost: int = 0
    started: float | None = None
    finished: float | None = None
    forget_at: float = math.inf
    worker: str | None = None
    cancelling: bool = False
    result: bytes | None = None
    given: bytes | None = None
    errors: list[ErrorInfo] = field(default_factory=list)
    progress: Progress | None = None
    logs: tuple[str, ...] = ()
    group: GroupId | None = None

    @property
    def expires_at(self) -> float:
        """When it is too late to start it; infinite: never."""
        return math.inf if self.job.expires is None else self.enqueued + self.job.expires

    @property
    def ties(self) -> Ties:
        """What ties it to others."""
        return self.job.ties or _UNTIED

    @property
    def lane(self) -> str | None:
        """The lane it stands in."""
        return self.ties.lane


def kept_row(token: int, record: JobRecord, forget_at: float) -> Row:
    """Return the row of a job that has ended in another broker."""
    job = Job(record.id, record.task, queue=record.queue, priority=record.priority, created=record.enqueued)
    return Row(
        token,
        job,
        record.body,
        record.enqueued,
        record.enqueued,
        state=record.state,
        attempt=record.attempt,
        lost=record.lost,
        started=record.started,
        finished=record.finished,
        forget_at=forget_at,
        result=record.result,
        errors=list(record.errors),
        progress=record.progress,
        logs=record.logs,
    )
