"""A comparison as text for people and as JSON; judges and prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from deploy.bench.compare import LEAST, Compared, Comparison, said

MARKS = {"better": "+", "worse": "!", "different": "~", "no difference": "=", "too few repeats": "?"}


def as_text(comparison: Comparison) -> str:
    """One line a figure, cases apart, then all else that differs."""
    return "\n".join(line for part in (_head, _figures, _rest, _end) for line in part(comparison))


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """For `--json`; `regressed` is what the exit code is about."""
    a, b = comparison.names
    return {
        "a": a,
        "b": b,
        "threshold_percent": 100 * comparison.rule.threshold,
        "seed": comparison.rule.seed,
        "figures": [{**_key(one.key), **_without_key(one)} for one in comparison.figures],
        "failed": [{**_key(one.key), "a": one.a, "b": one.b, "error": one.error} for one in comparison.failed],
        "missing": {name: [_key(key) for key in keys] for name, keys in comparison.missing.items()},
        "servers": [{"what": what, "a": old, "b": new} for what, old, new in comparison.servers],
        "doubts": list(comparison.doubts),
        "regressed": list(comparison.regressed),
    }


def _key(key: tuple[str, str, Any]) -> dict[str, Any]:
    return {"suite": key[0], "case": key[1], "parameters": dict(key[2])}


def _without_key(one: Compared) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "key"}


def _head(comparison: Comparison) -> Iterator[str]:
    a, b = comparison.names
    yield f"A: {a}"
    yield f"B: {b}"
    for what, old, new in comparison.servers:
        yield f"servers differ in {what}: {old} | {new}"
    yield from comparison.doubts
    yield ""
    yield f"  {'':32}{'A':>12}{'B':>12}   {'B / A':>6}  95 % interval"


def _figures(comparison: Comparison) -> Iterator[str]:
    last = None
    for one in comparison.figures:
        if one.key != last:
            yield said(one.key)
        last = one.key
        yield _line(one)


def _line(one: Compared) -> str:
    a, b = (f"{value:.4g}" for value in one.medians)
    ratio = f"{one.ratio:.3f}" if one.ratio is not None else "-"
    spread = f"{one.low:.3f} to {one.high:.3f}" if one.low is not None and one.high is not None else ""
    name = f"{one.figure}, {one.unit}" if one.unit else one.figure
    counts = f", {one.repeats[0]} and {one.repeats[1]}" if one.verdict == "too few repeats" else ""
    return f"{MARKS[one.verdict]} {name:32.32}{a:>12}{b:>12}   {ratio:>6}  {spread:16}  {one.verdict}{counts}".rstrip()


def _rest(comparison: Comparison) -> Iterator[str]:
    for failed in comparison.failed:
        counts = f"{failed.a[0]} of {failed.a[1]} failed in A, {failed.b[0]} of {failed.b[1]} in B"
        yield f"! {said(failed.key)}: {counts}: {failed.error}"
    for name, keys in comparison.missing.items():
        for key in keys:
            yield f"? {said(key)}: not in {name}"


def _end(comparison: Comparison) -> Iterator[str]:
    judged = [one for one in comparison.figures if one.verdict != "too few repeats"]
    few = len(comparison.figures) - len(judged)
    yield ""
    yield (
        f"{len(judged)} figures compared; told is what differs by more than {100 * comparison.rule.threshold:g} % and "
        "whose 95 % interval is apart from no difference. By noise alone one in 30 is, of three repeats one in 14."
    )
    if few:
        yield f"{few} figures have no verdict: it takes {LEAST} repeats on each side."
    yield f"worse in B: {len(comparison.regressed)}"
