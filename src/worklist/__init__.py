"""Worklist: a task queue that begins as one line in a script and ends as a fleet.

The map of the package::

    app         Worklist: registers tasks, opens a URL, puts workers together
    adapters    from a URL to the broker that it names: the one table of schemes
    bar         a progress bar on the terminal
    schedules   app.schedules: what is put again and again, to look at and to change
    settings    every setting, in one table
    detached    a worker in a process of its own, one for each file, that outlives the program
    durable     DurableQueue: a process queue's verbs between any programs, on any broker
    executors   run a call in a thread, on an event loop, in a child process
    cli/        the command line
    supervisor  the parent of several worker processes; it runs no user code
    testing/    inline mode, a clock to move, the contract suites for brokers
    core/       the queue itself: jobs, outcomes, the worker, the ports
    brokers/    where jobs live: memory (the model), sqlite, rabbitmq
    results/    where results live that are no broker's: mongodb
    crawl/      the crawler, a client of the queue: spiders, frontier, engine, downloader, feeds
    local/      in one machine's memory, without a broker: TaskQueue, ProcessQueue, structures, searches
    crawl/      the crawler: spiders whose frontier is the queue
    simulate    a queue's own little worlds: recent calls, the printer, hot potato
    capacity    how many workers, for how many jobs, within which wait
"""

from .app import Worklist
from .core.errors import (
    ArgumentError,
    BrokerError,
    ConfigError,
    GroupEnded,
    GroupFailed,
    GroupUnknown,
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
from .core.group import GroupHandle
from .core.handle import JobHandle
from .core.job import JobState, Progress
from .core.lane_handle import LaneHandle
from .core.outcome import Backoff, Cancel, Retry, Snooze
from .core.schedule import Schedule
from .core.task import Task
from .core.traversal import Traversal, Visit
from .core.watching import DoneAndPending, JobUpdate
from .core.workflow import chain, chord, group
from .detached import WorkerProcess
from .durable import DurableQueue
from .local.processes import ProcessQueue
from .local.search import bfs, levels, shortest_path
from .local.threads import TaskQueue

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Backoff",
    "BrokerError",
    "Cancel",
    "ConfigError",
    "CurrentJob",
    "DoneAndPending",
    "DurableQueue",
    "GroupEnded",
    "GroupFailed",
    "GroupHandle",
    "GroupUnknown",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobState",
    "JobUnknown",
    "JobUpdate",
    "LaneHandle",
    "ProcessQueue",
    "Progress",
    "ResultNotKept",
    "ResultTimeout",
    "Retry",
    "Schedule",
    "ScheduleUnknown",
    "Snooze",
    "Task",
    "TaskQueue",
    "TimeLimitExceeded",
    "Traversal",
    "Visit",
    "WorkerProcess",
    "Worklist",
    "WorklistError",
    "bfs",
    "chain",
    "chord",
    "current_job",
    "group",
    "levels",
    "shortest_path",
]
