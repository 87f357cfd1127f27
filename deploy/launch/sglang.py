"""SGLang's launch line from a cluster, as data. Contacts nothing; `launch.check` says whether SGLang would take it."""

from __future__ import annotations

import json
from typing import Any

from deploy.cluster.spec import DEFAULT_SERVER, Cluster, Flag

SPECULATIVE = "speculative-"


def server_flags(cluster: Cluster) -> dict[str, Flag]:
    """Flags of every rank: the defaults, with what cluster.yaml says on top; TP is one GPU a node by default."""
    defaults = {**DEFAULT_SERVER, "tp": len(cluster.nodes)}
    if "speculative-algorithm" in cluster.server and cluster.server["speculative-algorithm"] is None:
        defaults = {name: value for name, value in defaults.items() if not name.startswith(SPECULATIVE)}
    merged = {**defaults, **cluster.server}
    return {name: value for name, value in merged.items() if value is not None and value is not False}


def server_port(cluster: Cluster) -> int:
    """The port of the API on rank 0, and of the health answers on the other ranks."""
    port = server_flags(cluster).get("port", 30000)
    return port if isinstance(port, int) else 30000


def server_argv(cluster: Cluster, rank: int) -> tuple[str, ...]:
    """The command of one rank. A single node gets no rendezvous."""
    argv = ["python3", "-m", "sglang.launch_server", "--model-path", cluster.model.path]
    if cluster.model.revision:
        argv += ["--revision", cluster.model.revision]
    for name, value in server_flags(cluster).items():
        argv += [f"--{name}", *words(value)]
    return (*argv, *_rendezvous(cluster, rank))


def words(value: Any) -> list[str]:
    """A flag's value as SGLang's parser reads it: nothing for true, JSON for a mapping, one word an item."""
    if value is True:
        return []
    if isinstance(value, dict):
        return [json.dumps(value, sort_keys=True)]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _rendezvous(cluster: Cluster, rank: int) -> tuple[str, ...]:
    if len(cluster.nodes) == 1:
        return ()
    address = f"{cluster.head.fabric}:{cluster.rendezvous_port}"
    return ("--nnodes", str(len(cluster.nodes)), "--node-rank", str(rank), "--dist-init-addr", address)
