"""A progress bar on the terminal, for those who wait for a group in a program of their own."""

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TerminalBar:
    """How many members of a group have ended; shows nothing where stderr is no terminal."""

    def __init__(self, title: str) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
        console = Console(file=sys.stderr)
        self._progress = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
        )
        self._task = self._progress.add_task(title, total=None, note="")

    def update(self, done: int, total: int, failed: int) -> None:
        """Show how far it is."""
        note = f"[red]{failed} did not succeed" if failed else ""
        self._progress.update(self._task, completed=done, total=total, note=note)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
