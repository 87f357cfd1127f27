"""A table as a picture: shared memory, tile and entry over the batch size. The one home of matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.errors import KernelError
from deploy.kernels.check import Row, Verdict
from deploy.kernels.finding import Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png")
SHOWN = 8192
"""Tokens of the largest batch in the picture: a whole chunk of a prefill."""
_COLOURS = {"up": "#0b6e99", "down": "#c4591d", "M": "#0b6e99", "N": "#c4591d", "K": "#5b7a1e"}
_LIMIT = "#b3261e"
_BANDS = ("#dce8ee", "#b9d2de")
_KIB = 1024


def draw(verdicts: Sequence[Verdict], target: Target, output: Path) -> None:
    """Draw an up table, with its `_down` table where there is one, into a .svg or .png. Raises KernelError."""
    plots = plotting(output)
    rows = [row for verdict in verdicts for row in verdict.rows]
    if not rows:
        raise KernelError(f"{verdicts[0].file.path}: has nothing to show", "see: kernels check")
    gemms = _gemms(rows) if _differ(rows) else _gemms(rows)[:1]
    heights = [4.5, *[4.0 for _ in gemms], *[1.1 for _ in gemms]]
    figure, axes = plots.subplots(
        len(heights),
        1,
        figsize=(9, 0.72 * sum(heights)),
        sharex=True,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    _memory(axes[0], rows, target)
    for place, gemm in enumerate(gemms):
        which = f", {gemm} GEMM" if len(gemms) > 1 else ""
        _tile(axes[1 + place], [row for row in rows if row.gemm == gemm], which)
        _entries(axes[1 + len(gemms) + place], [row for row in rows if row.gemm == gemm], which)
    _tokens(axes[-1])
    name = Path(verdicts[0].file.path).name.removesuffix(".json")
    figure.suptitle(f"{name}\non {target.gpu.name}, Triton {target.triton}", fontsize=10, x=0.01, ha="left")
    saved(figure, output)


def over_batch_sizes(axes: Any, sizes: Sequence[int], times: str) -> None:
    """Both axes logarithmic, each batch size named, and what `times` are."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8, rotation=45)
    axes.minorticks_off()
    axes.set(xlabel="tokens in a batch", ylabel=times)
    axes.grid(color="#e6e6e6")
    axes.legend(loc="upper left", frameon=False)


def saved(figure: Any, output: Path) -> None:
    """Write a figure, the same bytes for the same one, and let go of it. Raises KernelError."""
    try:
        figure.savefig(output, dpi=150, metadata={"Date": None} if output.suffix == ".svg" else None)
    except OSError as error:
        raise KernelError(f"{output}: {error.strerror}", "name another file for the picture") from None
    finally:
        plotting(output).close(figure)


def svg(figure: Any) -> str:
    """A figure as the text of an SVG, the same for the same one; lets go of it."""
    text = StringIO()
    try:
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    finally:
        pyplot().close(figure)
    return text.getvalue()


def plotting(output: Path) -> Any:
    """Matplotlib's plotting, for a file of such a name. Raises KernelError."""
    if output.suffix not in FORMATS:
        raise KernelError(f"{output}: is no picture that can be made", f"end it in {' or '.join(FORMATS)}")
    return pyplot()


def pyplot() -> Any:
    """Matplotlib's plotting, set up for files. Raises KernelError where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise KernelError(
            "pictures are drawn by matplotlib, which is not installed", "pip install '.[plots]'"
        ) from None
    matplotlib.use("agg")
    import matplotlib.pyplot

    settings: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "table"}
    matplotlib.rcParams.update(settings)
    return matplotlib.pyplot


def _steps(rows: Sequence[Row], gemm: str, value: Callable[[Row], float]) -> tuple[list[float], list[float]]:
    """A line of steps over the batch size."""
    own = [row for row in rows if row.gemm == gemm and row.segment.first <= SHOWN]
    places = [float(end) for row in own for end in (row.segment.first - 0.5, min(row.segment.last, SHOWN) + 0.5)]
    return [max(place, 1.0) for place in places], [float(value(row)) for row in own for _ in range(2)]


def _gemms(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.gemm for row in rows))


def _memory(axes: Axes, rows: Sequence[Row], target: Target) -> None:
    limit = target.gpu.shared_memory / _KIB
    for gemm in _gemms(rows):
        places, sizes = _steps(rows, gemm, lambda row: row.bytes / _KIB)
        axes.plot(
            places,
            sizes,
            linestyle="-" if gemm == "up" else (0, (4, 2)),
            color=_COLOURS[gemm],
            label=f"{gemm} GEMM",
            linewidth=1.8,
        )
    label = f"limit of {target.gpu.name}: {target.gpu.shared_memory:,} bytes"
    axes.axhline(limit, color=_LIMIT, linewidth=1.4, label=label)
    top = 1.08 * max(limit, *(row.bytes / _KIB for row in rows))
    axes.axhspan(limit, top, color=_LIMIT, alpha=0.07, linewidth=0)
    axes.set(ylabel="shared memory of a block, KiB", ylim=(0, top))
    axes.grid(axis="y", color="#e6e6e6")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=3)


def _tile(axes: Axes, rows: Sequence[Row], which: str) -> None:
    """Sides that coincide are told apart by width."""
    for side, width in (("K", 4.2), ("N", 2.8), ("M", 1.4)):
        places, sizes = _steps(rows, rows[0].gemm, partial(_side, side))
        axes.plot(places, sizes, color=_COLOURS[side], linewidth=width, label=f"BLOCK_SIZE_{side}")
    found = [_side(side, row) for row in rows for side in "MNK"]
    axes.set_yscale("log", base=2)
    ticks = [2**power for power in range(4, 17) if min(found) <= 2**power <= max(found)]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set(ylabel=f"tile{which}", ylim=(min(found) / 1.25, max(found) * 1.9))
    axes.minorticks_off()
    axes.grid(axis="y", color="#e6e6e6")
    axes.legend(loc="upper left", frameon=False, ncols=3)


def _side(side: str, row: Row) -> float:
    return float(getattr(row.segment.config, f"block_{side.lower()}"))


def _differ(rows: Sequence[Row]) -> bool:
    """Whether up and down take different entries anywhere."""
    taken: dict[str, list[object]] = {}
    for row in rows:
        taken.setdefault(row.gemm, []).append((row.segment.first, row.segment.config))
    return len(taken) > 1 and len({tuple(one) for one in taken.values()}) > 1


def _entries(axes: Axes, rows: Sequence[Row], which: str) -> None:
    """Which key each batch size takes, as bands."""
    own = [row.segment for row in rows if row.segment.first <= SHOWN]
    for one, colour in zip(own, cycle(_BANDS), strict=False):
        left, right = max(one.first - 0.5, 1.0), min(one.last, SHOWN) + 0.5
        axes.axvspan(left, right, color=colour, linewidth=0)
        axes.text((left * right) ** 0.5, 0.5, one.label, ha="center", va="center", fontsize=7, rotation=90)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel(f"entry{which}".replace(", ", "\n").replace(" GEMM", ""), rotation=0, ha="right", va="center")


def _tokens(axes: Axes) -> None:
    """The axis that all share."""
    axes.set_xscale("log", base=2)
    axes.set(xlim=(1, SHOWN), xlabel="tokens in a batch")
    ticks = [2**power for power in range(14)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    axes.minorticks_off()
