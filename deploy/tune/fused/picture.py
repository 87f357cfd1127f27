"""Microseconds over the batch size, a line an implementation, with the points where SGLang's line crosses another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.kernels.picture import over_batch_sizes, plotting, saved
from deploy.tune.fused.implementation import TITLES
from deploy.tune.fused.result import Crossing, Results, all_crossings

COLOURS = {"sglang": "#0b6e99", "vllm": "#c4591d", "triton_kernels": "#5b7a1e", "torch_compile": "#7a4a9e"}
_MARK = "#333333"


def draw(results: Results, title: str, output: Path) -> None:
    """Both axes logarithmic, into a .svg or .png. Raises KernelError."""
    plots = plotting(output)
    figure, axes = plots.subplots(figsize=(9, 5), layout="constrained")
    for name in results.names:
        _line(axes, results, name)
    for one in all_crossings(results):
        _crossing(axes, one)
    over_batch_sizes(axes, sorted(results.cells), "the whole layer, microseconds a call")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    saved(figure, output)


def _line(axes: Any, results: Results, name: str) -> None:
    cells = [(size, row[name]) for size, row in sorted(results.cells.items()) if name in row and row[name].rounds]
    if not cells:
        return
    sizes = [size for size, _ in cells]
    seconds = [cell.seconds * 1e6 for _, cell in cells]
    low = [(cell.seconds - min(cell.rounds)) * 1e6 for _, cell in cells]
    high = [(max(cell.rounds) - cell.seconds) * 1e6 for _, cell in cells]
    axes.errorbar(
        sizes, seconds, (low, high), fmt="o-", color=COLOURS[name], label=TITLES[name], markersize=3.5, capsize=2
    )


def _crossing(axes: Any, one: Crossing) -> None:
    """A line down from where two meet, with the number of tokens."""
    axes.axvline(one.tokens, color=_MARK, linewidth=0.9, linestyle=":")
    words = f"{TITLES[one.first]} | {TITLES[one.second]} at {one.tokens:,.0f}"
    axes.annotate(
        words, (one.tokens, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7,
        ha="right", va="bottom", color=_MARK,
    )  # fmt: skip
