"""Scenes as a watch sees them, for tests: pulses of nodes whose clocks and states are chosen."""

from __future__ import annotations

from datetime import UTC, datetime

from deploy.cluster.spec import Watch
from deploy.launch.node import RunningRank
from deploy.launch.pulse import Pulse
from deploy.launch.watch.scene import Scene, Seen

RULES = Watch()
GIB = 2**30
EPOCH = 1_800_000_000.0
"""What nodes' clocks say at monotonic 0."""


def at(seconds: float) -> str:
    """A node's clock at that monotonic second, as Docker writes it."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def container(rank: int, state: str = "running", since: float = 0.0, code: int = 0, error: str = "") -> RunningRank:
    return RunningRank(f"sglang-spark-x-rank{rank}", rank, "x", "sha256:1", "l", state, at(since), code, error=error,
                       started=at(0))  # fmt: skip


def pulse(rank: int, moment: float, found: RunningRank | None = None, ahead: float = 0.0, **more: object) -> Pulse:
    """A node's pulse; `ahead` is by how much its clock is wrong."""
    ranks = (found,) if found else ()
    values: dict[str, object] = {"memory_available": 64 * GIB, "ranks": ranks, **more}
    return Pulse(rank=rank, at=moment, clock=EPOCH + moment + ahead, **values)  # type: ignore[arg-type]


def serving(moment: float, size: int = 4) -> list[Pulse]:
    return [pulse(rank, moment, container(rank)) for rank in range(size)]


def seen(*what: Seen, size: int = 4, answered: bool = True, began: float = 0.0) -> Scene:
    scene = Scene.of(size, began, answered=answered)
    for one in what:
        scene = scene.after(one)
    return scene
