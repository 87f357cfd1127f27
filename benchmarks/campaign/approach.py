"""Brings a gang to the phase in which a fault is to come, and holds it there."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.campaign.client import until
from benchmarks.campaign.lane import LaneError
from benchmarks.campaign.scene import SERVES, Scene
from benchmarks.campaign.strikes import strike
from deploy.lab.faults import Strength

READY = 150.0
"""Seconds in which a start must come to its end on a busy machine of two cores."""
PULL = Strength(rate="80mbit")
_JOINING, _LOADING = "Init torch distributed begin", "Load weight begin"


def reach(scene: Scene) -> None:
    """Start `up --watch` and wait until the cell's phase is there. Raises LaneError where it does not come."""
    ways: dict[str, Callable[[Scene], None]] = {
        "pulling": _pulling, "starting": _starting, "joining": _joining, "loading": _loading,
        "serving": _serving, "stopping": _serving,
    }  # fmt: skip
    ways[scene.phase](scene)


def _pulling(scene: Scene) -> None:
    """One node lacks the image, and the registry is slow."""
    scene.lane.drop_image(scene.victim)
    scene.lane.fault("registry-slow", how=PULL)
    up = scene.begin()
    expect(scene, lambda: up.said(lambda line: "pull: " in line), 60)
    time.sleep(1.5)


def _starting(scene: Scene) -> None:
    """Containers run; no rank has begun to meet the others. A full disk must be full before."""
    scene.lane.hold("start", tuple(scene.lane.nodes))
    if scene.fault == "disk-full":
        scene.struck = strike(scene.lane, scene.fault, scene.victim)
        scene.cured = False
        scene.begin()
        return
    scene.begin()
    expect(scene, lambda: len(scene.lane.seen.alive()) == scene.lane.count, 60)
    time.sleep(0.5)


def _joining(scene: Scene) -> None:
    """All ranks wait at the rendezvous for one that is late: another than the one that will be struck."""
    scene.lane.hold("join", ((scene.victim + 1) % scene.lane.count,))
    scene.begin()
    expect(scene, lambda: _all_say(scene, _JOINING), 90)


def _loading(scene: Scene) -> None:
    scene.lane.hold("load", tuple(scene.lane.nodes))
    scene.begin()
    expect(scene, lambda: _all_say(scene, _LOADING), 90)


def _serving(scene: Scene) -> None:
    up = scene.begin()
    expect(scene, lambda: up.said(lambda line: SERVES in line), READY)


def _all_say(scene: Scene, text: str) -> bool:
    alive = scene.lane.seen.alive().values()
    return len(alive) == scene.lane.count and all(text in one.line for one in alive)


def expect(scene: Scene, condition: Callable[[], object], timeout: float) -> None:
    """Wait while `up` runs. Raises LaneError where the condition does not come true."""
    until(lambda: condition() or not scene.up_runs, timeout)
    if not condition():
        raise LaneError(f"the phase {scene.phase} was not reached: {scene.up.text[-800:] if scene.up else ''}")
