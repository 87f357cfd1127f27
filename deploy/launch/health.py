"""From SGLang's log lines and health answers to the phase that a rank is in. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

PHASES = ("starting", "joined", "weights", "graphs", "ready")
GONE = "gone"
KEPT_LINES = 40

_WEIGHTS = re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)% Completed")
_MARKS = (
    (re.compile(r"Init torch distributed ends"), "joined"),
    (re.compile(r"Load weight begin"), "weights"),
    (re.compile(r"Capture .*cuda graph begin", re.IGNORECASE), "graphs"),
)


@dataclass(frozen=True)
class Line:
    """One line of a rank's log."""

    rank: int
    text: str


@dataclass(frozen=True)
class Healthy:
    """A rank's own health port answered 200."""

    rank: int


@dataclass(frozen=True)
class Gone:
    """A rank's container has ended, or can no longer be seen (`code` is None: `reason` says why).

    `finished` is when it ended by its node's clock, RFC 3339 in UTC.
    """

    rank: int
    code: int | None
    reason: str = ""
    finished: str = ""


Observation = Line | Healthy | Gone


@dataclass(frozen=True)
class RankState:
    """Where a rank is in its start, and the last lines that it said."""

    phase: str = "starting"
    detail: str = ""
    lines: tuple[str, ...] = ()
    gone: Gone | None = field(default=None)


def observe(state: RankState, seen: Observation) -> RankState:
    """The state after an observation; phases only go forward."""
    if isinstance(seen, Gone):
        return replace(state, phase=GONE, gone=seen)
    if state.phase == GONE:
        return state
    if isinstance(seen, Healthy):
        return replace(state, phase="ready", detail="")
    phase, detail = read(seen.text, state)
    return replace(state, phase=phase, detail=detail, lines=(*state.lines, seen.text)[-KEPT_LINES:])


def read(text: str, state: RankState) -> tuple[str, str]:
    """Phase and detail after one line of log."""
    percent = _WEIGHTS.search(text)
    if percent and _later("weights", state.phase):
        return "weights", f"{percent[1]} %"
    for pattern, phase in _MARKS:
        if pattern.search(text) and _later(phase, state.phase):
            return phase, "" if phase != state.phase else state.detail
    return state.phase, state.detail


def _later(phase: str, than: str) -> bool:
    return PHASES.index(phase) >= PHASES.index(than)
