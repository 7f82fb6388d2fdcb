"""Every setting of an app, in one table: it feeds the environment variables, `worklist --help` and the docs."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Setting(NamedTuple):
    """One keyword of ``Worklist(...)``; WORKLIST_<NAME> in the environment sets its default."""

    name: str
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"WORKLIST_{self.name.upper()}"


SETTINGS = (
    Setting(
        "url",
        "sqlite:///worklist.db",
        "Where the jobs live: sqlite:///FILE, sqlite:////ABSOLUTE/FILE, redis://HOST, amqp://HOST or memory://",
    ),
    Setting(
        "results",
        "all",
        "What is kept of finished jobs: all, failures or none; a task may differ. For amqp://, where: a URL, or rpc",
    ),
    Setting("keep", None, "What is kept of finished jobs, where `results` says where"),
    Setting("keep_results", "7d", "For how long finished jobs are kept; a task may differ"),
    Setting("lease", "30s", "How long a worker may be silent before its jobs are given to another one"),
    Setting("redeliveries", 3, "How many workers may die with a job before it fails"),
    Setting("max_payload", "1MB", "The largest size of a job's arguments"),
    Setting(
        "logs",
        "info",
        "From which level on a job's log records are kept with it: debug, info, warning, error, critical, or none",
    ),
    Setting("secret", None, "Sign jobs with this text, and refuse those that are not signed with it"),
)


def setting(name: str, given: Any, convert: Callable[[Any, str], T]) -> T:
    """Return the value of a setting: what was given, else the environment's, else the default.

    `convert(value, what)` checks it; `what` names it in the error, with the variable that it came from.
    """
    row = next(row for row in SETTINGS if row.name == name)
    if given is not None:
        return convert(given, name)
    text = os.environ.get(row.variable)
    if text is None:
        return convert(row.default, name)
    value = int(text) if isinstance(row.default, int) and text.isdigit() else text
    return convert(value, f"{name} (from ${row.variable})")
