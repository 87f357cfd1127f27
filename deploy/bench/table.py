"""A run as a table of text; decides nothing."""

from __future__ import annotations

from deploy.bench.metrics import CHUNKS_AS_TOKENS, FIGURES
from deploy.bench.results import Case, Figure, Repeat, Run
from deploy.grid import grid

LEFT_OUT = ("turn", "chunks", "chunk_gap_s", "completion_tokens", CHUNKS_AS_TOKENS, "thought_chars")
"""Figures that are in the file alone."""


def as_text(run: Run) -> str:
    """A row a case: medians, with the 95 % interval of each; what failed last."""
    columns = [name for name in FIGURES if name not in LEFT_OUT and any(name in case.figures for case in run.cases)]
    rows = [["", *columns, ""]]
    rows += [[case.name, *(_cell(case.figures.get(name)) for name in columns), _troubles(case)] for case in run.cases]
    return "\n".join([_title(run), *grid(rows, left=True), *run.notes]) + "\n"


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
