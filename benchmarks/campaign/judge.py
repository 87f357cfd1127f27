"""What was seen of a run, and whether it is as it must be; looks at nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.campaign.cells import DEAD, DOWN, ENGINE, GOES_ON, HANG, UNREACHABLE, Cell

GRACE = 10.0
"""Seconds that a planned `down` gives the ranks, before the bound begins to count."""


@dataclass(frozen=True)
class Bounds:
    """Seconds after the fault: until it is named, and until every rank that can be reached is down."""

    notice: float
    down: float


_LIMITS = {
    DEAD: Bounds(3, 10),
    ENGINE: Bounds(15, 25),
    UNREACHABLE: Bounds(15, 25),
    # After what the campaign's settings allow a rank: hang_seconds, or the time to load.
    HANG: Bounds(15, 25),
}


@dataclass(frozen=True)
class Mark:
    """One answer of `status` and the truth at that time, in the same words; `truth` None: it changed meanwhile."""

    when: str
    said: str
    truth: tuple[str, ...] | None

    @property
    def wrong(self) -> bool:
        return self.truth is not None and self.said not in self.truth


@dataclass
class Run:
    """One run of a cell. Times are seconds after the fault; None: it did not happen."""

    cell: str
    number: int
    victim: int
    allowed: float = 0.0
    notice_s: float | None = None
    down_s: float | None = None
    line: str = ""
    named: bool = False
    marks: list[Mark] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    lost_logs: list[str] = field(default_factory=list)
    same_gang: bool = False
    next_up: str = ""
    ended: str = ""
    broken: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    load: float = 0.0


def bounds(cell: Cell, run: Run) -> Bounds | None:
    """What a run is held to; None where nothing has to go down."""
    limit = _LIMITS.get(cell.fault.bound)
    if cell.phase == "stopping" or limit is None or cell.follows != DOWN:
        return None
    return Bounds(limit.notice + run.allowed, limit.down + run.allowed)


def problems(cell: Cell, run: Run) -> list[str]:
    """Everything about a run that is not as it must be."""
    found = [run.broken] if run.broken else []
    found += _timing(cell, run) + _telling(cell, run)
    found += [f"status said {mark.said} when it was {' or '.join(mark.truth or ())} ({mark.when})"
              for mark in run.marks if mark.wrong]  # fmt: skip
    found += [f"left over: {what}" for what in run.orphans]
    found += [f"port held: {what}" for what in run.ports]
    found += [f"log lost: {what}" for what in run.lost_logs]
    found += [f"next up: {run.next_up}"] if run.next_up else []
    found += [f"at the end: {run.ended}"] if run.ended else []
    return found


def _timing(cell: Cell, run: Run) -> list[str]:
    limit = bounds(cell, run)
    if limit is None:
        return ["nothing had to happen to the gang, but it was replaced"] if _disturbed(cell, run) else []
    found = []
    if run.notice_s is None or run.notice_s > limit.notice:
        found.append(f"noticed {_after(run.notice_s)}, not within {limit.notice:g} s")
    if cell.phase != "pulling" and (run.down_s is None or run.down_s > limit.down):
        found.append(f"down {_after(run.down_s)}, not within {limit.down:g} s")
    return found


def _disturbed(cell: Cell, run: Run) -> bool:
    return cell.follows == GOES_ON and cell.phase in ("joining", "loading", "serving") and not run.same_gang


def _telling(cell: Cell, run: Run) -> list[str]:
    must = cell.follows == DOWN and cell.phase != "stopping"
    return [f"told {run.line!r}, which does not name the place and the cause"] if must and not run.named else []


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.1f} s"


def summary(cells: Sequence[Cell], runs: Mapping[str, Sequence[Run]]) -> dict[str, object]:
    """The campaign's figures over all runs; a cell passes where every one of its runs has no problem."""
    everything = [(cell, run) for cell in cells for run in runs.get(cell.name, ())]
    failed = {cell.name for cell, run in everything if problems(cell, run)}
    failed |= {cell.name for cell in cells if not runs.get(cell.name)}
    return {
        "cells": len(cells),
        "passed": len(cells) - len(failed),
        "runs": len(everything),
        "worst_notice_s": worst(run.notice_s for run in _bound(everything, DEAD)),
        "worst_down_s": worst(run.down_s for run in _bound(everything, DEAD)),
        "worst_unreachable_notice_s": worst(run.notice_s for run in _bound(everything, UNREACHABLE)),
        "worst_unreachable_down_s": worst(run.down_s for run in _bound(everything, UNREACHABLE)),
        "orphans": sum(len(run.orphans) for _, run in everything),
        "held_ports": sum(len(run.ports) for _, run in everything),
        "wrong_status": sum(mark.wrong for _, run in everything for mark in run.marks),
        "status_asked": sum(len(run.marks) for _, run in everything),
        "status_undecided": sum(mark.truth is None for _, run in everything for mark in run.marks),
        "lost_logs": sum(len(run.lost_logs) for _, run in everything),
        "next_up_failed": sum(bool(run.next_up) for _, run in everything),
        "failed": sorted(failed),
    }


def _bound(everything: Iterable[tuple[Cell, Run]], kind: str) -> Iterator[Run]:
    """The runs that a kind of bound holds for."""
    return (run for cell, run in everything if cell.fault.bound == kind and bounds(cell, run))


def worst(values: Iterable[float | None]) -> float | None:
    """The largest of the times that are known."""
    return max((value for value in values if value is not None), default=None)
