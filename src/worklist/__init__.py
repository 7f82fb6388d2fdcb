"""Worklist: a task queue that begins as one line in a script and ends as a fleet.

The map of the package::

    app         Worklist: registers tasks, opens a URL, puts workers together
    schedules   app.schedules: what is put again and again, to look at and to change
    settings    every setting, in one table
    executors   run a call in a thread, on an event loop, in a child process
    cli/        the command line
    supervisor  the parent of several worker processes; it runs no user code
    testing/    inline mode, a clock to move, the contract suites for brokers
    core/       the queue itself: jobs, outcomes, the worker, the ports
    brokers/    where jobs live: memory (the model), sqlite
"""

from .app import Worklist
from .core.errors import (
    ArgumentError,
    BrokerError,
    ConfigError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobUnknown,
    ResultNotKept,
    ResultTimeout,
    ScheduleUnknown,
    TimeLimitExceeded,
    WorklistError,
)
from .core.execution import CurrentJob, current_job
from .core.handle import JobHandle
from .core.job import JobState, Progress
from .core.outcome import Backoff, Cancel, Retry, Snooze
from .core.schedule import Schedule
from .core.task import Task

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Backoff",
    "BrokerError",
    "Cancel",
    "ConfigError",
    "CurrentJob",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobState",
    "JobUnknown",
    "Progress",
    "ResultNotKept",
    "ResultTimeout",
    "Retry",
    "Schedule",
    "ScheduleUnknown",
    "Snooze",
    "Task",
    "TimeLimitExceeded",
    "Worklist",
    "WorklistError",
    "current_job",
]
