"""Whether a gang that was taken down may start again now. Pure: ages and node states in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.cluster.spec import Watch
from deploy.launch.node import gib
from deploy.launch.pulse import Pulse


@dataclass(frozen=True)
class Go:
    """Start now; `number` of `most` within the window."""

    number: int
    most: int


@dataclass(frozen=True)
class Wait:
    """Not yet: what is waited for."""

    text: str


@dataclass(frozen=True)
class Stop:
    """No more restarts: why."""

    text: str


Decision = Go | Wait | Stop


def decide(rules: Watch, ages: Sequence[float], nodes: Mapping[int, Pulse | None]) -> Decision:
    """`ages` are those of earlier restarts in seconds; a node that cannot be heard now is None."""
    window = rules.window_hours * 3600
    count = sum(age < window for age in ages)
    if count >= rules.restarts:
        spent = f"{count} in {rules.window_hours:g} h were made" if count else "watch.restarts is 0"
        return Stop(f"no more restarts: {spent}")
    waiting = "; ".join(text for rank, pulse in sorted(nodes.items()) if (text := _unfit(rank, pulse, rules)))
    return Wait(waiting) if waiting else Go(count + 1, rules.restarts)


def _unfit(rank: int, pulse: Pulse | None, rules: Watch) -> str:
    if pulse is None:
        return f"the node of rank {rank} cannot be reached"
    if pulse.docker_error:
        return f"the Docker Engine of rank {rank} gives no answer"
    floor = rules.memory_floor
    if 0 < pulse.memory_available < floor:
        return f"the node of rank {rank} has {gib(pulse.memory_available)} of memory, below {gib(floor)}"
    return ""
