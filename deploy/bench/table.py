"""A run as a table of text; decides nothing."""

from __future__ import annotations

from deploy.bench.metrics import FIGURES
from deploy.bench.results import Case, Figure, Repeat, Run

LEFT_OUT = ("turn", "chunks", "chunk_gap_s", "completion_tokens", "chunks_as_tokens_per_s", "thought_chars")
"""Figures that are in the file alone."""


def as_text(run: Run) -> str:
    """A row a case: medians, with the 95 % interval of each; what failed last."""
    columns = [name for name in FIGURES if name not in LEFT_OUT and any(name in case.figures for case in run.cases)]
    rows = [["", *columns, ""]]
    rows += [[case.name, *(_cell(case.figures.get(name)) for name in columns), _troubles(case)] for case in run.cases]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([_title(run), *lines, *run.notes]) + "\n"


def _title(run: Run) -> str:
    whole = "" if run.complete else "; not complete"
    return f"{run.suite}: {run.server.model} by {run.server.engine or 'an unnamed engine'} {run.server.version}{whole}"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.low == figure.high:
        return f"{figure.median:.4g}"
    return f"{figure.median:.4g} ({figure.low:.4g} to {figure.high:.4g})"


def _troubles(case: Case) -> str:
    fell = next((f"fell: {one.kind}" for one in case.repeats if one.fell), "")
    return "; ".join(filter(None, (fell, *(_told(case.repeats, ok) for ok in (False, True)))))


def _told(repeats: list[Repeat], ok: bool) -> str:
    """`2 of 5 failed: cut`, or `wrong` where an answer came and was not right."""
    kinds = [repeat.kind for repeat in repeats if repeat.ok == ok and repeat.kind and not repeat.fell]
    what = "wrong" if ok else "failed"
    return f"{len(kinds)} of {len(repeats)} {what}: {', '.join(dict.fromkeys(kinds))}" if kinds else ""
