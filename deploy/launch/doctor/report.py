"""What the checks found, as text and as JSON. Prints nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from deploy.cluster.spec import Cluster
from deploy.launch.doctor.check import FAIL, OUTCOMES, PASS, SKIP, WARN, Check
from deploy.launch.doctor.fit import Fit

FORMAT = 1
_WORDS = {PASS: "pass", SKIP: "skip", WARN: "warning", FAIL: "FAIL"}
_COUNTED = {PASS: "passed", SKIP: "skipped", WARN: "warned", FAIL: "failed"}


@dataclass(frozen=True)
class Report:
    """All checks of a cluster; `fit` is None where it is not known what fits."""

    cluster: Cluster
    checks: tuple[Check, ...]
    fit: Fit | None = None

    @property
    def passed(self) -> bool:
        """Warnings and skipped checks do not fail."""
        return not any(one.outcome == FAIL for one in self.checks)

    def hosts(self, ranks: Sequence[int]) -> list[str]:
        return [self.cluster.nodes[rank].host for rank in ranks]


def as_json(report: Report) -> str:
    """Every check with its nodes; keys and ids stay."""
    checks = [{**asdict(one), "nodes": report.hosts(one.ranks)} for one in report.checks]
    document = {
        "format": FORMAT,
        "cluster": report.cluster.name,
        "passed": report.passed,
        "counts": {_COUNTED[outcome]: count for outcome, count in _counts(report)},
        "nodes": [{"rank": rank, **one.model_dump()} for rank, one in enumerate(report.cluster.nodes)],
        "checks": checks,
        "fit": report.fit and _fit_json(report.fit),
    }
    return json.dumps(document, indent=2)


def _fit_json(fit: Fit) -> dict[str, int]:
    return {**asdict(fit), "largest_context": fit.largest_context, "largest_requests": fit.largest_requests}


def text(report: Report) -> str:
    """For people; what failed stands last."""
    lines = [
        line for outcome in OUTCOMES for one in report.checks if one.outcome == outcome for line in _lines(report, one)
    ]
    counts = ", ".join(f"{count} {_COUNTED[outcome]}" for outcome, count in _counts(report))
    return "\n".join([*lines, f"{report.cluster.name}: {counts}"])


def _lines(report: Report, one: Check) -> Iterator[str]:
    every = len(one.ranks) == len(report.cluster.nodes) > 1
    who = "all nodes" if every else ", ".join(report.hosts(one.ranks))
    needed = f"; needed: {one.needed}" if one.needed else ""
    yield f"{_WORDS[one.outcome]:8} {one.id:24} {who}: {one.seen}{needed}"
    if one.hint:
        yield f"{'':8} {'':24} -> {one.hint}"


def _counts(report: Report) -> list[tuple[str, int]]:
    """Findings of each outcome; one that several nodes share counts once."""
    return [(outcome, sum(one.outcome == outcome for one in report.checks)) for outcome in OUTCOMES]
