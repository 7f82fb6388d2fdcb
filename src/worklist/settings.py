"""Every setting of an app, in one table: it feeds the environment variables, `worklist --help` and the docs."""

import os
from typing import Any, NamedTuple


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
        "Where the jobs live: sqlite:///FILE, sqlite:////ABSOLUTE/FILE or memory://",
    ),
    Setting("results", "all", "What is kept of finished jobs: all, failures or none; a task may differ"),
    Setting("keep_results", "7d", "For how long finished jobs are kept; a task may differ"),
    Setting("lease", "30s", "How long a worker may be silent before its jobs are given to another one"),
    Setting("redeliveries", 3, "How many workers may die with a job before it fails"),
    Setting("max_payload", "1MB", "The largest size of a job's arguments"),
    Setting("secret", None, "Sign jobs with this text, and refuse those that are not signed with it"),
)


def setting(name: str, given: Any) -> Any:
    """Return the value of a setting: what was given, else the environment's, else the default."""
    if given is not None:
        return given
    row = next(row for row in SETTINGS if row.name == name)
    text = os.environ.get(row.variable)
    if text is None:
        return row.default
    return int(text) if isinstance(row.default, int) and text.isdigit() else text
