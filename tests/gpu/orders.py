"""In which order several ways are timed: a Williams design, so that each follows each other one equally often."""

from __future__ import annotations

from collections.abc import Iterator


def orders(ways: int) -> list[list[int]]:
    """As many orders of `range(ways)` as it takes, twice as many for an odd number; their rounds follow each other."""
    first = list(_zigzag(ways))
    rows = [[(step + at) % ways for step in first] for at in range(ways)]
    return rows + [row[::-1] for row in rows] if ways % 2 else rows


def _zigzag(ways: int) -> Iterator[int]:
    """0, 1, last, 2, last but one: neighbours differ by each distance."""
    for at in range(ways):
        yield (at + 1) // 2 if at % 2 else -(at // 2) % ways
