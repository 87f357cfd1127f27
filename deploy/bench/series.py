"""Lines and marks of plots, out of runs and published figures; draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from statistics import mean, median

from deploy.bench.metrics import SHARES, interval, share_interval
from deploy.bench.plots import Line, Numbered, Plot, Point, Spec
from deploy.bench.results import Case, Figure, Repeat, Scalar
from deploy.bench.seeds import Published


def plotted(spec: Spec, runs: Sequence[Numbered], references: Iterable[Published]) -> Plot | None:
    """The plot, or None where no run has a point or a failure for it."""
    own = [one for one in runs if one.run.suite == spec.suite]
    theirs = [one for one in references if (one.suite, one.figure) == (spec.suite, spec.figure)]
    if spec.kind == "cases":
        return _by_case(spec, own, theirs)
    lines = [line for one in own for line in (_turns(spec, one) if spec.along else _lines(spec, one))]
    if not any(line.points for line in lines):
        return None
    swept = [line.axis for line in lines if line.axis and spec.against]
    note = f"The numbers beside the points: {' or '.join(dict.fromkeys(swept))}." if swept else ""
    return Plot(spec, (*_told_apart(lines, own), *_reference(spec, theirs)), note=note)


def _lines(spec: Spec, one: Numbered) -> Iterator[Line]:
    """A line for each setting of the parameters that are not on the axis and are not the same everywhere."""
    telling = _telling(one.run.cases, spec)
    groups: dict[str, list[Case]] = {}
    for case in one.run.cases:
        if not spec.over or _number(case.parameters.get(spec.over)) is not None:
            groups.setdefault(setting(case, telling), []).append(case)
    for variant, (label, cases) in enumerate(groups.items()):
        axis = spec.over or _swept(cases)
        cases.sort(key=partial(_place, axis))
        points = tuple(point for case in cases if (point := _point(spec, case, axis)))
        yield Line(label, one.number, variant, points, tuple(_missing(spec, cases)), axis)
    yield from _fitted(spec, one, len(groups))


def _fitted(spec: Spec, one: Numbered, variant: int) -> Iterator[Line]:
    """The line that a suite found through its points, from the least to the greatest of them."""
    found = next((case.figures for case in one.run.cases if all(name in case.figures for name in spec.fit)), None)
    places = sorted(place for case in one.run.cases if (place := _number(case.parameters.get(spec.over))) is not None)
    if not found or not places:
        return
    start, rise = (found[name].median for name in spec.fit)
    ends = ((place, start + rise * place / 1000) for place in (places[0], places[-1]))
    yield Line("fitted", one.number, variant, tuple(Point(x, y, y, y) for x, y in ends), axis=spec.over, fitted=True)


def _turns(spec: Spec, one: Numbered) -> Iterator[Line]:
    """A point for each number that repeats have; a cross where one failed or had a fault."""
    numbered = [
        (_turn(spec, repeat, at), repeat) for case in one.run.cases for at, repeat in enumerate(case.repeats, 1)
    ]
    points, failed = [], []
    for number in sorted({number for number, _ in numbered}):
        repeats = [repeat for other, repeat in numbered if other == number]
        values = [repeat.figures[spec.figure] for repeat in repeats if repeat.ok and spec.figure in repeat.figures]
        if values and all(map(isfinite, values)):
            points.append(Point(number, *_middle(spec.figure, values)))
        failed += [Point(number, 0, 0, 0, name=repeat.error or repeat.kind) for repeat in repeats if _faulty(repeat)][
            :1
        ]
    yield Line("", one.number, 0, tuple(points), tuple(failed), spec.along)


def _turn(spec: Spec, repeat: Repeat, place: int) -> float:
    """A repeat that failed has no figures: its place tells."""
    return _number(repeat.figures.get(spec.along)) or float(place)


def _middle(name: str, values: list[float]) -> tuple[float, float, float]:
    if name in SHARES:
        return mean(values), *share_interval(sum(values), len(values))
    return median(values), *interval(values)


def _faulty(repeat: Repeat) -> bool:
    return not repeat.ok or bool(repeat.kind)


def _place(axis: str, case: Case) -> float:
    return _number(case.parameters.get(axis)) or 0.0


def _point(spec: Spec, case: Case, axis: str) -> Point | None:
    y = _shown(case, spec.figure)
    if spec.over:
        place = _number(case.parameters.get(axis))
        return Point(place, y.median, y.low, y.high) if y and place is not None else None
    x = _shown(case, spec.against)
    swept = _number(case.parameters.get(axis))
    name = "" if swept is None else f"{swept:g}"
    return Point(x.median, y.median, y.low, y.high, (x.low, x.high), name) if x and y else None


def _shown(case: Case, name: str) -> Figure | None:
    """The figure, where it can be drawn: a file may hold any number."""
    figure = case.figures.get(name)
    return figure if figure and all(map(isfinite, (figure.median, figure.low, figure.high))) else None


def _missing(spec: Spec, cases: Sequence[Case]) -> Iterator[Point]:
    """Where repeats failed. A load curve has no place for what has no throughput."""
    for case in cases:
        place = _number(case.parameters.get(spec.over))
        if place is not None and case.failed:
            yield Point(place, 0, 0, 0, name=case.failed[0].error or case.failed[0].kind)


def _by_case(spec: Spec, runs: Sequence[Numbered], references: Sequence[Published]) -> Plot | None:
    """Names of all runs' cases; each run is a line of marks without a stroke."""
    names: dict[str, int] = {}
    lines = []
    for one in runs:
        points, failed = [], []
        telling = [name for name in varying(one.run.cases) if name not in spec.apart]
        for case in one.run.cases:
            figure = _shown(case, spec.figure)
            fallen = _fallen(case)
            if figure or fallen:
                place = names.setdefault(case_name(case, telling), len(names))
                if figure:
                    points.append(Point(place, figure.median, figure.low, figure.high))
                if fallen:
                    failed.append(Point(place, 0, 0, 0, name=fallen))
        lines.append(Line("", one.number, 0, tuple(points), tuple(failed)))
    if not any(line.points for line in lines):
        return None
    reference = _reference_by_case(references, names)
    return Plot(spec, (*_told_apart(lines, runs), *reference), tuple(names))


def _fallen(case: Case) -> str:
    """Why a case has a cross: what a repeat failed of, or the server fell of; empty where neither happened."""
    if case.failed:
        return case.failed[0].error or case.failed[0].kind
    return next((repeat.error or repeat.kind for repeat in case.repeats if repeat.fell), "")


def _reference(spec: Spec, references: Sequence[Published]) -> Iterator[Line]:
    points = [
        Point(place, (one.low + one.high) / 2, one.low, one.high)
        for one in references
        if one.low is not None and one.high is not None
        if (place := _number(one.parameters.get(spec.over))) is not None
    ]
    if points:
        yield Line("published elsewhere", 0, 0, tuple(sorted(points, key=lambda point: point.x)))


def _reference_by_case(references: Sequence[Published], names: dict[str, int]) -> Iterator[Line]:
    """Published cases have rows of their own: nobody can say that they were the same."""
    points, failed = [], []
    for one in references:
        place = names.setdefault(f"published: {one.case}", len(names))
        if one.low is None or one.high is None:
            failed.append(Point(place, 0, 0, 0, name="crash"))
        else:
            points.append(Point(place, (one.low + one.high) / 2, one.low, one.high))
    if points or failed:
        yield Line("published elsewhere", 0, 0, tuple(points), tuple(failed))


def _told_apart(lines: Sequence[Line], runs: Sequence[Numbered]) -> Iterator[Line]:
    for line in lines:
        if not line.points and not line.failed:
            continue
        run = f"run {line.run}" if len(runs) > 1 or not line.label else ""
        yield replace(line, label=" ".join(part for part in (run, line.label) if part))


def _swept(cases: Sequence[Case]) -> str:
    """The number that differs from case to case: a concurrency or a rate."""
    return next(
        (name for name in varying(cases) if all(_number(value) is not None for value in _values(cases, name))), ""
    )


def _telling(cases: Sequence[Case], spec: Spec) -> list[str]:
    """The parameters by which lines differ. Where a figure is the axis, any number is along a line."""
    names = [name for name in varying(cases) if name not in (spec.over, *spec.apart)]
    return names if spec.over else [name for name in names if not any(map(_number, _values(cases, name)))]


def varying(cases: Sequence[Case]) -> list[str]:
    """The parameters that are not the same everywhere."""
    names = dict.fromkeys(name for case in cases for name in case.parameters)
    return [name for name in names if len(_values(cases, name)) > 1]


def _values(cases: Iterable[Case], name: str) -> set[Scalar]:
    return {case.parameters.get(name) for case in cases}


def setting(case: Case, names: Iterable[str]) -> str:
    """Parameters in words: `cold`, `eagle=True`."""
    told = ((name, case.parameters.get(name)) for name in names)
    return ", ".join(value if isinstance(value, str) else f"{name}={value}" for name, value in told)


def case_name(case: Case, names: Iterable[str]) -> str:
    """A case with those of these parameters that its name does not already have."""
    told = [name for name in names if name in case.parameters and str(case.parameters[name]) not in case.name]
    words = setting(case, told)
    return f"{case.name} ({words})" if words else case.name


def _number(value: Scalar) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        return None
    return float(value)
