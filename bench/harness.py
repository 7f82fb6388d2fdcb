"""Runs contenders in turns and sums their rounds up; each measurement has its own process and folder."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import before, venvs
from bench.rows import Case, Contender, Metric

TIME_LIMIT = 420.0
"""Seconds for one measurement; past it, it and its workers are ended and the turn counts as failed."""

Figures = dict[str, float]
Say = Callable[[str], None]


class FailedError(Exception):
    """A measurement ended without figures; the message is its last line."""


@dataclass(frozen=True)
class Summary:
    """The rounds of one figure of one contender."""

    median: float
    least: float
    most: float
    ratio: float | None
    """Beside the case's first contender: the median of the rounds' own ratios; a slow minute cancels."""


def run_case(case: Case, rounds: int, say: Say) -> list[list[Figures | None]]:
    """Each contender's figures, round by round; None where it failed. Each round begins with another one."""
    taken: list[list[Figures | None]] = [[] for _ in case.contenders]
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        templates = _Templates(Path(root), case.contenders, say)
        for number in range(rounds):
            for place in _turns(len(case.contenders), number):
                contender = case.contenders[place]
                if contender.rounds is not None and number >= contender.rounds:
                    continue
                figures = _try(contender, templates, say)
                taken[place].append(figures)
                who = f"{contender.system:<12} {contender.setting:<32}"
                say(f"  round {number + 1}  {who} {_brief(figures, case)}")
    return taken


def summarise(metric: Metric, rounds: list[Figures | None], base: list[Figures | None]) -> Summary | None:
    """What is shown of one contender's rounds; None if every one failed, or none has this figure."""
    values = [figures[metric.key] for figures in rounds if figures and metric.key in figures]
    if not values:
        return None
    ratios = [
        mine[metric.key] / other[metric.key]
        for mine, other in zip(rounds, base, strict=False)
        if mine and other and metric.key in mine and other.get(metric.key)
    ]
    middle = statistics.median(ratios) if ratios else None
    return Summary(statistics.median(values), min(values), max(values), middle)


class _Templates:
    """Filled queues that rounds start from, made once for a case."""

    def __init__(self, root: Path, contenders: Iterable[Contender], say: Say) -> None:
        self._root = root
        for contender in contenders:
            if contender.template:
                say(f"  {self._prepare(contender)}")

    def _prepare(self, contender: Contender) -> str:
        folder = self._folder(contender)
        folder.mkdir()
        try:
            _call(contender.system, "prepare", folder, ("--jobs", str(contender.jobs), *contender.template))
        except FailedError as error:
            return f"cannot prepare {contender.setting}: {error}"
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        return f"prepared {contender.setting} ({size:,.0f} MiB)"

    def copy(self, contender: Contender, target: Path) -> None:
        """Copy the filled queue, all of it written to the disk before the clock runs."""
        if not contender.template:
            return
        for path in self._folder(contender).iterdir():
            copied = shutil.copy(path, target)
            with open(copied, "rb") as file:
                os.fsync(file.fileno())

    def _folder(self, contender: Contender) -> Path:
        return self._root / "".join(contender.template).strip("-")


def _turns(count: int, number: int) -> list[int]:
    return [(number + place) % count for place in range(count)]


def _try(contender: Contender, templates: _Templates, say: Say) -> Figures | None:
    arguments = ("--jobs", str(contender.jobs), *contender.arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            templates.copy(contender, Path(folder))
            return _call(contender.system, contender.command, Path(folder), arguments)
        except (FailedError, OSError) as error:
            say(f"  {contender.system} failed: {error}")
            return None


def _call(system: str, command: str, folder: Path, arguments: tuple[str, ...]) -> Figures:
    """Run one command of a system's script in its own environment and read its one line of figures."""
    script = [str(venvs.python_for(system)), "-m", f"bench.systems.{system}", command]
    process = subprocess.Popen(
        [*script, "--dir", str(folder), *arguments],
        cwd=venvs.HERE.parent,
        env=_environment(system),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIME_LIMIT)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)  # the session that was started above, and nothing else
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise FailedError(f"not done in {TIME_LIMIT:.0f} s") from None
        raise
    if process.returncode != 0:
        raise FailedError((errors.strip().splitlines() or ["no message"])[-1])
    figures: Figures = json.loads(output.strip().splitlines()[-1])
    return figures


def _environment(system: str) -> dict[str, str]:
    """Peers must not see what lies on the path of this interpreter; an older Worklist stands before this one."""
    hidden = {"PYTHONPATH"} if system in venvs.PINNED else set()
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | ({"PYTHONPATH": str(before.SOURCE)} if system == "worklist_before" else {})


def _brief(figures: Figures | None, case: Case) -> str:
    if figures is None:
        return "failed"
    found = ((metric, figures.get(metric.key)) for metric in case.metrics)
    return "  ".join(f"{value:,.1f} {metric.unit}" for metric, value in found if value is not None)
