"""Which faults are played in which phases, and what must follow; plays none of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PHASES = ("pulling", "starting", "joining", "loading", "serving", "stopping")
_WITH_RANKS = PHASES[1:]

DEAD, ENGINE, UNREACHABLE, HANG, NONE = "dead rank", "engine gone", "unreachable node", "hang", "none"
"""Kinds of bound: what a fault is to whoever watches from outside."""

DOWN, GOES_ON, EITHER = "down", "goes on", "either"
"""What must follow: the gang ends, or nothing happens to it, or one of the two with the truth told."""


@dataclass(frozen=True)
class Fault:
    """One way to fail. `told`: a pattern that the line naming it must match."""

    name: str
    phases: tuple[str, ...]
    bound: str
    follows: str
    told: str = ""


@dataclass(frozen=True)
class Cell:
    """A fault in a phase, and what must follow there."""

    fault: Fault
    phase: str
    follows: str

    @property
    def name(self) -> str:
        return f"{self.fault.name}/{self.phase}"


_GONE = "cannot be reached|silent|not answered|nothing came|lost|connection|timed out|away"
_ENGINE = "docker|engine"

FAULTS = (
    Fault("exits-0", _WITH_RANKS, DEAD, DOWN, r"code 0\b|exited|ended"),
    Fault("exits-1", _WITH_RANKS, DEAD, DOWN, r"code 1\b"),
    Fault("killed", _WITH_RANKS, DEAD, DOWN, r"kill|code 137"),
    Fault("out-of-memory", _WITH_RANKS, DEAD, DOWN, r"out of memory"),
    Fault("hangs", ("starting", "joining", "loading", "serving", "stopping"), HANG, DOWN,
          r"not ready|hang|stuck|wedge|stopped|answer|health"),
    Fault("frozen", ("starting", "joining", "loading", "serving", "stopping"), HANG, DOWN,
          r"not ready|hang|stuck|frozen|wedge|answer|health"),
    Fault("engine-stops", PHASES, ENGINE, DOWN, _ENGINE),
    Fault("engine-killed", PHASES, ENGINE, DOWN, _ENGINE),
    Fault("cut", PHASES, UNREACHABLE, DOWN, _GONE),
    Fault("cut-in", PHASES, UNREACHABLE, DOWN, _GONE),
    Fault("cut-out", PHASES, UNREACHABLE, DOWN, _GONE),
    Fault("slow", PHASES, NONE, GOES_ON),
    Fault("lossy", PHASES, NONE, EITHER, _GONE),
    Fault("powered-off", PHASES, UNREACHABLE, DOWN, _GONE),
    Fault("reboots", PHASES, UNREACHABLE, DOWN, _GONE + "|exit|ended|restart"),
    Fault("registry-dies", ("pulling", "starting", "serving"), NONE, GOES_ON),
    Fault("disk-full", ("pulling", "starting", "loading", "serving", "stopping"), NONE, GOES_ON, r"no space|disk|full"),
    Fault("controller-killed", PHASES, NONE, GOES_ON),
    Fault("ssh-cut", PHASES, NONE, EITHER, _GONE),
    Fault("clock-back", PHASES, NONE, GOES_ON),
    Fault("wedge", ("serving",), HANG, DOWN, r"wedge|no token"),
    Fault("garbage", ("serving",), HANG, DOWN, r"garbage"),
)  # fmt: skip

_EXCEPTIONS = {
    # Nothing can be pulled onto a full disk or from a registry that is gone, and no container made on a full disk.
    ("disk-full", "pulling"): DOWN,
    ("disk-full", "starting"): DOWN,
    ("registry-dies", "pulling"): EITHER,
}

QUICK = ("killed/serving", "exits-1/loading", "cut/serving", "powered-off/starting", "killed/stopping")


def cells(only: Iterable[str] = ()) -> tuple[Cell, ...]:
    """All cells that make sense, or those named as FAULT or FAULT/PHASE. Raises ValueError for an unknown name."""
    known = [
        Cell(fault, phase, _follows(fault, phase)) for fault in FAULTS for phase in PHASES if phase in fault.phases
    ]
    wanted = tuple(only)
    chosen = tuple(cell for cell in known if not wanted or {cell.name, cell.fault.name} & set(wanted))
    unknown = [name for name in wanted if not any(name in (cell.name, cell.fault.name) for cell in known)]
    if unknown:
        raise ValueError(f"no such cell: {', '.join(unknown)}; one of {', '.join(cell.name for cell in known)}")
    return chosen


def _follows(fault: Fault, phase: str) -> str:
    return _EXCEPTIONS.get((fault.name, phase), fault.follows)


def victim(number: int, ranks: int) -> int:
    """The rank or node that the fault strikes in a cell's run: another one each time, not the first rank first."""
    return (1, 0, ranks - 1)[number % 3] % ranks
