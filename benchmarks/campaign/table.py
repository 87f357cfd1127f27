"""The campaign's results as text and JSON; runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.campaign.cells import DOWN, PHASES, Cell
from benchmarks.campaign.judge import Run, problems, summary, worst


def as_json(cells: Sequence[Cell], runs: Mapping[str, Sequence[Run]], told: Mapping[str, Any]) -> dict[str, Any]:
    """The figures, the machine and method that `told` says, and each cell with its runs."""
    listed = [
        {
            "fault": cell.fault.name,
            "phase": cell.phase,
            "follows": cell.follows,
            "passed": bool(runs.get(cell.name)) and not any(problems(cell, run) for run in runs[cell.name]),
            "runs": [_told(cell, run) for run in runs.get(cell.name, ())],
        }
        for cell in cells
    ]
    return {**summary(cells, runs), **told, "list": listed}


def _told(cell: Cell, run: Run) -> dict[str, Any]:
    """A run; what the tool said word by word only where something was wrong."""
    wrong = problems(cell, run)
    return {**asdict(run), "problems": wrong, "said": run.said if wrong else []}


def as_text(cells: Sequence[Cell], runs: Mapping[str, Sequence[Run]]) -> str:
    """A line a cell, with the worst of its runs; then the figures."""
    rows: list[tuple[str, ...]] = [("FAULT", "PHASE", "RUNS", "NOTICED", "DOWN", "RESULT")]
    rows += [_row(cell, runs.get(cell.name, ())) for cell in cells]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    figures = {key: value for key, value in summary(cells, runs).items() if key != "failed"}
    return "\n".join([*lines, "", *(f"{key:26} {_shown(value)}" for key, value in figures.items())])


def matrix(found: Mapping[str, Any]) -> str:
    """The JSON's cells as a Markdown table, a row a fault: worst seconds until noticed / until down, or what failed."""
    cells = {(one["fault"], one["phase"]): _shown_cell(one) for one in found["list"]}
    faults = dict.fromkeys(fault for fault, _ in cells)
    rows = [[fault, *(cells.get((fault, phase), "") for phase in PHASES)] for fault in faults]
    lines = [["fault", *PHASES], ["---"] * (1 + len(PHASES)), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _shown_cell(one: Mapping[str, Any]) -> str:
    runs = one["runs"]
    if not one["passed"]:
        return f"**{sum(bool(run['problems']) for run in runs)} of {len(runs)} failed**" if runs else "not run"
    if one["phase"] == "stopping":
        return "stops"
    down = worst(run["down_s"] for run in runs)
    if one["follows"] != DOWN and down is None:
        return "goes on"
    notice = worst(run["notice_s"] for run in runs)
    return " / ".join(_shown(value) for value in (notice, down) if value is not None)


def _row(cell: Cell, runs: Sequence[Run]) -> tuple[str, ...]:
    wrong = list(dict.fromkeys(what for run in runs for what in problems(cell, run)))
    result = "; ".join(what.replace("\n", " ")[:100] for what in wrong) if wrong else "passed" if runs else "not run"
    notice, down = worst(run.notice_s for run in runs), worst(run.down_s for run in runs)
    return cell.fault.name, cell.phase, str(len(runs)), _shown(notice), _shown(down), result


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
