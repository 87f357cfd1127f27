"""From SGLang's log lines, health answers and pulses to the phase that a rank is in, or how it was lost. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from deploy.launch import network_log
from deploy.launch.network_log import UNSAID, Network
from deploy.launch.node import gib
from deploy.launch.pulse import Pulse, Silent
from deploy.launch.watch.trouble import ENGINE_SECONDS, STARVED_SHARE
from deploy.launch.watch.when import epoch

PHASES = ("starting", "joining", "joined", "weights", "graphs", "ready")
GONE = "gone"
KEPT_LINES = 40

_WEIGHTS = re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)% Completed")
_MARKS = (
    (re.compile(r"Init torch distributed begin"), "joining"),
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
    """A rank's container has ended with `code`, or the rank is lost otherwise (None: `reason` says how).

    `at` is when it went, in monotonic seconds of this machine; where only its absence is seen, when it was last well.
    """

    rank: int
    code: int | None
    reason: str = ""
    at: float = 0.0


Observation = Line | Healthy | Pulse | Silent


@dataclass(frozen=True)
class RankState:
    """Where a rank is in its start, and the last lines that it said.

    `heard` is when its node last said that all is well there. `judged` counts the pulses since its container was
    started; -1 as long as none is expected to run. `deaf` is since when its Docker Engine does not answer; `offset` is
    what to add to its node's clock to get this machine's.
    """

    phase: str = "starting"
    detail: str = ""
    lines: tuple[str, ...] = ()
    gone: Gone | None = None
    heard: float | None = None
    judged: int = -1
    deaf: float | None = None
    offset: float = float("inf")
    available: int = 0
    network: Network = UNSAID


def observe(state: RankState, seen: Observation, floor: float = 0.0) -> RankState:
    """The state after an observation; phases only go forward. `floor`: memory that a node should keep, in bytes."""
    if state.gone:
        return state
    if isinstance(seen, Silent):
        return _lost(state, Gone(seen.rank, None, seen.why, _last_well(state, seen)))
    if isinstance(seen, Pulse):
        return _after_pulse(state, seen, floor)
    if isinstance(seen, Healthy):
        return replace(state, phase="ready", detail="")
    phase, detail = read(seen.text, state)
    network = network_log.after(state.network, seen.text)
    return replace(state, phase=phase, detail=detail, lines=(*state.lines, seen.text)[-KEPT_LINES:], network=network)


def _lost(state: RankState, gone: Gone | None) -> RankState:
    return replace(state, phase=GONE, gone=gone) if gone else state


def _after_pulse(state: RankState, seen: Pulse, floor: float) -> RankState:
    deaf = (seen.at if state.deaf is None else state.deaf) if seen.docker_error else None
    judged = state.judged + 1 if state.judged >= 0 and not seen.docker_error else state.judged
    offset = min(state.offset, seen.at - seen.clock)
    state = replace(state, deaf=deaf, judged=judged, offset=offset, available=seen.memory_available)
    gone = _engine(state, seen) or _container(state, seen) or _starved(state, seen, floor)
    return _lost(state if gone or deaf else replace(state, heard=seen.at), gone)


def _last_well(state: RankState, seen: Pulse | Silent) -> float:
    """What others did after that may have followed from it."""
    return seen.at if state.heard is None else state.heard


def _engine(state: RankState, seen: Pulse) -> Gone | None:
    """A single failure may be a moment's."""
    if state.deaf is None or seen.at - state.deaf < ENGINE_SECONDS:
        return None
    return Gone(seen.rank, None, f"its Docker Engine does not answer: {seen.docker_error}", _last_well(state, seen))


def _container(state: RankState, seen: Pulse) -> Gone | None:
    # The first pulse that comes after a start may have been taken before it.
    if state.judged < 2 or seen.docker_error:
        return None
    found = seen.container
    if found is None:
        return Gone(seen.rank, None, "its container is not there any more", _last_well(state, seen))
    if found.state in ("exited", "dead"):
        reason = "out of memory" if found.out_of_memory else found.error
        return Gone(seen.rank, found.exit_code, reason, state.offset + epoch(found.since))
    if found.state in ("paused", "restarting", "removing"):
        return Gone(seen.rank, None, f"its container is {found.state}", _last_well(state, seen))
    return None


def _starved(state: RankState, seen: Pulse, floor: float) -> Gone | None:
    """A node that runs out of memory can lose its SSH service and need a reset by hand."""
    if state.judged < 0 or not 0 < seen.memory_available < floor * STARVED_SHARE:
        return None
    least = f"a quarter of watch.memory_floor_gib ({gib(int(floor))})"
    return Gone(
        seen.rank, None, f"its node has only {gib(seen.memory_available)} of memory left, under {least}", seen.at
    )


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
