"""Putting things on the screen: colours and tables on a terminal, plain aligned text in a pipe, JSON for machines.

What comes out of a job (names, arguments, messages) is shown with its control characters spelt out, so that it
cannot move the cursor. It knows no broker and no app.
"""

import datetime as dt
import pprint
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.job import JobState
from ..core.units import spell

PLAIN_WIDTH = 10_000
LONGEST_VALUE = 4000
"""Characters of an argument or a result that a person is shown."""

STATE_STYLES = {
    JobState.QUEUED: "cyan",
    JobState.WAITING: "cyan",
    JobState.RUNNING: "bold blue",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "bold red",
    JobState.CANCELLED: "yellow",
    JobState.EXPIRED: "yellow",
}


class Column(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False


Cell = str | tuple[str, str]
"""A text, or a text and its style."""


def console(stderr: bool = False) -> Console:
    """Return a console for this very stream: as wide as the terminal, or as it takes in a pipe."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table of cells, none of which is read as markup."""
    made = Table(
        box=box.SIMPLE_HEAD if console().is_terminal else None, pad_edge=False, show_edge=False, header_style="bold"
    )
    for column in columns:
        made.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(as_text(cell) for cell in row))
    return made


def as_text(cell: Cell) -> Text:
    """Return a cell as rich text."""
    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return Text(visible(text), style)


def show(thing: Any) -> None:
    """Print a renderable or a text; in a pipe without blanks at the ends of lines."""
    to = console()
    if to.is_terminal:
        to.print(thing)
        return
    with to.capture() as captured:
        to.print(thing)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    data = msgspec.json.encode(value, enc_hook=repr)
    click.echo(msgspec.json.format(data, indent=2))


def say_error(message: str) -> None:
    """Print one sentence on stderr."""
    to = console(stderr=True)
    to.print(Text.assemble(("error: ", "bold red"), visible(message)), soft_wrap=True)


def visible(text: str) -> str:
    """Return text whose control characters are spelt out, line ends and tabs apart."""
    return "".join(char if char.isprintable() or char in "\n\t" else _spelt(char) for char in text)


def _spelt(char: str) -> str:
    return char.encode("unicode_escape").decode()


def one_line(text: str, longest: int = 80) -> str:
    """Return the first line of a text, cut where it is longer than that."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= longest else line[: longest - 1] + "…"


def ago(at: float | None, now: float | None = None) -> str:
    """Return a unix time as a person would say it: ``3 s ago``, ``in 2m10s``."""
    if at is None:
        return ""
    passed = (time.time() if now is None else now) - at
    if abs(passed) < 1:
        return "now"
    return f"{spelt_seconds(passed)} ago" if passed > 0 else f"in {spelt_seconds(-passed)}"


def spelt_seconds(amount: float) -> str:
    """Return a length of time without needless decimals."""
    return f"{amount:.0f} s" if 1 <= amount < 10 else spell(amount)


def moment(at: float | None) -> str:
    """Return a unix time both ways: how long ago, and the local date and time."""
    if at is None:
        return ""
    local = dt.datetime.fromtimestamp(at).astimezone()
    return f"{ago(at)}  ({local:%Y-%m-%d %H:%M:%S %Z})"


def pretty(value: Any) -> str:
    """Return a value as Python would write it, cut where it is very long."""
    text = pprint.pformat(value, width=100, sort_dicts=False)
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[:LONGEST_VALUE]} … ({len(text):,} characters; --json shows them all)"
