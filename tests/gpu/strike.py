"""One fault done to a running gang, and what the toolkit made of it; starts and ends no toolkit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from tests.gpu.nodes import Node
from tests.gpu.standin_container import Container
from tests.gpu.toolkit import Said, Toolkit

# Of all that is told, what answers to a fault; the rest is how far the ranks are.
_ANSWERS = ("trouble", "error", "warning", "lost", "down", "incident", "restarting", "given-up")
SIGNALS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}


class TooLateError(RuntimeError):
    """What was waited for did not come in time."""


@dataclass
class Outcome:
    """Seconds count from the fault, which was at `at`. `said` is what the toolkit told its user from then on."""

    fault: str
    phase: str
    rank: int
    at: float = 0.0
    noticed_s: float | None = None
    down_s: float | None = None
    exits: list[int | None] = field(default_factory=list)
    left_s: list[float | None] = field(default_factory=list)
    orphans: int = 0
    exit_code: int | None = None
    said: list[list[object]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def until(condition: Callable[[], object], end: float, what: str) -> None:
    """Wait for a condition. Raises TooLateError at `end`, seconds since the epoch."""
    while not condition():
        if time.time() > end:
            raise TooLateError(what)
        time.sleep(0.02)


def containers(nodes: Sequence[Node]) -> list[Container]:
    """The containers of all ranks as they are now. Raises TooLateError where one is missing."""
    found = [one for node in nodes if (one := node.container)]
    if len(found) < len(nodes):
        raise TooLateError("a rank has no container")
    return found


def said_by(container: Container, fragment: bytes) -> bool:
    """Whether the log of a container holds that text."""
    return container.log.exists() and fragment in container.log.read_bytes()


def strike(nodes: Sequence[Node], toolkit: Toolkit, outcome: Outcome, end: float) -> None:
    """Do it to every process of the rank, then follow what comes until all ranks are down; fills the outcome in."""
    struck = containers(nodes)
    processes = [process for one in struck for process in one.processes()]
    outcome.at = at = time.time()
    struck[outcome.rank].signal(SIGNALS[outcome.fault])
    try:
        until(lambda: toolkit.first(notices, at), end, f"{outcome.fault} {outcome.phase}: not noticed")
        until(lambda: not any(one.running for one in struck), end, f"{outcome.fault} {outcome.phase}: not down")
    finally:
        noticed = toolkit.first(notices, at)
        outcome.noticed_s = round(noticed.at - at, 2) if noticed else None
        states = [one.state for one in struck]
        outcome.exits = [None if state["Running"] else state["ExitCode"] for state in states]
        outcome.left_s = [None if state["Running"] else round(epoch(state["FinishedAt"]) - at, 2) for state in states]
        left = [one for one in outcome.left_s if one is not None]
        outcome.down_s = max(left) if len(left) == len(states) else None
        time.sleep(0.5)
        outcome.orphans = sum(alive(process) for process in processes) if outcome.down_s is not None else 0


def notices(said: Said) -> bool:
    """Whether this is the toolkit saying that something is wrong with a rank."""
    if said.kind == "RankPhase":
        return said.text.startswith("gone")
    return said.level in ("trouble", "error")


def told(toolkit: Toolkit, since: float) -> list[list[object]]:
    """What the user was told of a fault since a moment, to the restart: seconds from then, kind of line, its text."""
    lines: list[list[object]] = []
    for one in list(toolkit.said):
        answer = one.level in _ANSWERS or notices(one) or one.text.startswith("hint:")
        if one.at >= since and answer:
            lines.append([round(one.at - since, 2), one.level or one.kind, one.text[:400]])
        if one.at >= since and one.level == "restarting":
            break
    return lines


def epoch(stamp: str) -> float:
    """Seconds since the epoch of a time as Docker writes it."""
    return datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()


def alive(process: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
