"""One side's results against another's, figure by figure: ratios, intervals, verdicts; reads and prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean, median
from typing import Any, Literal

from deploy.bench.metrics import SHARES
from deploy.bench.results import Better, Case, Run, Scalar
from deploy.errors import BenchError

Verdict = Literal["better", "worse", "different", "no difference", "too few repeats"]
Key = tuple[str, str, tuple[tuple[str, Scalar], ...]]
LEAST = 3
"""Repeats a side: two of each order themselves by chance in one of three cases."""
DRAWS = 1000


@dataclass(frozen=True)
class Side:
    """Runs that are held to be the same thing measured again; the repeats of equal cases are put together."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Rule:
    """`threshold` is the least relative difference that is told, 0.05 for 5 %; `seed` is that of the bootstrap."""

    threshold: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Compared:
    """A figure of a case: both medians (of shares: means), B over A with its 95 % interval; None where A is zero."""

    key: Key
    figure: str
    unit: str
    better: Better
    medians: tuple[float, float]
    repeats: tuple[int, int]
    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Failed:
    """A case with failed repeats on a side: (failed, all) of A and of B, and the first error."""

    key: Key
    a: tuple[int, int]
    b: tuple[int, int]
    error: str

    @property
    def regressed(self) -> bool:
        return not self.a[0] and self.b[0] > 0


@dataclass(frozen=True)
class Comparison:
    """Everything that differs between A and B, and what does not. `missing` are cases that B or A lacks."""

    names: tuple[str, str]
    rule: Rule
    figures: tuple[Compared, ...]
    failed: tuple[Failed, ...]
    missing: Mapping[str, tuple[Key, ...]]
    servers: tuple[tuple[str, str, str], ...]
    doubts: tuple[str, ...]

    @property
    def regressed(self) -> tuple[str, ...]:
        """What is worse in B, in words; a case that fails in B alone is."""
        worse = [f"{said(one.key)}: {one.figure}" for one in self.figures if one.verdict == "worse"]
        return (*worse, *(f"{said(one.key)}: failed" for one in self.failed if one.regressed))


def compare(a: Side, b: Side, rule: Rule) -> Comparison:
    """A against B. Raises BenchError where they have no case in common."""
    old, new = _cases(a), _cases(b)
    both = [key for key in old if key in new]
    if not both:
        raise BenchError(
            f"{a.name} and {b.name} have no case in common",
            "compare results of the same suite with the same parameters",
        )
    return Comparison(
        (a.name, b.name),
        rule,
        tuple(one for key in both for one in _figures(key, (old[key], new[key]), rule)),
        tuple(one for key in both if (one := _failed(key, old[key], new[key]))),
        {a.name: tuple(key for key in new if key not in old), b.name: tuple(key for key in old if key not in new)},
        tuple(_servers(a, b)),
        tuple(doubt for side in (a, b) for doubt in _doubts(side)),
    )


def _doubts(side: Side) -> Iterator[str]:
    for run in side.runs:
        if not run.complete:
            yield f"{side.name}: {run.suite} of {run.began} was not finished"
        if run.client.bottleneck:
            yield f"{side.name}: {run.suite} of {run.began}: the client was the bottleneck"


def said(key: Key) -> str:
    """A case in words: suite, name and parameters."""
    suite, name, parameters = key
    told = ", ".join(f"{parameter}={value}" for parameter, value in parameters)
    return f"{suite} {name}" + (f" ({told})" if told else "")


def _cases(side: Side) -> dict[Key, list[Case]]:
    cases: dict[Key, list[Case]] = {}
    for run in side.runs:
        for case in run.cases:
            parameters = tuple(sorted(case.parameters.items(), key=lambda one: one[0]))
            cases.setdefault((run.suite, case.name, parameters), []).append(case)
    return cases


def _figures(key: Key, cases: tuple[list[Case], list[Case]], rule: Rule) -> Iterator[Compared]:
    told = {name: figure for case in (*cases[1], *cases[0]) for name, figure in case.figures.items()}
    for name, figure in told.items():
        a, b = (_values(side, name) for side in cases)
        if a and b:
            yield _compared(key, name, (figure.unit, figure.better), (a, b), rule)


def _values(cases: Sequence[Case], name: str) -> list[float]:
    """Of every good repeat; where a figure is of the whole case, the case's own."""
    found = [repeat.figures[name] for case in cases for repeat in case.repeats if repeat.ok and name in repeat.figures]
    return found or [case.figures[name].median for case in cases if name in case.figures]


def _compared(
    key: Key, name: str, kind: tuple[str, Better], values: tuple[list[float], list[float]], rule: Rule
) -> Compared:
    middle = mean if name in SHARES else median
    old, new = (middle(side) for side in values)
    random = Random(f"{rule.seed} {said(key)} {name}")
    drawn = [(middle(_again(values[0], random)), middle(_again(values[1], random))) for _ in range(DRAWS)]
    enough = min(map(len, values)) >= LEAST
    ratios = sorted(b / a for a, b in drawn if a > 0) if old > 0 and enough else []
    low, high = interval(ratios) if len(ratios) == DRAWS else (None, None)
    verdict: Verdict = "too few repeats"
    if enough:
        differs = _differs(sorted(b - a for a, b in drawn)) and abs(new - old) > rule.threshold * abs(old)
        verdict = _judged(new - old, kind[1]) if differs else "no difference"
    counts = (len(values[0]), len(values[1]))
    return Compared(key, name, *kind, (old, new), counts, new / old if old > 0 else None, low, high, verdict)


def _again(values: Sequence[float], random: Random) -> list[float]:
    """As many values drawn with replacement."""
    return random.choices(values, k=len(values))


def interval(drawn: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of sorted draws."""
    cut = len(drawn) // 40
    return drawn[cut], drawn[-1 - cut]


def _differs(differences: Sequence[float]) -> bool:
    low, high = interval(differences)
    return not low <= 0 <= high


def _judged(difference: float, better: Better) -> Verdict:
    if better == "neither":
        return "different"
    return "better" if (difference > 0) == (better == "higher") else "worse"


def _failed(key: Key, old: Sequence[Case], new: Sequence[Case]) -> Failed | None:
    errors = [repeat.error or repeat.kind for case in (*new, *old) for repeat in case.failed]
    return Failed(key, _count(old), _count(new), errors[0]) if errors else None


def _count(cases: Sequence[Case]) -> tuple[int, int]:
    return sum(len(case.failed) for case in cases), sum(len(case.repeats) for case in cases)


def _servers(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    """What the servers say of themselves and differs: what, A's, B's. How long they accept is a result."""
    old, new = _facts(a), _facts(b)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield name, old.get(name, "-"), new.get(name, "-")


def _facts(side: Side) -> dict[str, str]:
    """Every value that any run of the side has, as text."""
    found: dict[str, set[str]] = {}
    for run in side.runs:
        server = run.server
        facts: dict[str, Any] = {
            name: getattr(server, name) for name in ("model", "engine", "version", "image", "tables")
        }
        for name, value in (*facts.items(), *((f"--{name}", value) for name, value in server.flags.items())):
            found.setdefault(name, set()).add(_told(value))
    return {name: " | ".join(sorted(values)) for name, values in found.items()}


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value) if value not in ("", None) else "-"
