"""How the time of a decoding step grows with the context, fitted to measurements; measures nothing.

A step reads the weights that are active once, and the keys and values of every token in the context. So its time is a
line over the context's length. Where bytes and bandwidth are known, one factor says how much of the bandwidth is used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, median

from deploy.bench.metrics import FIGURES
from deploy.bench.results import Figure

Points = Mapping[float, Sequence[float]]
"""Seconds of a step, several for each length of the context in tokens."""
RESAMPLES = 400


@dataclass(frozen=True)
class Roofline:
    """What one GPU reads in a step, in bytes, and its bandwidth in bytes a second."""

    weights: float
    token: float
    bandwidth: float

    def seconds(self, tokens: float) -> float:
        """The least that a step can take."""
        return (self.weights + self.token * tokens) / self.bandwidth


def fitted(points: Points, seed: int, roofline: Roofline | None = None) -> dict[str, Figure]:
    """The line's figures with 95 % intervals from resampled repeats; nothing where there are not two lengths."""
    if len(points) < 2:
        return {}
    wanted: dict[str, Callable[[Points], float]] = {
        "step_at_zero_s": lambda given: _line(given)[0],
        "step_per_1k_tokens_s": lambda given: 1000 * _line(given)[1],
    }
    if roofline:
        wanted["bandwidth_efficiency"] = lambda given: _efficiency(given, roofline)
    return {name: _figure(name, value, points, seed) for name, value in wanted.items()}


def _line(points: Points) -> tuple[float, float]:
    found = linear_regression(list(points), [median(values) for values in points.values()])
    return found.intercept, found.slope


def _efficiency(points: Points, roofline: Roofline) -> float:
    """The factor for which least / factor is nearest to what was measured, by least squares."""
    pairs = [(roofline.seconds(tokens), median(values)) for tokens, values in points.items()]
    return sum(least * least for least, _ in pairs) / sum(least * took for least, took in pairs)


def _figure(name: str, value: Callable[[Points], float], points: Points, seed: int) -> Figure:
    dice = random.Random(seed)
    again = (
        {tokens: dice.choices(values, k=len(values)) for tokens, values in points.items()} for _ in range(RESAMPLES)
    )
    found = sorted(value(one) for one in again)
    low, high = found[RESAMPLES // 40], found[-1 - RESAMPLES // 40]
    unit, better = FIGURES[name]
    return Figure(unit, value(points), low, high, sum(map(len, points.values())), better)
