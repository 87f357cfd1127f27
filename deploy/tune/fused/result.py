"""What was measured of each implementation, and what follows: medians, the fastest, where two of them cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, log
from statistics import median
from typing import Any

from deploy.kernels.shape import Shape

PRECISE = 0.02
BOUNDS = {"fp8_w8a8": 0.1, "int8_w8a8": 0.05}
"""The greatest relative error of a token's row that is taken for right, for all other data types PRECISE.

Hopper's matrix instructions for fp8 add up in fewer bits than float32 has: on an H100, tiles that are served by them
were off by up to 4.7 %, SGLang's and vLLM's alike, and smaller tiles by 0.3 %. With 8 bits, a value near the middle of
two steps may fall on either.
"""
FELT = 0.01
"""The least difference of two medians, as a share, that counts where lines are said to cross."""


def bound(shape: Shape) -> float:
    """See BOUNDS."""
    return BOUNDS.get(shape.dtype, PRECISE)


@dataclass(frozen=True)
class Cell:
    """One implementation at one batch size: seconds a call, one figure a round, and its error against float32.

    `skipped` says why it does not apply, `failed` why it was dropped; one of the three is there. `table` is the file of
    its own table, empty for its default.
    """

    rounds: tuple[float, ...] = ()
    error: float | None = None
    table: str = ""
    skipped: str = ""
    failed: str = ""

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def spread(self) -> float:
        """The range of the rounds over the median."""
        return (max(self.rounds) - min(self.rounds)) / self.seconds


@dataclass(frozen=True)
class Crossing:
    """Between two batch sizes the faster one changes from `first` to `second`; `tokens` is where their lines meet.

    At both sizes every round says so, and the medians are FELT apart; at those between, it is not so.
    """

    first: str
    second: str
    tokens: float
    between: tuple[int, int]


@dataclass
class Results:
    """Cells by batch size and implementation, as they come."""

    names: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    cells: dict[int, dict[str, Cell]] = field(default_factory=dict)

    def timed(self, tokens: int) -> dict[str, Cell]:
        """Those that were right and were timed, in the order of the names."""
        return {name: cell for name, cell in self.cells[tokens].items() if cell.rounds}

    def fastest(self, tokens: int) -> tuple[str, bool]:
        """Whose median is the least, and whether it was so in every round; empty where nothing was timed."""
        timed = self.timed(tokens)
        if not timed:
            return "", False
        first = min(timed, key=lambda name: timed[name].seconds)
        others = (cell for name, cell in timed.items() if name != first)
        return first, all(max(ratios(timed[first], other)) < 1 for other in others)

    def failures(self) -> list[tuple[int, str, str]]:
        """Batch size, implementation and reason of all that was dropped."""
        return [
            (tokens, name, cell.failed)
            for tokens, row in sorted(self.cells.items())
            for name, cell in row.items()
            if cell.failed
        ]


def ratios(one: Cell, other: Cell) -> list[float]:
    """One's seconds over the other's, round by round: both were timed in turns."""
    return [mine / theirs for mine, theirs in zip(one.rounds, other.rounds, strict=True)]


def crossings(results: Results, first: str, second: str) -> list[Crossing]:
    """Where `first` stops or begins to be the faster of the two, in the order of batch sizes."""
    both = [
        (tokens, ratios(row[first], row[second]))
        for tokens, row in sorted((size, results.timed(size)) for size in results.cells)
        if first in row and second in row
    ]
    clear = [(tokens, log(median(values))) for tokens, values in both if _differ(values)]
    return [
        Crossing(
            *((first, second) if left < 0 else (second, first)), _meeting(small, large, left, right), (small, large)
        )
        for (small, left), (large, right) in pairwise(clear)
        if left * right < 0
    ]


def _differ(values: Sequence[float]) -> bool:
    return (max(values) < 1 or min(values) > 1) and abs(log(median(values))) >= log(1 + FELT)


def _meeting(small: int, large: int, left: float, right: float) -> float:
    """Where the logarithm of the ratio is 0, on a straight line over the logarithm of the batch size."""
    return exp(log(small) + (log(large) - log(small)) * left / (left - right))


def all_crossings(results: Results) -> list[Crossing]:
    """Of SGLang's with each other one; of the first of the names where SGLang's is not among them."""
    base = "sglang" if "sglang" in results.names else results.names[0]
    return [one for name in results.names if name != base for one in crossings(results, base, name)]
