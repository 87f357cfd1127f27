"""What is plotted: lines and marks out of runs and published figures; draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Literal

from deploy.bench.results import Case, Figure, Run, Scalar
from deploy.bench.seeds import Published

LABELS = {
    "ttft_s": "time to first token, s",
    "decode_tok_s": "decode, tokens a second",
    "total_s": "time to the last token, s",
    "accept_length": "accept length, tokens",
    "prefill_tok_s": "prefill, tokens a second",
    "completion_tokens": "tokens of the answer",
    "correct": "right answers, share",
    "output_tok_s": "throughput, tokens a second",
    "tpot_s": "time a token, s",
}
"""Figures in words; others are shown by their name."""
PARAMETERS = {"tokens": "context, tokens"}
"""What is swept, in words."""


@dataclass(frozen=True)
class Numbered:
    """A run with the number and the file by which the report names it."""

    number: int
    name: str
    run: Run


@dataclass(frozen=True)
class Point:
    """A median with its interval on each axis that has one; `x` is a place among `Plot.names` where these are given."""

    x: float
    y: float
    low: float
    high: float
    across: tuple[float, float] | None = None
    name: str = ""


@dataclass(frozen=True)
class Line:
    """Points that belong together, along the parameter `axis`.

    `run` is 0 for published figures; `variant` tells lines of one run apart.
    """

    label: str
    run: int
    variant: int
    points: tuple[Point, ...] = ()
    failed: tuple[Point, ...] = ()
    axis: str = ""


@dataclass(frozen=True)
class Spec:
    """One plot of a suite: a figure over a parameter (`over`), over another figure (`against`), or case by case."""

    suite: str
    figure: str
    title: str
    over: str = ""
    against: str = ""
    log: tuple[bool, bool] = (False, False)

    @property
    def kind(self) -> Literal["over", "against", "cases"]:
        return "over" if self.over else "against" if self.against else "cases"


@dataclass(frozen=True)
class Plot:
    """A spec with its data. `names` are the cases of a plot case by case, first at the top."""

    spec: Spec
    lines: tuple[Line, ...]
    names: tuple[str, ...] = ()
    note: str = ""


SPECS = (
    Spec("context", "ttft_s", "Context against time to first token", over="tokens", log=(True, True)),
    Spec("context", "decode_tok_s", "Context against decode speed", over="tokens", log=(True, False)),
    Spec("context", "prefill_tok_s", "Context against prefill speed", over="tokens", log=(True, False)),
    Spec("agentic", "total_s", "Time of each turn", over="turn"),
    Spec("agentic", "correct", "Right calls of each turn", over="turn"),
    Spec("agentic", "ttft_s", "Time to first token of each turn", over="turn"),
    Spec("eagle", "accept_length", "Accept length by text"),
    Spec("eagle", "decode_tok_s", "Decode speed by text"),
    Spec("tables", "decode_tok_s", "Kernel tables and EAGLE"),
    Spec("thinking", "total_s", "Time by way of thinking"),
    Spec("thinking", "completion_tokens", "Tokens by way of thinking"),
    Spec("thinking", "correct", "Right answers by way of thinking"),
    Spec("load", "ttft_s", "Throughput against time to first token", against="output_tok_s"),
    Spec("load", "tpot_s", "Throughput against time a token", against="output_tok_s"),
)


def plotted(spec: Spec, runs: Sequence[Numbered], references: Iterable[Published]) -> Plot | None:
    """The plot, or None where no run has a point or a failure for it."""
    own = [one for one in runs if one.run.suite == spec.suite]
    theirs = [one for one in references if (one.suite, one.figure) == (spec.suite, spec.figure)]
    if spec.kind == "cases":
        return _by_case(spec, own, theirs)
    lines = [line for one in own for line in _lines(spec, one)]
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
        for case in one.run.cases:
            figure = _shown(case, spec.figure)
            if figure or case.failed:
                place = names.setdefault(case_name(case, varying(one.run.cases)), len(names))
                if figure:
                    points.append(Point(place, figure.median, figure.low, figure.high))
                if case.failed:
                    failed.append(Point(place, 0, 0, 0, name=case.failed[0].error or case.failed[0].kind))
        lines.append(Line("", one.number, 0, tuple(points), tuple(failed)))
    if not any(line.points for line in lines):
        return None
    reference = _reference_by_case(references, names)
    return Plot(spec, (*_told_apart(lines, runs), *reference), tuple(names))


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
        run = f"run {line.run}" if len(runs) > 1 or not line.label else ""
        yield replace(line, label=" ".join(part for part in (run, line.label) if part))


def _swept(cases: Sequence[Case]) -> str:
    """The number that differs from case to case: a concurrency or a rate."""
    return next(
        (name for name in varying(cases) if all(_number(value) is not None for value in _values(cases, name))), ""
    )


def _telling(cases: Sequence[Case], spec: Spec) -> list[str]:
    """The parameters by which lines differ. Where a figure is the axis, any number is along a line."""
    names = [name for name in varying(cases) if name != spec.over]
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
