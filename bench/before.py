"""The source of Worklist before lanes, groups and schedules came, taken out of the repository's history.

A copy without that commit (a shallow clone, an archive) cannot be measured against it.
"""

import io
import subprocess
import tarfile

from bench import venvs

COMMIT = "422457d799de"
SOURCE = venvs.PEERS / f"worklist-{COMMIT}" / "src"


def ensure() -> None:
    """Take the source out unless it is there. Raises CalledProcessError where the commit is not."""
    if SOURCE.exists():
        return
    command = ["git", "-C", str(venvs.HERE.parent), "archive", COMMIT, "src"]
    found = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(found)) as archive:
        archive.extractall(SOURCE.parent, filter="data")
