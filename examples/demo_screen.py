"""What the demo looks like: a live picture on a terminal, one plain line a second in a pipe, tables at the end.

It knows nothing of workers or the queue; it is told numbers and sentences.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from worklist import JobState

WINDOW_SECONDS = 2.0
SAMPLE_SECONDS = 0.25
SPARKS = "▁▂▃▄▅▆▇█"
BAR = (  # what stands in the bar from left to right
    (JobState.SUCCEEDED, "done", "green"),
    (JobState.FAILED, "failed", "red"),
    (JobState.RUNNING, "running", "bright_blue"),
    (JobState.QUEUED, "queued", "grey35"),
)


class Pace:
    """Jobs per second, now and over time."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()
        self.history: list[float] = []
        self._sampled = 0.0

    def note(self, at: float, ended: int) -> None:
        """Take in how many jobs had ended after `at` seconds."""
        self._points.append((at, ended))
        while at - self._points[0][0] > WINDOW_SECONDS:
            self._points.popleft()
        if at - self._sampled >= SAMPLE_SECONDS:
            self._sampled = at
            self.history.append(self.now)

    @property
    def now(self) -> float:
        """Jobs per second over the last moments."""
        (first, before), (last, after) = self._points[0], self._points[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def sparks(self, width: int) -> str:
        """The course of it as a line of small bars."""
        shown = self.history[-width:]
        top = max(shown, default=0.0) or 1.0
        return "".join(SPARKS[min(7, int(8 * value / top))] for value in shown)


class Screen:
    """Shows the work while it goes on. Use it as a context manager."""

    def __init__(self, console: Console, title: str, total: int, processes: int) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._processes = processes
        self._begun = time.monotonic()
        self._pace = Pace()
        self._events: list[Text] = []
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last_line = 0.0

    def __enter__(self) -> "Screen":
        if self._live is None:
            self._console.print(self._title)
        else:
            self._console.print()
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._begun

    def update(self, counts: Mapping[JobState, int], ended: int, alive: int) -> None:
        """Show these numbers of jobs, and so many workers."""
        self._pace.note(self.seconds, ended)
        if self._live is not None:
            self._live.update(self._picture(counts, ended, alive), refresh=True)
        elif self.seconds - self._last_line >= 1.0 or ended == self._total:
            self._last_line = self.seconds
            states = ", ".join(f"{counts.get(state, 0):,} {name}" for state, name, _ in BAR)
            self._console.print(f"{self.seconds:5.1f} s  {states}, {self._pace.now:.0f} jobs/s, {alive} workers")

    def tell(self, sentence: str, style: str) -> None:
        """Say what has just happened, below the numbers."""
        self._events.append(Text.assemble((f"{self.seconds:5.1f} s  ", "dim"), (sentence, style)))
        if self._live is None:
            self._console.print(self._events[-1])

    def _picture(self, counts: Mapping[JobState, int], ended: int, alive: int) -> RenderableType:
        lines = [Text(self._title, "bold"), Text(), self._bar(counts, ended), Text(), self._numbers(counts)]
        lines += [self._workers(alive), Text(), *self._events]
        return Padding(Group(*lines), (0, 2))

    def _bar(self, counts: Mapping[JobState, int], ended: int) -> Text:
        width = max(20, min(100, self._console.width - 4) - 7)
        bar, filled, below = Text(), 0, 0
        for state, _, style in BAR:
            below += counts.get(state, 0)
            until = round(width * below / self._total)
            until = max(until, min(width, filled + 1)) if counts.get(state) else until
            bar.append("━" * (until - filled), style)
            filled = max(filled, until)
        bar.append(f"  {ended / self._total:4.0%}", "bold")
        return bar

    def _numbers(self, counts: Mapping[JobState, int]) -> Text:
        parts = [(f"{name} ", "dim") for _, name, _ in BAR]
        line = Text()
        for (state, _, style), label in zip(BAR, parts, strict=True):
            line.append(*label)
            line.append(f"{counts.get(state, 0):<10,}", "dim" if state is JobState.QUEUED else style)
        line.append(f"{self.seconds:8.1f} s", "bold")
        return line

    def _workers(self, alive: int) -> Text:
        line = Text.assemble(("workers ", "dim"))
        for place in range(max(self._processes, alive)):
            line.append("● " if place < alive else "○ ", "bold green" if place < alive else "bold red")
        pace = f"{self._pace.now:.0f} jobs/s"
        line.append(f"   {pace:<12}", "bold")
        line.append(self._pace.sparks(48), "cyan")
        return line


class Ending(NamedTuple):
    """How it all ended."""

    jobs: int
    done: int
    failed: int
    redelivered: int
    lost: int
    seconds: float


def show_ending(console: Console, ending: Ending) -> None:
    """Print the final count."""
    table = _table("", *ending._fields, "jobs/s")
    cells = [f"{ending.jobs:,}", f"[green]{ending.done:,}[/]", f"[red]{ending.failed:,}[/]"]
    cells += [f"[yellow]{ending.redelivered:,}[/]", f"[bold {'red' if ending.lost else 'green'}]{ending.lost:,}[/]"]
    table.add_row(*cells, f"{ending.seconds:.1f}", f"{ending.jobs / ending.seconds:,.0f}")
    for column in table.columns:
        column.justify = "right"
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def show_failures(console: Console, failures: Sequence[tuple[str, str]]) -> None:
    """Print the files that could not be parsed, and why."""
    if not failures:
        return
    table = _table("Files that are no Python (their jobs failed, the workers went on)", "file", "reason")
    room = max(20, console.width - 11 - max(len(file) for file, _ in failures))
    for file, reason in sorted(failures):
        table.add_row(Text(file, "cyan"), Text(reason if len(reason) <= room else f"{reason[: room - 1]}…"))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def show_longest(console: Console, title: str, longest: Sequence[tuple[int, str, str]]) -> None:
    """Print functions by their length."""
    table = _table(title, "lines", "function", "file")
    table.columns[0].justify = "right"
    for lines, name, file in longest:
        table.add_row(Text(f"{lines:,}", "bold"), Text(name), Text(file, "cyan"))
    console.print(Padding(table, (1, 0, 1, 2), expand=False))


def _table(title: str, *columns: str) -> Table:
    table = Table(
        *columns, title=title or None, box=box.ROUNDED, title_justify="left", title_style="bold", header_style="dim"
    )
    for column in table.columns:
        column.overflow = "fold"
    return table
