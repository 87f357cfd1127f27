"""How many processes, descriptors, threads, connections and files there are, and whether they grew."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.campaign import sight
from benchmarks.campaign.sight import Node

Counts = Mapping[str, int]
LOOKS = 8
SLACK = {"controller descriptors": 4, "controller threads": 4, "engine descriptors": 8, "kept files": 1}
"""What may come and go with the moment of the count; everything else must be what it was."""
_FOLDERS = {
    "containers": "var/lib/docker/containers",
    "volumes": "var/lib/docker/volumes",
    "layers": "var/lib/docker/image/overlay2/layerdb/mounts",
    "kept files": "root/.cache/sglang-spark",
}


def of_node(node: Node) -> dict[str, int]:
    """What is on a node that has no rank."""
    found = {what: _entries(node.root / path) for what, path in _FOLDERS.items()}
    found["processes"] = len(sight.strangers(node))
    found["connections"] = sight.connections(node)
    found["locks"] = int(sight.locked(node, "lab"))
    found["engine descriptors"] = sum(_entries(Path(f"/proc/{pid}/fd")) for pid in sight.engine(node))
    return found


def of_watch(pid: int, nodes: Sequence[Node]) -> dict[str, int]:
    """What a watch of a gang that serves holds, here and on the nodes: the least of some looks within two seconds.

    A pulse starts processes on the nodes every second, which are gone again at once.
    """
    looks = [_of_watch(pid, nodes)]
    for _ in range(LOOKS - 1):
        time.sleep(2 / LOOKS)
        looks.append(_of_watch(pid, nodes))
    return _least(looks)


def _of_watch(pid: int, nodes: Sequence[Node]) -> dict[str, int]:
    folder = Path("/proc", str(pid))
    return {
        "controller descriptors": _entries(folder / "fd"),
        "controller threads": _entries(folder / "task"),
        "controller children": len(sight.session(pid)) - 1,
        "connections": sum(sight.connections(node) for node in nodes),
        "node processes": sum(len(sight.strangers(node)) for node in nodes),
    }


def _entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


@dataclass(frozen=True)
class Growth:
    """A count that is higher than it was."""

    what: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"{self.what}: {self.before} before, {self.after} after"


def grown(before: Counts, after: Counts) -> list[Growth]:
    """What grew by more than comes and goes."""
    return [
        Growth(what, before.get(what, 0), count)
        for what, count in after.items()
        if count > before.get(what, 0) + SLACK.get(what, 0)
    ]


def crept(lives: Sequence[Sequence[Counts]]) -> list[Growth]:
    """What a watch held more of at the end of its life than at its beginning; each life is its counts in order.

    The least of the last three is compared with the first count, taken as the gang had just begun to serve: what is
    there for a moment is no leak, and a later count may have met a connection that was just being opened anew.
    """
    found = []
    for life in lives:
        if len(life) >= 6:
            found += grown(life[0], _least(life[-3:]))
    return found


def _least(some: Sequence[Counts]) -> dict[str, int]:
    return {what: min(one.get(what, 0) for one in some) for what in some[0]}
