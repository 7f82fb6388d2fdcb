"""What an app's own records say of its queue: how its jobs came in, how long they took, how many wait now.

It knows the inspector alone; what follows from the figures is computed elsewhere.
"""

import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..app import Worklist
from ..core.errors import WorklistError
from ..core.job import JobRecord, JobState
from ..core.ports import Filter
from .queue_commands import check_known

MOST_RECORDS = 10_000
"""Of each state, the newest."""
FEWEST_RECORDS = 30
_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.RUNNING, JobState.QUEUED)


class History(NamedTuple):
    """Figures that were recorded, in seconds."""

    gaps: list[float]
    """From one arrival to the next, and from the last one to the last news."""
    service: list[float]
    """From the start of each finished job's last attempt to its end."""
    backlog: int
    """Jobs that are due and not begun."""
    workers: int
    """What the live workers can run at once."""

    @property
    def span(self) -> float:
        """For how long arrivals were recorded."""
        return sum(self.gaps)


def read_history(app: Worklist, queue: str | None) -> History:
    """Return the figures of one queue, or of all. Raises WorklistError where there are too few."""
    if queue is not None:
        check_known(app, queue)
    found = [app.inspector.find(Filter(state=state, queue=queue, limit=MOST_RECORDS)) for state in _STATES]
    records = list(itertools.chain.from_iterable(found))
    service = [max(0.0, job.finished - job.started) for job in records if job.started and job.finished]
    if len(service) < FEWEST_RECORDS:
        raise WorklistError(
            f"there is not enough history {f'of queue {queue!r}' if queue else 'here'}: {len(service)} finished jobs "
            f"are recorded and {FEWEST_RECORDS} are needed (jobs whose results are not kept leave none); "
            "say --arrivals and --service instead"
        )
    now = time.time()
    later = [job for job in records if job.state is JobState.QUEUED and (job.due or 0.0) > now]
    queued = sum(of.get(JobState.QUEUED, 0) for name, of in app.inspector.counts().items() if queue in (None, name))
    return History(_gaps(found, later), service, queued - len(later), _slots(app, queue))


def _gaps(found: Sequence[Sequence[JobRecord]], later: Sequence[JobRecord]) -> list[float]:
    """Return the gaps since the time from which on all jobs were found."""
    whole_since = max((jobs[-1].enqueued for jobs in found if len(jobs) == MOST_RECORDS), default=0.0)
    waiting = {job.id for job in later}
    records = [job for jobs in found for job in jobs if job.enqueued >= whole_since and job.id not in waiting]
    arrivals = sorted(job.enqueued for job in records)
    news = max(max(job.enqueued, job.started or 0.0, job.finished or 0.0) for job in records)
    return [after - before for before, after in itertools.pairwise([*arrivals, news])]


def _slots(app: Worklist, queue: str | None) -> int:
    return sum(worker.slots for worker in app.inspector.workers() if queue is None or queue in worker.queues)
