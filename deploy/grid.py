"""Rows of words as lines of text with aligned columns."""

from __future__ import annotations

from collections.abc import Sequence


def grid(rows: Sequence[Sequence[str]], *, left: bool = False) -> list[str]:
    """A line a row, numbers to the right unless `left`; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    align = str.ljust if left else str.rjust
    return ["  ".join(align(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
