"""Times over the batch size as a picture: what was found, what was there before, and what the GPU could do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.kernels.picture import over_batch_sizes, plotting, saved

FOUND, BEFORE, BOUND = "#0b6e99", "#c4591d", "#5b7a1e"


@dataclass(frozen=True)
class Lines:
    """Seconds of both GEMMs by batch size; `before` is called `name`."""

    found: Mapping[int, float]
    before: Mapping[int, float]
    bound: Mapping[int, float]
    name: str


def draw(lines: Lines, title: str, output: Path) -> None:
    """Both axes logarithmic, into a .svg or .png. Raises KernelError."""
    plots = plotting(output)
    figure, axes = plots.subplots(figsize=(9, 5), layout="constrained")
    _line(axes, lines.bound, BOUND, "--", "bound: bytes and operations that no kernel saves")
    _line(axes, lines.before, BEFORE, "o-", lines.name)
    _line(axes, lines.found, FOUND, "o-", "tuned")
    over_batch_sizes(axes, sorted(lines.found), "both GEMMs, microseconds a call")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    saved(figure, output)


def _line(axes: Any, seconds: Mapping[int, float], colour: str, style: str, name: str) -> None:
    if seconds:
        sizes = sorted(seconds)
        axes.plot(sizes, [seconds[size] * 1e6 for size in sizes], style, color=colour, label=name, markersize=3.5)
