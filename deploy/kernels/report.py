"""What a check found, as text for people and as JSON. Checks nothing and prints nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploy.grid import grid
from deploy.kernels.batches import Batch
from deploy.kernels.check import Row, Verdict, errors, without_table
from deploy.kernels.finding import Finding, Target
from deploy.kernels.name import TableName, folder, searched, table_name, version_of
from deploy.kernels.shape import Shape

DETAILED = 8
"""Up to so many tables are shown entry by entry."""


@dataclass(frozen=True)
class Served:
    """The model's shape, the table that SGLang looks for, and the file it finds among those checked, or none."""

    shape: Shape
    name: TableName
    file: str | None


@dataclass(frozen=True)
class Report:
    """A whole check. `served` where the model is known; `batches` where the server's settings are."""

    target: Target
    verdicts: tuple[Verdict, ...]
    served: Served | None = None
    batches: tuple[Batch, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return errors(self.verdicts)


def served(verdicts: Iterable[Verdict], shape: Shape, target: Target) -> Served:
    """Which of the tables SGLang would find for a shape, searching their folders in its order."""
    name = table_name(shape, target.gpu.device, target.rules)
    by_folder = {one.file.folder: one.file for one in verdicts if one.file.name == name and one.file.table}
    present = [version for one in by_folder if (version := version_of(one))]
    places = map(folder, searched(target.rules, target.triton, present))
    return Served(shape, name, next((by_folder[one].path for one in places if one in by_folder), None))


def report_json(report: Report) -> dict[str, Any]:
    """Everything, under stable names; sizes in bytes and tokens."""
    target, gpu = report.target, report.target.gpu
    return {
        "gpu": {"name": gpu.name, "device": gpu.device, "shared_memory": gpu.shared_memory, "source": gpu.source},
        "sglang": target.sglang,
        "triton": target.triton,
        "lowering": target.lowering,
        "tables": [_verdict_json(one, report.batches) for one in report.verdicts],
        "served": _served_json(report) if report.served else None,
        "summary": {
            "tables": len(report.verdicts),
            "run": sum(one.runs for one in report.verdicts),
            "errors": len(report.errors),
        },
    }


def report_text(report: Report, *, detailed: bool = False) -> str:
    """Tables entry by entry where they are few, else a line a table; what the default does; a summary."""
    few = detailed or len(report.verdicts) <= DETAILED
    parts = [_detail(one, report) if few else _line(one) for one in report.verdicts]
    runs = sum(one.runs for one in report.verdicts)
    if report.served:
        parts.append(_served_text(report))
    parts.append(f"{runs} of {len(report.verdicts)} tables would run on {_where(report.target)}")
    return "\n".join(parts)


def met(verdict: Verdict, batch: Batch) -> tuple[str, ...]:
    """The entries that these batch sizes take, by their keys."""
    table = verdict.file.table
    if table is None:
        return ()
    spans = table.spans
    lasts = [span.last for span in spans]
    if batch.every:
        chosen: Iterable[int] = range(bisect_left(lasts, batch.sizes[0]), bisect_left(lasts, batch.sizes[-1]) + 1)
    else:
        chosen = dict.fromkeys(bisect_left(lasts, size) for size in batch.sizes)
    return tuple(str(spans[place].key) for place in chosen if place < len(spans))


def _verdict_json(verdict: Verdict, sizes: Iterable[Batch]) -> dict[str, Any]:
    return {
        "file": verdict.file.path,
        "name": asdict(verdict.file.name) if verdict.file.name else None,
        "runs": verdict.runs,
        "largest": max((row.bytes for row in verdict.rows), default=None),
        "entries": [_row_json(row) for row in verdict.rows],
        "findings": [asdict(one) for one in verdict.findings],
        "batches": [{"name": one.name, "entries": met(verdict, one)} for one in sizes],
    }


def _row_json(row: Row) -> dict[str, Any]:
    one = row.segment
    return {
        "gemm": row.gemm,
        "first": one.first,
        "last": one.last,
        "key": one.label,
        "config": one.config.as_json(),
        "bytes": row.bytes,
    }


def _served_json(report: Report) -> dict[str, Any]:
    assert report.served
    found: dict[str, Any] = {
        "shape": asdict(report.served.shape),
        "table": str(report.served.name),
        "file": report.served.file,
    }
    for name, target in _defaults(report.target):
        rows, wrong = without_table(report.served.shape, target)
        found[name] = {
            "entries": [_row_json(row) for row in rows],
            "crashes_from": _crashes_from(wrong),
            "findings": [asdict(one) for one in wrong],
        }
    return found


def _defaults(target: Target) -> Iterator[tuple[str, Target]]:
    """SGLang's own default, and the image's where a patch changes it."""
    yield "default", replace(target, fitted_default=False)
    if target.fitted_default:
        yield "patched_default", target


def _crashes_from(found: Iterable[Finding]) -> int | None:
    return min((one.tokens[0] for one in found if one.level == "error" and one.tokens), default=None)


def _served_text(report: Report) -> str:
    assert report.served
    lines = [f"this model looks for {report.served.name}", f"  found: {report.served.file or 'no, the default serves'}"]
    for name, target in _defaults(report.target):
        rows, found = without_table(report.served.shape, target)
        crash = _crashes_from(found)
        largest = max(row.bytes for row in rows)
        verdict = f"crashes from {crash} tokens on" if crash else "runs"
        whose = "SGLang's default" if name == "default" else "the image's patched default"
        lines.append(f"  without a table {whose} {verdict}: at most {largest:,} bytes")
    return "\n".join(lines)


def _where(target: Target) -> str:
    gpu = target.gpu
    return f"{gpu.name} ({gpu.shared_memory:,} bytes a block), SGLang {target.sglang}, Triton {target.triton}"


def _line(verdict: Verdict) -> str:
    if verdict.file.table is None:
        return f"BROKEN  {verdict.file.path}: {verdict.findings[0].message}"
    wrong = dict.fromkeys(one.key for one in verdict.findings if one.level == "error")
    largest = max((row.bytes for row in verdict.rows), default=0)
    size = f"{largest:>7,} bytes"
    why = dict.fromkeys(one.code for one in verdict.findings if one.level == "error")
    told = f"{len(wrong)} of {len(verdict.file.table.entries)} entries: {', '.join(why)}" if wrong else "runs"
    return f"{'FAILS' if wrong else 'ok':6}  {size}  {verdict.file.path}: {told}"


def _detail(verdict: Verdict, report: Report) -> str:
    lines = [verdict.file.path]
    if verdict.rows:
        lines += ["  " + line for line in grid(list(_entries(verdict, report.target.gpu.shared_memory)))]
    for batch in report.batches:
        keys = met(verdict, batch)
        if keys:
            lines.append(f"  {batch.name} ({_sizes(batch)} tokens): entries {' '.join(keys)}")
    lines += [f"  {line}" for line in _told(verdict.findings)]
    return "\n".join(lines) + "\n"


def _entries(verdict: Verdict, limit: int) -> Iterator[tuple[str, ...]]:
    gemms = list(dict.fromkeys(row.gemm for row in verdict.rows))
    yield (
        "tokens",
        "entry",
        "M x N x K",
        "group",
        "warps",
        "stages",
        *(f"{gemm}, bytes" for gemm in gemms),
        "of limit",
    )
    columns = [[row for row in verdict.rows if row.gemm == gemm] for gemm in gemms]
    for rows in zip(*columns, strict=True):
        one, config = rows[0].segment, rows[0].segment.config
        tile = f"{config.block_m} x {config.block_n} x {config.block_k}"
        share = f"{max(row.bytes for row in rows) / limit:.0%}"
        numbers = map(str, (config.group_m, config.num_warps, config.num_stages))
        yield (_span(one.first, one.last), one.label, tile, *numbers, *(f"{row.bytes:,}" for row in rows), share)


def _sizes(batch: Batch) -> str:
    if batch.every:
        return f"{batch.sizes[0]} to {batch.sizes[-1]}"
    head = ", ".join(map(str, batch.sizes[:3]))
    return f"{head}, ... {batch.sizes[-1]}" if len(batch.sizes) > 3 else head


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _told(findings: Iterable[Finding]) -> Iterator[str]:
    """A line a finding; what holds for both GEMMs is said once."""
    gemms: dict[Finding, list[str]] = {}
    for one in findings:
        gemms.setdefault(replace(one, gemm=""), []).append(one.gemm)
    for found, names in gemms.items():
        key = f"{found.key}: " if found.key else ""
        gemm = f" ({', '.join(names)})" if names[0] else ""
        hint = f"; {found.hint}" if found.hint and found.level != "note" else ""
        yield f"{found.level}: {key}{found.message}{gemm}{hint}"
