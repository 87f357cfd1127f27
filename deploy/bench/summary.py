"""Runs as tables: cases with medians and spread, failures, servers, raw repeats; knows no HTML and no Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from deploy.bench.metrics import CHUNKS_AS_TOKENS, FIGURES
from deploy.bench.plots import Numbered
from deploy.bench.results import Figure, Repeat, Server
from deploy.bench.series import setting
from deploy.bench.suite import SUITES

WRONG = {CHUNKS_AS_TOKENS: "wrong on purpose: chunks counted as tokens, as others did"}


@dataclass(frozen=True)
class Column:
    """A figure's name and unit, and what is wrong with it where something is."""

    name: str
    unit: str
    wrong: str = ""


@dataclass(frozen=True)
class Row:
    """A case of a run; `figures` has a place for each column, None where the case lacks it; `errors` are those of
    repeats that failed, and the faults of answers that came whole."""

    run: int
    case: str
    parameters: str
    figures: tuple[Figure | None, ...]
    good: int
    failed: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Failure:
    """One repeat that failed."""

    run: int
    suite: str
    case: str
    repeat: int
    kind: str
    error: str


@dataclass(frozen=True)
class RawRow:
    """One repeat; `figures` has a place for each of the table's names; `first` and `last` chunk in seconds."""

    case: str
    repeat: int
    error: str
    figures: tuple[float | None, ...]
    chunks: int
    first: float | None
    last: float | None


@dataclass(frozen=True)
class RawTable:
    run: Numbered
    names: tuple[str, ...]
    rows: tuple[RawRow, ...]


@dataclass(frozen=True)
class Served:
    """A server and the numbers of the runs that it answered. Its accept length is each run's own."""

    runs: tuple[int, ...]
    server: Server


def number(value: float) -> str:
    """Four digits that count: `0.4123`, `16.77`, `1,234`, `165,000`."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spread(figure: Figure) -> str:
    """The interval, or that a single repeat has none."""
    return f"{number(figure.low)} to {number(figure.high)}" if figure.n > 1 else "one repeat"


def suites(runs: Iterable[Numbered]) -> list[str]:
    """The suites of the runs, the known ones first."""
    found = {one.run.suite for one in runs}
    return [*(name for name in SUITES if name in found), *sorted(found - set(SUITES))]


def table(runs: Sequence[Numbered]) -> Table:
    """All cases of runs of one suite, equal cases of several runs beneath each other."""
    columns = tuple(_columns(runs))
    places: dict[tuple[str, str], int] = {}
    rows = []
    for one in runs:
        for row in _rows(one, columns):
            places.setdefault((row.case, row.parameters), len(places))
            rows.append(row)
    rows.sort(key=lambda row: (places[row.case, row.parameters], row.run))
    return Table(columns, tuple(rows))


def _columns(runs: Sequence[Numbered]) -> Iterator[Column]:
    units = {name: figure.unit for one in runs for case in one.run.cases for name, figure in case.figures.items()}
    for name in sorted(units, key=_rank):
        yield Column(name, units[name], WRONG.get(name, ""))


def _rank(name: str) -> tuple[int, str]:
    """As metrics lists them, the others behind, and what is wrong last."""
    if name in WRONG:
        return len(FIGURES) + 1, name
    return (list(FIGURES).index(name) if name in FIGURES else len(FIGURES)), name


def _rows(one: Numbered, columns: Sequence[Column]) -> Iterator[Row]:
    for case in one.run.cases:
        failed = case.failed
        noted = Counter(_why(repeat) for repeat in case.repeats if repeat.kind or repeat.error or not repeat.ok)
        figures = tuple(case.figures.get(column.name) for column in columns)
        errors = tuple(f"{count} x {why}" if count > 1 else why for why, count in noted.items())
        good = len(case.repeats) - len(failed)
        yield Row(one.number, case.name, setting(case, case.parameters), figures, good, len(failed), errors)


def failures(runs: Iterable[Numbered]) -> tuple[Failure, ...]:
    """Every repeat that failed or that the server fell in, in the order of the runs."""
    return tuple(
        Failure(one.number, one.run.suite, case.name, place, repeat.kind, repeat.error)
        for one in runs
        for case in one.run.cases
        for place, repeat in enumerate(case.repeats, 1)
        if not repeat.ok or repeat.fell
    )


def raw(one: Numbered) -> RawTable:
    """Every repeat of a run with its own figures."""
    repeats = [(case.name, place, repeat) for case in one.run.cases for place, repeat in enumerate(case.repeats, 1)]
    names = tuple(sorted({name for _, _, repeat in repeats for name in repeat.figures}, key=_rank))
    rows = tuple(
        RawRow(
            name,
            place,
            _why(repeat) if repeat.kind or not repeat.ok else "",
            tuple(repeat.figures.get(figure) for figure in names),
            len(repeat.chunks),
            repeat.chunks[0] if repeat.chunks else None,
            repeat.chunks[-1] if repeat.chunks else None,
        )
        for name, place, repeat in repeats
    )
    return RawTable(one, names, rows)


def _why(repeat: Repeat) -> str:
    """A sound answer may have a fault too: a wrong call is no failed request."""
    return ": ".join(part for part in (repeat.kind, repeat.error) if part) or "failed"


def servers(runs: Iterable[Numbered]) -> tuple[Served, ...]:
    """Each server once."""
    found: list[tuple[Server, list[int]]] = []
    for one in runs:
        server = replace(one.run.server, accept_length=None)
        known = next((numbers for other, numbers in found if other == server), None)
        if known is None:
            found.append((server, [one.number]))
        else:
            known.append(one.number)
    return tuple(Served(tuple(numbers), server) for server, numbers in found)
