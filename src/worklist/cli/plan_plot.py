"""The plot of ``worklist plan``: wait against load, with the knee, what is acceptable, and where the queue is now."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from .. import capacity
from ..capacity import Load
from ..core.errors import WorklistError
from .plan_report import Answers, length, per_time

INK, MUTED, GRID = "#1f2933", "#627084", "#e3e8ee"
BLUE, PALE, GREEN, ORANGE, RED = "#2563eb", "#93b4f5", "#15803d", "#ea8a00", "#dc2626"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "svg.hashsalt": "worklist",  # the same plot gives the same file
    "svg.fonttype": "path",
}
UNITS = ((1e-3, "µs", 1e6), (1.0, "ms", 1e3), (120.0, "s", 1.0), (7200.0, "min", 1 / 60), (float("inf"), "h", 1 / 3600))
PACES = ((0.5, "second", 1.0), (0.5 / 60, "minute", 60.0), (0.0, "hour", 3600.0))
DOT: dict[str, Any] = {"markersize": 8, "markeredgecolor": "white", "zorder": 6}


def draw(found: Answers, files: Sequence[Path]) -> None:
    """Write the plot to files, PNG or SVG by their names. Raises WorklistError where one cannot be written."""
    asked = found.question
    shape = asked.gaps or capacity.exponential(1.0)
    loads = capacity.curve(shape, asked.service, found.workers, percentile=asked.percentile, seed=asked.seed)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = _figure(found, loads)
        for file in files:
            try:
                figure.savefig(file, dpi=160, metadata={"Date": None} if file.suffix.lower() == ".svg" else {})
            except OSError as error:
                raise WorklistError(f"{file} cannot be written: {error.strerror}") from None


def _figure(found: Answers, loads: list[Load]) -> Figure:
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    top = _height(found, loads)
    drawing = _Drawing(axes, found, loads, top)
    drawing.curves()
    drawing.acceptable()
    drawing.knee()
    drawing.now()
    axes.set_xlim(0, found.capacity * drawing.pace)
    axes.set_ylim(0, top * drawing.scale)
    axes.set_xlabel(f"arrivals, jobs a {drawing.each}")
    axes.set_ylabel(f"wait, {drawing.unit}")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _busy_axis(axes.twiny())
    axes.set_title(_title(found), loc="left", fontsize=13, fontweight="bold", pad=14)
    axes.legend(loc="upper left", facecolor="white", edgecolor="none", framealpha=0.95).set_zorder(8)
    return figure


def _busy_axis(busy: Axes) -> None:
    busy.set_xlim(0, 1)
    busy.set_xlabel("share of their time that the workers are busy", color=MUTED, fontsize=10)
    busy.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    busy.spines[["top", "right"]].set_visible(False)


def _title(found: Answers) -> str:
    service = found.question.service
    workers = f"{found.workers:,} worker" + "s" * (found.workers != 1)
    return f"{workers}, jobs of {length(service.mean)} ({service.kind}, cv {service.cv:.2g})"


def _height(found: Answers, loads: list[Load]) -> float:
    """Return how much wait to show: what is acceptable and what is now with room above, and the knee."""
    service = found.question.service
    wanted = [1.7 * (found.question.wait or 0.0), 3 * capacity.knee(loads, service).tail.value, service.mean / 10]
    if found.load is not None:
        wanted.append(1.7 * found.load.tail.value)
    return max(wanted)


class _Drawing:
    """The parts of the plot, each put on the axes by one method, in units that suit the figures."""

    def __init__(self, axes: Axes, found: Answers, loads: list[Load], top: float) -> None:
        self.axes, self.found, self.loads, self.top = axes, found, loads, top
        self.unit, self.scale = next((unit, scale) for limit, unit, scale in UNITS if top <= limit)
        self.each, self.pace = next((each, pace) for limit, each, pace in PACES if found.capacity >= limit)

    def curves(self) -> None:
        rates = [load.rate * self.pace for load in self.loads]
        for name, colour, estimates in (
            (f"p{self.found.question.percentile:g}", BLUE, [load.tail for load in self.loads]),
            ("on average", PALE, [load.wait for load in self.loads]),
        ):
            middle = [estimate.value * self.scale for estimate in estimates]
            low = [max(0.0, estimate.value - estimate.error) * self.scale for estimate in estimates]
            high = [(estimate.value + estimate.error) * self.scale for estimate in estimates]
            self.axes.plot(rates, middle, color=colour, linewidth=2.2, label=f"wait, {name}", solid_capstyle="round")
            self.axes.fill_between(rates, low, high, color=colour, alpha=0.18, linewidth=0)

    def acceptable(self) -> None:
        wait, most = self.found.question.wait, self.found.most
        if wait is None or most is None:
            return
        text = f"acceptable: {length(wait)}, up to {per_time(most.value)}"
        self.axes.axhline(wait * self.scale, color=GREEN, linewidth=1.4, linestyle=(0, (5, 3)), label=text)
        self.axes.plot([most.value * self.pace], [wait * self.scale], "o", color=GREEN, **DOT)

    def knee(self) -> None:
        bend = capacity.knee(self.loads, self.found.question.service)
        self.axes.axvline(bend.rate * self.pace, color=MUTED, linewidth=1.2, linestyle=(0, (1, 2)))
        self._point(bend, INK, f"knee: {per_time(bend.rate)}, {bend.utilisation:.0%} busy")

    def now(self) -> None:
        load, wait = self.found.load, self.found.question.wait
        if load is not None:
            late = wait is not None and load.tail.value > wait
            name = f"p{self.found.question.percentile:g}"
            text = f"now: {per_time(load.rate)}, {name} {length(load.tail.value)}"
            self._point(load, RED if late else ORANGE, text)

    def _point(self, load: Load, colour: str, text: str) -> None:
        place = ([load.rate * self.pace], [load.tail.value * self.scale])
        self.axes.plot(*place, "o", color=colour, label=text, **DOT)
