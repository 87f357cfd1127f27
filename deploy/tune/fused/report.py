"""Results as a table for people, as JSON and as CSV. Measures and writes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from deploy.grid import grid
from deploy.tune.fused.implementation import TITLES
from deploy.tune.fused.result import Cell, Crossing, Results, all_crossings

METHOD = (
    "router logits to output: top-k softmax, both products, SiLU and product, weighted sum; microseconds a call, "
    "medians of rounds in turns, ± half their range; CUDA graphs, weights from memory"
)
TABLED = ("sglang", "vllm")
"""Those that look for a table."""
COLUMNS = (
    "tokens", "implementation", "median_us", "least_us", "greatest_us", "error", "table", "fastest", "why_not",
)  # fmt: skip


def as_text(results: Results) -> str:
    """A line a batch size, then what explains it."""
    head = ("tokens", *(TITLES[name] for name in results.names), "fastest")
    rows = [head, *(_row(results, tokens) for tokens in sorted(results.cells))]
    return "\n".join([METHOD, *("  " + line for line in grid(rows)), *notes(results)])


def _row(results: Results, tokens: int) -> tuple[str, ...]:
    row = results.cells[tokens]
    return (
        str(tokens),
        *(_words(row[name]) if name in row else "-" for name in results.names),
        _first(results, tokens),
    )


def _words(cell: Cell) -> str:
    if cell.rounds:
        return f"{cell.seconds * 1e6:.1f} ±{cell.spread / 2:.1%}"
    return "dropped" if cell.failed else "-"


def _first(results: Results, tokens: int) -> str:
    name, clear = results.fastest(tokens)
    if not name:
        return "-"
    return TITLES[name] if clear else f"{TITLES[name]}, within the spread"


def notes(results: Results) -> Iterator[str]:
    """Where two cross; errors, tables, and what was left out and why."""
    for crossing in all_crossings(results):
        yield _crossed(crossing)
    for name in results.names:
        cells = [row[name] for row in results.cells.values() if name in row]
        if errors := [cell.error for cell in cells if cell.error is not None]:
            tables = f"; {_tables(cells)}" if name in TABLED else ""
            yield f"{TITLES[name]}: greatest error of a token against float32 {max(errors):.2%}{tables}"
    said: dict[tuple[str, str], str] = {}
    for tokens, row in sorted(results.cells.items()):
        for name, cell in row.items():
            if cell.skipped:
                said.setdefault(
                    (name, cell.skipped.split(":")[0]), f"{TITLES[name]}, from {tokens} tokens: {cell.skipped}"
                )
    yield from said.values()
    for tokens, name, why in results.failures():
        yield f"{TITLES[name]} was dropped at {tokens} tokens: {why.splitlines()[0]}"


def _crossed(one: Crossing) -> str:
    small, large = one.between
    return (
        f"{TITLES[one.first]} is faster up to {small} tokens, {TITLES[one.second]} from {large} on; "
        f"their lines meet at {one.tokens:.0f}"
    )


def _tables(cells: list[Cell]) -> str:
    found = sorted({cell.table for cell in cells if cell.table})
    return f"its table {', '.join(found)}" if found else "no table of its own for this shape and GPU"


def as_json(results: Results) -> dict[str, Any]:
    """Everything, in seconds and tokens."""
    return {
        "method": METHOD,
        "facts": dict(results.facts),
        "implementations": list(results.names),
        "sizes": [
            {
                "tokens": tokens,
                "fastest": results.fastest(tokens)[0],
                "clear": results.fastest(tokens)[1],
                "cells": {name: _cell_json(cell) for name, cell in row.items()},
            }
            for tokens, row in sorted(results.cells.items())
        ],
        "crossings": [asdict(one) for one in all_crossings(results)],
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    figures = {"seconds": cell.seconds, "spread": cell.spread} if cell.rounds else {}
    return {**figures, **asdict(cell)}


def as_csv(results: Results) -> str:
    """A line an implementation and batch size, see COLUMNS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for tokens, row in sorted(results.cells.items()):
        first = results.fastest(tokens)[0]
        for name, cell in row.items():
            times = (cell.seconds, min(cell.rounds), max(cell.rounds)) if cell.rounds else ()
            figures = [f"{one * 1e6:.2f}" for one in times] or [""] * 3
            error = "" if cell.error is None else f"{cell.error:.6f}"
            why = (cell.failed or cell.skipped).replace("\n", " ")
            writer.writerow([tokens, name, *figures, error, cell.table, "yes" if name == first else "", why])
    return text.getvalue()
