"""Where a watch stands: contacts to all nodes, what came from them, and its clocks. Judges nothing."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploy.cluster.spec import Cluster
from deploy.event import Watched
from deploy.launch.watch.scene import Scene, Seen
from deploy.launch.watch.when import Moment, stamp
from deploy.remote.contact import Contacts

FRESH_SECONDS = 4.0
"""A node whose last pulse is older is not asked for anything that all others would have to wait for."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> Moment:
    """This moment of this machine."""
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    return Moment(time.time(), boot, time.clock_gettime(_CLOCK))


def told(what: str, text: str, rank: int | None = None, folder: str = "") -> Watched:
    return Watched(what, text, stamp(time.time()), rank, folder)


@dataclass
class Post:
    """`holder`: who takes the lock, for others to read. `key` is the API's, or empty. `watches`: let others see it."""

    cluster: Cluster
    holder: str
    key: str = field(default="", repr=False)
    watches: bool = False

    def __post_init__(self) -> None:
        self.seen: queue.Queue[Seen] = queue.Queue()
        self.contacts = Contacts(self.cluster, self.seen.put, self.holder if self.watches else "")

    def close(self) -> None:
        self.contacts.close()

    def scene(self, *, answered: bool = False) -> Scene:
        """Nothing seen yet. What was seen before may be of a gang that is no more."""
        return Scene.of(len(self.cluster.nodes), time.monotonic(), answered=answered)

    def look(self, scene: Scene, wait: float = 0.25) -> Scene:
        """The scene after what has come; waits so many seconds for something to come."""
        try:
            scene = scene.after(self.seen.get(timeout=wait))
            while True:
                scene = scene.after(self.seen.get_nowait())
        except queue.Empty:
            return scene

    def host(self, rank: int) -> str:
        return self.cluster.nodes[rank].host


def fresh(scene: Scene) -> tuple[int, ...]:
    """The nodes that are heard now."""
    moment = time.monotonic()
    return tuple(rank for rank, node in scene.nodes.items() if node.pulse and moment - node.heard < FRESH_SECONDS)
