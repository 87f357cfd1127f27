"""Kernel tables held against a GPU, an SGLang and a Triton, at every batch size. Reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deploy.kernels.coverage import coverage_findings
from deploy.kernels.default import Segment, default_segments
from deploy.kernels.entry import entry_findings
from deploy.kernels.finding import LEVELS, Finding, Target
from deploy.kernels.memory import shared_memory
from deploy.kernels.name import TableName, read_name
from deploy.kernels.parse import Problem
from deploy.kernels.place import place_findings
from deploy.kernels.provenance import Provenance, provenance_findings
from deploy.kernels.shape import BYTES, Gemm, Shape
from deploy.kernels.table import Table


@dataclass(frozen=True)
class TableFile:
    """A file as it was read: a table, or what is wrong with it. `path` has slashes."""

    path: str
    table: Table | None
    problems: tuple[Problem, ...] = ()
    sha256: str = ""
    provenance: Provenance | str | None = None
    """What lies beside it: text says why that cannot be read."""

    @property
    def name(self) -> TableName | None:
        return read_name(PurePosixPath(self.path).name)

    @property
    def folder(self) -> str:
        return PurePosixPath(self.path).parent.name


@dataclass(frozen=True)
class Row:
    """The batch sizes `first` to `last` give GEMM `gemm` this configuration, which needs `bytes` of shared memory."""

    gemm: str
    segment: Segment
    bytes: int


@dataclass(frozen=True)
class Verdict:
    """What was found about one file, worst first; `rows` cover 1 to 65,536 tokens for each GEMM that it serves."""

    file: TableFile
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def runs(self) -> bool:
        """Whether no batch size would fail with this table on the target's GPU, whatever GPU its name says."""
        return all(one.level != "error" for one in self.findings)


def check(files: Sequence[TableFile], target: Target, shape: Shape | None = None) -> tuple[Verdict, ...]:
    """A verdict a file, in their order. `shape` is the model's where it is known; else a file's name must do."""
    pairs = _by_name(files)
    present = {file.folder for file in files}
    return tuple(_judged(file, pairs, present, target, shape) for file in files)


def errors(verdicts: Iterable[Verdict]) -> tuple[Finding, ...]:
    """The findings for which a table must not ship."""
    return tuple(one for verdict in verdicts for one in verdict.findings if one.level == "error")


def segments(table: Table) -> tuple[Segment, ...]:
    """Which entry 1 to 65,536 tokens take."""
    return tuple(Segment(one.first, one.last, str(one.key), table.entries[one.key]) for one in table.spans)


def without_table(shape: Shape, target: Target) -> tuple[tuple[Row, ...], tuple[Finding, ...]]:
    """What SGLang's default would do for both GEMMs of a shape."""
    known = target.small_default or target.rules.small_default
    rows, found = _rows(default_segments(shape, target.gpu, small=known), shape.gemms, target)
    hint = "install a table for this shape, or an image whose default fits"
    return rows, tuple(replace(one, hint=hint) if one.code == "shared_memory" else one for one in _sorted(found))


def _provenance(file: TableFile, target: Target) -> list[Finding]:
    if isinstance(file.provenance, str):
        return [Finding("warning", "provenance", f"its provenance {file.provenance}", "write it anew, or remove it")]
    return list(provenance_findings(file.sha256, file.provenance, target)) if file.provenance else []


_Pairs = Mapping[tuple[str, TableName], TableFile]


def _by_name(files: Iterable[TableFile]) -> _Pairs:
    return {(str(PurePosixPath(one.path).parent), one.name): one for one in files if one.name and one.table}


def _judged(file: TableFile, pairs: _Pairs, present: Iterable[str], target: Target, shape: Shape | None) -> Verdict:
    if file.table is None:
        broken = [Finding("error", "unreadable", one.what, key=one.key) for one in file.problems]
        return Verdict(file, (), tuple(replace(one, file=file.path) for one in broken))
    found = [*place_findings(file.path, file.name, present, target), *coverage_findings(file.table, target.prefill)]
    rows: tuple[Row, ...] = ()
    served = _shape(file.name, shape)
    if served:
        twin = _twin(file, pairs)
        rows, more = _rows(_own(file, twin, target), _gemms(file, twin, served), target)
        found += [*more, *_pair(file, twin, served, target)]
    found += _provenance(file, target)
    return Verdict(file, rows, tuple(replace(one, file=file.path) for one in _sorted(found)))


def _shape(name: TableName | None, shape: Shape | None) -> Shape | None:
    """The served model's where the name is of it, since that knows the hidden size; None for a type unknown here."""
    if name is None:
        return shape
    told = name.shape
    if shape and (told.experts, told.intermediate, told.dtype, told.block) == (
        shape.experts,
        shape.intermediate,
        shape.dtype,
        shape.block,
    ):
        return shape
    return told if told.dtype in BYTES else None


def _twin(file: TableFile, pairs: _Pairs) -> TableFile | None:
    """The down table of an up table, and the other way round."""
    if file.name is None:
        return None
    return pairs.get((str(PurePosixPath(file.path).parent), replace(file.name, down=not file.name.down)))


def _is_down(file: TableFile) -> bool:
    return file.name.down if file.name else PurePosixPath(file.path).stem.endswith("_down")


def _gemms(file: TableFile, twin: TableFile | None, shape: Shape) -> tuple[Gemm, ...]:
    """Without a `_down` table the up table serves both GEMMs."""
    up, down = shape.gemms
    if _is_down(file):
        return (down,)
    return (up,) if twin else (up, down)


def _own(file: TableFile, twin: TableFile | None, target: Target) -> tuple[Segment, ...]:
    """A file's segments; a `_down` table's BLOCK_SIZE_M is the up table's where this SGLang overrides it."""
    assert file.table is not None
    own = segments(file.table)
    if not (_is_down(file) and twin and twin.table and target.rules.pair_overridden):
        return own
    both = overlaps(segments(twin.table), own)
    return tuple(
        replace(down, first=first, last=last, config=replace(down.config, block_m=up.config.block_m))
        for first, last, up, down in both
    )


def _rows(own: Sequence[Segment], gemms: Iterable[Gemm], target: Target) -> tuple[tuple[Row, ...], tuple[Finding, ...]]:
    rows: list[Row] = []
    found: list[Finding] = []
    for gemm in gemms:
        rows += [Row(gemm.name, one, shared_memory(one.config, gemm, target.gpu)) for one in own]
        for one in own:
            wrong = entry_findings(one.config, gemm, target)
            found += [replace(item, key=one.label, tokens=(one.first, one.last)) for item in wrong]
    return tuple(rows), tuple(dict.fromkeys(found))


def overlaps(one: Sequence[Segment], other: Sequence[Segment]) -> Iterator[tuple[int, int, Segment, Segment]]:
    """(first, last, of the one, of the other) for every batch size, in as few pieces as there are."""
    left, right = iter(one), iter(other)
    a, b = next(left, None), next(right, None)
    while a and b:
        yield max(a.first, b.first), min(a.last, b.last), a, b
        ended = a.last <= b.last, b.last <= a.last
        a = next(left, None) if ended[0] else a
        b = next(right, None) if ended[1] else b


def _pair(file: TableFile, twin: TableFile | None, shape: Shape, target: Target) -> Iterator[Finding]:
    """Both GEMMs share one sorting of tokens into blocks of BLOCK_SIZE_M."""
    if not _is_down(file) or file.table is None:
        return
    if twin and twin.table:
        up, whose = segments(twin.table), "the up table"
    else:
        small = target.small_default or target.rules.small_default
        up, whose = default_segments(shape, target.gpu, small=small), "the default, as there is no up table"
        hint = "install both tables, or none"
        yield Finding("warning", "down_alone", "a _down table without its up table", hint)
    level = "warning" if target.rules.pair_overridden else "error"
    then = "is replaced by it" if target.rules.pair_overridden else "an assertion ends the rank"
    for first, last, above, below in overlaps(up, segments(file.table)):
        ours, theirs = below.config.block_m, above.config.block_m
        if ours != theirs:
            message = f"BLOCK_SIZE_M is {ours}, {whose} has {theirs} (entry {above.label}) at {_sizes(first, last)}: "
            hint = "give both tables the same batch sizes and the same BLOCK_SIZE_M in each"
            yield Finding(level, "pair", message + then, hint, key=below.label, gemm="down", tokens=(first, last))


def _sizes(first: int, last: int) -> str:
    return f"{first} tokens" if first == last else f"{first} to {last} tokens"


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: LEVELS.index(one.level))
