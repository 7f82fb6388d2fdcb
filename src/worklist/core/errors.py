"""Every error that Worklist raises, as one tree. The docstring of a class is its default message.

An error names the thing, says what was expected and what to do. It never carries a password.
"""

import difflib
import inspect
from collections.abc import Iterable


class WorklistError(Exception):
    """Worklist could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class ConfigError(WorklistError, ValueError):
    """An option, a URL or a path is not valid."""


class AppImportError(ConfigError):
    """The app could not be imported."""


class DuplicateTask(ConfigError):
    """Two tasks have one name."""


class ArgumentError(WorklistError, TypeError):
    """The arguments do not fit the task."""


class PayloadTooLarge(ArgumentError):
    """The arguments of the job are larger than the limit."""


class UnknownTask(WorklistError, LookupError):
    """No task of this name is registered."""


class ScheduleUnknown(WorklistError, KeyError):
    """There is no schedule of this name."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


class UndecodableJob(WorklistError, ValueError):
    """The stored bytes are no job of this app."""


class ResultEncodingError(WorklistError, TypeError):
    """The value that the task returned cannot be stored."""


class BrokerError(WorklistError):
    """The broker could not be used."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached or is busy; trying again may help."""


class StoreFull(BrokerUnavailable):
    """There is no room left where the jobs are stored. Nothing was changed."""


class ReadOnlyStore(BrokerError):
    """The place where the jobs are stored cannot be written."""


class CorruptStore(BrokerError):
    """The place where the jobs are stored is damaged."""


class SchemaMismatch(BrokerError):
    """The store was made by another program, or by a newer Worklist."""


class GroupEnded(WorklistError):
    """The group has ended, so nothing can be added to it."""


class JobError(WorklistError):
    """A job did not give a result."""


class JobFailed(JobError):
    """The job failed. `error_type`, `error_message` and `error_traceback` tell why."""

    def __init__(
        self, message: str | None = None, error_type: str = "", error_message: str = "", traceback: str = ""
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.error_message = error_message
        self.error_traceback = traceback


class JobCancelled(JobError):
    """The job was cancelled."""


class JobExpired(JobError):
    """The job was not started before it expired."""


class GroupFailed(JobError):
    """Members of the group did not succeed."""


class GroupUnknown(JobError, LookupError):
    """No such group is known: nothing was ever put in it here, or it is no longer kept."""


class JobUnknown(JobError, LookupError):
    """No such job is known: it was never enqueued here, or its record is no longer kept."""


class ResultNotKept(JobError):
    """The task keeps no results, so there is nothing to wait for."""


class ResultTimeout(JobError, TimeoutError):
    """The job had not finished when the time to wait for it was over."""


class TimeLimitExceeded(WorklistError, TimeoutError):
    """The job ran longer than its time limit."""


class JobAborted(WorklistError):
    """The job is to stop: it was cancelled, or its lease was lost. Raised inside the running code."""


class ChildDied(WorklistError):
    """The child process that ran the job died."""


class NotInGroup(WorklistError, LookupError):
    """The job that runs here is in no group, so nothing can be added to it."""


class NoCurrentJob(WorklistError, RuntimeError):
    """There is no current job: current_job() works only inside a task that a worker runs."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the candidate nearest to `name`, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
