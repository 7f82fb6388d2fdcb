"""The peers' virtual environments: one each, made when first needed, remade when a pinned version changes."""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE / ".peers"

PINNED: dict[str, tuple[str, ...]] = {
    "huey": ("huey==3.5.4",),
    "flexiq": ("flexiq==2.1.0", "cbor2==6.3.0", "cloudpickle==3.1.2", "msgpack==1.2.4"),
    "celery": (
        "celery==5.7.0",
        "amqp==5.4.2",
        "billiard==4.3.2",
        "click==8.5.1",
        "click-didyoumean==0.3.1",
        "click-plugins==1.1.1.2",
        "click-repl==0.4.1",
        "kombu==5.7.0",
        "packaging==26.3",
        "redis==8.1.0",
        "prompt_toolkit==3.0.53",
        "python-dateutil==2.9.0.post0",
        "six==1.17.0",
        "typing_extensions==4.15.0",
        "tzdata==2026.6",
        "tzlocal==5.4.5",
        "vine==5.1.0",
        "wcwidth==0.9.4",
    ),
    "litequeue": ("litequeue==0.9",),  # the newest that runs on Python 3.11
    "persistqueue": ("persist-queue==1.1.0",),
    "fasterfifo": ("faster-fifo==1.5.2",),
    "networkx": ("networkx==3.6.1",),
    "simpy": ("simpy==4.1.2",),
}
"""Every peer's packages, whole, so that two runs compare the same code."""


def python_for(system: str) -> Path:
    """The interpreter that runs a system's script; for Worklist and the floor it is this one."""
    if system not in PINNED:
        return Path(sys.executable)
    return PEERS / system / "bin" / "python"


def ensure(system: str) -> None:
    """Make the environment of a peer unless it is there with the pinned versions."""
    if system not in PINNED:
        return
    folder = PEERS / system
    stamp = folder / "pinned.txt"
    wanted = "\n".join((sys.version, *PINNED[system]))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(folder, clear=True, with_pip=True)
    install = [str(python_for(system)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--no-deps", *PINNED[system]], check=True, stderr=subprocess.PIPE)
    stamp.write_text(wanted)


def version(system: str) -> str:
    """The peer's own pinned version, for the table's foot."""
    return PINNED[system][0].partition("==")[2]
