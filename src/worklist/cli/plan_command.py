"""The command ``worklist plan``: what a queue's workers can do, from given figures or from what an app recorded.

Here the command line becomes figures. What follows from them is asked in `plan_report`, which needs numpy and is
imported when the command runs.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ..core.errors import ConfigError, WorklistError, did_you_mean
from ..core.units import seconds
from .load import opened
from .plan_history import History, read_history
from .render import show, show_json

DISTRIBUTIONS = ("exponential", "constant", "lognormal")
PICTURES = (".png", ".svg")
_PER = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)/([a-z]+)", re.ASCII)


def read_rate(text: str, what: str) -> float:
    """Return how often a second ``20/s``, ``90/min`` or ``1,000/h`` is. Raises ConfigError for anything else."""
    match = _RATE.fullmatch(text.lower().replace(",", "").replace(" ", ""))
    if match is None or match[2] not in _PER or not float(match[1]):
        raise ConfigError(f"{what} is {text!r}; expected a number above 0 and a unit of time, such as 20/s or 1000/h")
    return float(match[1]) / _PER[match[2]]


def read_length(text: str, what: str) -> float:
    """Return a duration that is more than nothing, in seconds. Raises ConfigError for anything else."""
    length = seconds(text, what)
    if not 0 < length < float("inf"):
        raise ConfigError(f"{what} is {text!r}; expected more than 0 s")
    return length


def read_percentile(text: str, what: str) -> float:
    """Return 95 for ``p95`` or ``95``. Raises ConfigError for what does not lie between 0 and 100."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text.lower().removeprefix("p"))) < 100:
            return number
    raise ConfigError(f"{what} is {text!r}; expected p50, p95, p99.9 or another between p0 and p100")


def read_distribution(text: str, what: str) -> str:
    """Return the name of a distribution. Raises ConfigError for one that is not known."""
    if text.lower() not in DISTRIBUTIONS:
        known = ", ".join(DISTRIBUTIONS)
        raise ConfigError(f"{what} is {text!r}{did_you_mean(text, DISTRIBUTIONS)}; expected one of {known}")
    return text.lower()


def read_picture(text: str, what: str) -> Path:
    """Return the path of a picture to write. Raises ConfigError for a kind that cannot be, or a missing folder."""
    path = Path(text)
    if path.suffix.lower() not in PICTURES:
        raise ConfigError(f"{what} is {text!r}; expected the name of a file that ends with .png or .svg")
    if not path.parent.is_dir():
        raise ConfigError(f"{what} is {text!r}; there is no folder {path.parent}")
    return path


def read_times(text: str, what: str) -> list[float]:
    """Return the times in a file, one a line. Raises ConfigError that names the file and the line."""
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{what}: {text} cannot be read: {reason}") from None
    found = [seconds(line, f"{text}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not any(found) or float("inf") in found:
        raise ConfigError(f"{what}: {text} holds no times; expected one a line, such as 0.25 or 250ms")
    return found


def _read(convert: Callable[[str, str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that reads an option's text, or each of its texts."""

    def read(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return [convert(one, parameter.opts[0]) for one in value]
            return None if value is None else convert(value, parameter.opts[0])
        except ConfigError as error:
            raise click.UsageError(str(error), context) from None

    return read


_COUNT = click.IntRange(min=1)


@click.command()
@click.option("--arrivals", callback=_read(read_rate), metavar="RATE", help="Jobs that come in, such as 20/s.")
@click.option("--service", callback=_read(read_length), metavar="TIME", help="How long a job takes on average.")
@click.option(
    "--distribution",
    callback=_read(read_distribution),
    metavar="NAME",
    help="Of these times: exponential, constant or lognormal.  [default: exponential]",
)
@click.option("--cv", type=click.FloatRange(min=0), help="Their standard deviation over their mean, for lognormal.")
@click.option("--times", callback=_read(read_times), metavar="FILE", help="Observed times instead, one a line.")
@click.option("--workers", type=_COUNT, metavar="N", help="Jobs that can run at once.")
@click.option("--wait", callback=_read(seconds), metavar="TIME", help="How long jobs may wait to be started.")
@click.option(
    "--percentile",
    callback=_read(read_percentile),
    metavar="PN",
    default="p95",
    show_default=True,
    help="So many per cent wait no longer.",
)
@click.option("--per-user", callback=_read(read_rate), metavar="RATE", help="Jobs of one user, to count in users.")
@click.option("--backlog", type=click.IntRange(min=0), metavar="N", help="Jobs that wait now.")
@click.option("--app", "path", metavar="MODULE:APP", help="Read what is not given from this app's history.")
@click.option("--url", metavar="URL", help="Where the jobs are, to read it without the app.")
@click.option("--queue", metavar="NAME", help="The history of this queue only.")
@click.option("--plot", callback=_read(read_picture), multiple=True, metavar="FILE", help="Draw wait against load.")
@click.option("--jobs", type=click.IntRange(min=1000), metavar="N", help="Jobs to simulate.  [default: as needed]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the simulation's chance.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plan(
    context: click.Context, /, path: str | None, url: str | None, queue: str | None, as_json: bool, **given: Any
) -> None:
    """Tell how many jobs, users or workers a queue is good for.

    From figures: worklist plan --arrivals 20/s --service 0.3s --workers 8 --wait 2s.  From the jobs that an app has
    done: worklist plan --app tasks:app --wait 2s.  Needs the extra worklist[plan].
    """
    refuse_contradictions(context, given)
    history = None
    if any(source is not None for source in (path, url, queue)):
        with opened(path, url) as app:
            history = read_history(app, queue)
    refuse_gaps(context, given, history)
    with _extra():
        from . import plan_report  # noqa: PLC0415 - needs numpy
    try:
        answers = plan_report.answer(plan_report.question(history=history, **given))
    except ValueError as error:
        raise WorklistError(str(error)) from None
    if as_json:
        show_json(plan_report.as_data(answers))
    else:
        for part in plan_report.tables(answers):
            show(part)
    if given["plot"]:
        with _extra():
            from . import plan_plot  # noqa: PLC0415 - needs matplotlib
        plan_plot.draw(answers, given["plot"])


def refuse_contradictions(context: click.Context, given: dict[str, Any]) -> None:
    """Raise UsageError for options that do not go together."""
    if given["times"] is not None and (given["service"] is not None or given["distribution"] is not None):
        raise click.UsageError(
            "--times holds how long jobs take; it does not go with --service or --distribution", context
        )
    if given["distribution"] is not None and given["service"] is None:
        raise click.UsageError("--distribution is that of the times of --service; say how long a job takes", context)
    if (given["cv"] is not None) != (given["distribution"] == "lognormal"):
        raise click.UsageError("--cv and --distribution lognormal go together; say both or neither", context)


def refuse_gaps(context: click.Context, given: dict[str, Any], history: History | None) -> None:
    """Raise UsageError where figures are missing without which nothing follows."""
    if given["service"] is None and given["times"] is None and history is None:
        raise click.UsageError(
            "how long does a job take? say --service 0.3s, --times FILE, or --app MODULE:APP to read its history",
            context,
        )
    workers = given["workers"] or (history and history.workers)
    arrivals = given["arrivals"] or history
    if not workers and not (arrivals and given["wait"] is not None):
        raise click.UsageError(
            "how many workers are there? say --workers N; or --arrivals and --wait, to learn how many are needed",
            context,
        )
    if given["per_user"] is not None and given["wait"] is None:
        raise click.UsageError("--per-user needs --wait: how long may a user's job wait?", context)


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Raise ConfigError where what is imported needs the extra, and that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("numpy", "matplotlib"):
            raise
        raise ConfigError(
            f'worklist plan needs {missing}, which is not installed; pip install "worklist[plan]" brings it'
        ) from None
