"""What one round trip showed of a node, beyond the facts that plans are made from. Gathers nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.cluster.spec import Cluster
from deploy.launch.node import NodeFacts


@dataclass(frozen=True)
class GpuProcess:
    """A process with memory of a GPU; `used` is in bytes, None where the driver does not tell.

    `container` is the id of the container that it runs in, or empty.
    """

    pid: int
    used: int | None
    container: str
    name: str


@dataclass(frozen=True)
class Snapshot:
    """A model on a node. Sizes in bytes; `wanted` are the files that its index names, `shards` those that are there.

    `root` is where it was looked for, `folder` is empty where it is not; `config` is None without a config.json.
    """

    root: str = ""
    folder: str = ""
    commit: str = ""
    snapshots: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None
    indexed: bool = False
    total: int = 0
    wanted: frozenset[str] = frozenset()
    shards: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of weights: what the index says, else what is there."""
        return self.total or sum(self.shards.values())

    @property
    def flaws(self) -> str:
        """Why this is not a whole model; empty where it is one."""
        if self.config is None:
            return "no config.json that can be read"
        if not self.indexed and not self.shards:
            return "no model.safetensors.index.json and no *.safetensors"
        return _listed("missing", self.wanted - set(self.shards)) or _listed(
            "empty", {name for name, size in self.shards.items() if not size}
        )


def _listed(what: str, names: set[str] | frozenset[str]) -> str:
    if not names:
        return ""
    first = sorted(names)[:3]
    return f"{what}: {', '.join(first)}" + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


@dataclass(frozen=True)
class Seen:
    """One node. Memory in bytes by /proc/meminfo's own names; times in seconds.

    `reach` says for each peer's fabric address why no full-size frame came back, or nothing; None: no `ping` there.
    `clock` is the node's own time, read at some moment of `span` by this machine's clock.
    """

    facts: NodeFacts
    clock: float = 0.0
    span: tuple[float, float] = (0.0, 0.0)
    drivers: tuple[str, ...] = ()
    gpu_processes: tuple[GpuProcess, ...] = ()
    mtu: Mapping[str, int] = field(default_factory=dict)
    reach: Mapping[str, str] | None = None
    ssh_address: str = ""
    default_route: str = ""
    memory: Mapping[str, int] = field(default_factory=dict)
    model: Snapshot = field(default_factory=Snapshot)
    model_disk_free: int = 0
    image_size: int = 0

    @property
    def busy(self) -> bool:
        """A rank of this cluster runs here, so ports and memory are its own."""
        return any(one.state == "running" for one in self.facts.ranks)


@dataclass(frozen=True)
class Case:
    """What is examined: a cluster, and the nodes of it that were reached, by rank.

    `image_size` is in bytes, 0 where nobody knows it.
    """

    cluster: Cluster
    nodes: Mapping[int, Seen]
    image_size: int = 0

    def interface(self, rank: int) -> str:
        """The interface with the node's fabric address, or empty."""
        return self.nodes[rank].facts.interface(self.cluster.nodes[rank].fabric)

    @property
    def single(self) -> bool:
        return len(self.cluster.nodes) == 1
