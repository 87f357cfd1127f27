"""Could these nodes run these ranks? Every node's problem at once, from facts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.cluster.spec import Cluster
from deploy.launch.node import NodeFacts
from deploy.launch.plan import ARCHITECTURES
from deploy.launch.sglang import server_flags, server_port


def problems(cluster: Cluster, facts: Sequence[NodeFacts]) -> Iterator[tuple[int, str]]:
    """(rank, what is wrong) for every node that cannot run its rank."""
    for rank, node in enumerate(facts):
        found = _docker(node) or [*_machine(cluster, node), *_network(cluster, rank, node)]
        yield from ((rank, what) for what in found)


def _docker(node: NodeFacts) -> list[str]:
    if not node.docker:
        return [f"Docker does not answer: {node.docker_error or 'not installed'}"]
    return []


def _machine(cluster: Cluster, node: NodeFacts) -> Iterator[str]:
    wanted = cluster.image.platform.split("/")[1]
    found = ARCHITECTURES.get(node.architecture, node.architecture)
    if found != wanted:
        yield f"is {found}, but image.platform is {cluster.image.platform}"
    if not node.gpu_runtime:
        yield "has no NVIDIA container runtime (nvidia-container-toolkit)"
    tp = server_flags(cluster).get("tp")
    needed = tp // len(cluster.nodes) if isinstance(tp, int) else 1
    if node.gpu_runtime and len(node.gpus) < needed:
        yield f"has {len(node.gpus)} GPUs, but its rank needs {needed}"


def _network(cluster: Cluster, rank: int, node: NodeFacts) -> Iterator[str]:
    address = cluster.nodes[rank].fabric
    if len(cluster.nodes) > 1 and not node.interface(address):
        have = ", ".join(f"{name} {found}" for name, found in node.interfaces) or "none"
        yield f"has no interface with the fabric address {address} (it has {have})"
    if any(one.state == "running" for one in node.ranks):
        return
    ports = {"server.port": server_port(cluster)}
    if rank == 0 and len(cluster.nodes) > 1:
        ports["rendezvous_port"] = cluster.rendezvous_port
    for key, port in ports.items():
        if port in node.listening:
            yield f"port {port} ({key}) is in use by another program"
