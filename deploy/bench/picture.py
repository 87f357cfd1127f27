"""Draws plots as inline SVG whose text is text and whose colours are the page's; decides nothing about data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.bench.inline import BAD, GRID, INK, MUTED, PUBLISHED, SERIES, SURFACE, Words, inlined, plain
from deploy.bench.plots import LABELS, PARAMETERS, Line, Plot, Point
from deploy.errors import BenchError, KernelError

MARKERS = ("o", "s", "^", "D", "v")
WIDTH, HEIGHT = 4.1, 2.8
"""Inches at 72 dots: a phone shows it one to one, and its text has 9 of these dots."""
LONGEST = 48
_SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.titlesize": 9,
    "axes.linewidth": 0.8,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}


@dataclass(frozen=True)
class Look:
    """How a line is told from the others: a colour of the page (0 is that of what others published) and a marker, which
    is empty for a fitted line."""

    colour: int
    marker: str
    hollow: bool


def looks(lines: Sequence[Line]) -> tuple[Look, ...]:
    """Of one run the variants differ in colour, of several the runs do."""
    runs = list(dict.fromkeys(line.run for line in lines if line.run))
    return tuple(_look(line, runs) for line in lines)


def _look(line: Line, runs: Sequence[int]) -> Look:
    if not line.run:
        return Look(0, "D", hollow=True)
    place = runs.index(line.run) if len(runs) > 1 else line.variant
    if line.fitted:
        return Look(1 + place % len(SERIES), "", hollow=False)
    return Look(1 + place % len(SERIES), MARKERS[line.variant % len(MARKERS)], hollow=line.variant % 2 == 1)


def drawn(plot: Plot, name: str) -> str:
    """The plot as an <svg> element whose ids begin with `name`. Raises BenchError without matplotlib."""
    from deploy.kernels.picture import pyplot, svg

    try:
        plots = pyplot()
    except KernelError as error:
        raise BenchError(error.message, error.hint) from None
    with plots.rc_context(_SETTINGS):
        height = 0.55 + 0.4 * len(plot.names) if plot.names else HEIGHT
        figure, axes = plots.subplots(figsize=(WIDTH, height), layout="constrained")
        draw = {"over": _over, "against": _against, "cases": _cases}[plot.spec.kind]
        draw(axes, plot)
        return inlined(svg(figure), name, Words(plot.spec.title, told(plot)))


def told(plot: Plot) -> str:
    """The plot's points in words, for those who do not see it."""
    return "; ".join(f"{line.label}: {', '.join(_points_told(plot, line))}" for line in plot.lines)


def _points_told(plot: Plot, line: Line) -> Iterator[str]:
    for point in line.points:
        place = plot.names[int(point.x)] if plot.names else f"{point.x:,g}"
        yield f"{place}: {point.y:.4g} ({point.low:.4g} to {point.high:.4g})"
    for point in line.failed:
        place = plot.names[int(point.x)] if plot.names else f"{point.x:,g}"
        yield f"{place}: failed, {point.name}"


def _over(axes: Any, plot: Plot) -> None:
    for number, (line, look) in enumerate(zip(plot.lines, looks(plot.lines), strict=True)):
        if line.fitted:
            _through(axes, line.points, look, f"data-{number}")
            continue
        _stroke(axes, line.points, look, f"data-{number}")
        for point in line.failed:
            axes.plot(
                [point.x], [0.03], "x", color=BAD, transform=axes.get_xaxis_transform(), markersize=6, clip_on=False
            )
    _scales(axes, plot)
    places = sorted({point.x for line in plot.lines for point in (*line.points, *line.failed) if point.x > 0})
    if plot.spec.log[0] and places:
        shown = _apart(places)
        axes.set_xticks(shown, [compact(place) for place in shown])
        axes.minorticks_off()
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.xaxis.set_major_formatter(_shown)
    axis = plot.spec.over or plot.spec.along
    axes.set_xlabel(PARAMETERS.get(axis, axis))
    _finish(axes, plot)


def _against(axes: Any, plot: Plot) -> None:
    axes.margins(0.12)
    for number, (line, look) in enumerate(zip(plot.lines, looks(plot.lines), strict=True)):
        _stroke(axes, line.points, look, f"data-{number}")
    _numbers(axes, [point for line in plot.lines if line.run == plot.lines[0].run for point in line.points])
    _scales(axes, plot)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(_shown)
    axes.set_xlabel(LABELS.get(plot.spec.against, plot.spec.against))
    _finish(axes, plot)


def _numbers(axes: Any, points: Sequence[Point]) -> None:
    """The swept number beside each point, as far as there is room."""
    wide, high = (max((getattr(point, side) for point in points), default=0.0) for side in "xy")
    placed: list[Point] = []
    for point in points:
        if not any(abs(point.x - one.x) < wide / 12 and abs(point.y - one.y) < high / 12 for one in placed):
            placed.append(point)
            name, place = plain(point.name, 8), (point.x, point.y)
            axes.annotate(name, place, (4, 4), textcoords="offset points", fontsize=8, color=MUTED)


def _scales(axes: Any, plot: Plot) -> None:
    if plot.spec.log[0]:
        axes.set_xscale("log", base=2)
    if plot.spec.log[1]:
        axes.set_yscale("log")
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axes.yaxis.set_minor_formatter("")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_shown)


def _finish(axes: Any, plot: Plot) -> None:
    """The figure's name stands above its axis: turned on its side it is hard to read."""
    axes.set_title(LABELS.get(plot.spec.figure, plot.spec.figure), loc="left", color=INK)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def _stroke(axes: Any, points: Sequence[Point], look: Look, name: str, *, joined: bool = True) -> None:
    if not points:
        return
    colour = _colour(look)
    style = {"linestyle": ("--" if not look.colour else "-") if joined else "none", "linewidth": 1.5, "elinewidth": 1.1}
    drawn = axes.errorbar(
        [point.x for point in points],
        [point.y for point in points],
        _lengths(points, lambda point: (point.y, (point.low, point.high))),
        _lengths(points, lambda point: (point.x, point.across or (point.x, point.x))),
        color=colour,
        marker=look.marker,
        markersize=4.5,
        markerfacecolor=SURFACE if look.hollow else colour,
        capsize=2.5,
        **style,
    )
    drawn[0].set_gid(name)
    for bars in drawn[2] if not look.colour else ():
        bars.set_linestyle("--")


def _through(axes: Any, points: Sequence[Point], look: Look, name: str) -> None:
    """A fitted line: it has no marks, since nothing was measured at its ends."""
    places = [point.x for point in points], [point.y for point in points]
    axes.plot(*places, color=_colour(look), linestyle=":", linewidth=1.5)[0].set_gid(name)


def _lengths(points: Sequence[Point], of: Callable[[Point], tuple[float, tuple[float, float]]]) -> list[list[float]]:
    """Of the bars below and above; an interval of the median need not hold the median of a rounded file."""
    seen = [of(point) for point in points]
    return [[max(0.0, at - low) for at, (low, _) in seen], [max(0.0, high - at) for at, (_, high) in seen]]


def _cases(axes: Any, plot: Plot) -> None:
    """One row a case: its name above, the runs' marks below each other, a cross where repeats failed."""
    for number, (line, look) in enumerate(zip(plot.lines, looks(plot.lines), strict=True)):
        shift = 0.14 * (number - (len(plot.lines) - 1) / 2) if line.run else 0.0
        turned = [Point(one.y, one.x + shift, one.x + shift, one.x + shift, (one.low, one.high)) for one in line.points]
        _stroke(axes, turned, look, f"data-{number}", joined=False)
        for one in line.failed:
            axes.plot([0], [one.x + shift], "x", color=BAD, markersize=6, clip_on=False)
            if not any(other.x == one.x for other in line.points):
                place = (0, one.x + shift)
                axes.annotate(
                    plain(one.name, 46), place, (7, 0), textcoords="offset points", va="center", fontsize=8, color=BAD
                )
    for row, name in enumerate(plot.names):
        axes.text(0.005, row - 0.42, plain(name, LONGEST), transform=axes.get_yaxis_transform(), va="center")
    axes.set(ylim=(len(plot.names) - 0.5, -0.75), yticks=[], xlabel=LABELS.get(plot.spec.figure, plot.spec.figure))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(_shown)
    axes.margins(x=0.05)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(True)


def _colour(look: Look) -> str:
    return SERIES[look.colour - 1] if look.colour else PUBLISHED


def _apart(places: Sequence[float]) -> list[float]:
    """Those whose labels do not touch on a logarithmic axis."""
    shown: list[float] = []
    least = (places[-1] / places[0]) ** 0.09
    for place in places:
        if not shown or place / shown[-1] >= least:
            shown.append(place)
    return shown


def compact(value: float) -> str:
    """512, 4K (of 1,024), 200k; other numbers to three digits."""
    if value >= 1024 and value % 1024 == 0:
        return f"{value / 1024:g}K"
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:g}"


def _shown(value: float, _: int) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k"
    return f"{value:,g}"
