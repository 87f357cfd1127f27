"""Has every node the same whole model? The index decides, not that a folder is there."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.cluster.spec import Cluster
from deploy.launch.doctor.check import Check, agree, bad, doubtful, good, skipped
from deploy.launch.doctor.seen import Case, Snapshot
from deploy.launch.environment import COMPILE_MOUNT
from deploy.launch.node import gib

CACHE = "/root/.cache/huggingface"
DOWNLOAD = "no node has it: SGLang downloads it, of unknown size, on every node"


def place(cluster: Cluster) -> str:
    """Where a node has the model, as cluster.yaml writes paths (`~` is the node's home); empty if in no mount."""
    path = cluster.model.path
    if not path.startswith("/"):
        home = cluster.environment.get("HF_HOME", CACHE)
        hub = cluster.environment.get("HF_HUB_CACHE", f"{home}/hub")
        path = f"{hub}/models--{path.replace('/', '--')}"
    return outside(cluster, path)


def outside(cluster: Cluster, path: str) -> str:
    """A path of a container as the node has it; empty where no mount carries it."""
    mounts = [f"{cluster.mounts.huggingface}:{CACHE}", f"{cluster.mounts.compile}:{COMPILE_MOUNT}"]
    pairs = [mount.split(":")[:2] for mount in (*mounts, *cluster.mounts.extra)]
    inside = [pair for pair in pairs if path == pair[1] or path.startswith(pair[1].rstrip("/") + "/")]
    if not inside:
        return ""
    host, target = max(inside, key=lambda pair: len(pair[1]))
    return host.rstrip("/") + path[len(target.rstrip("/")) :]


def snapshot(case: Case) -> Iterator[Check]:
    some = any(node.model.folder for node in case.nodes.values())
    largest = _largest(case)
    for rank, node in case.nodes.items():
        found = node.model
        if not found.root:
            yield skipped("model.snapshot", rank, f"{case.cluster.model.path} is in no mount, so not on the node")
        elif not found.folder and not some:
            yield doubtful("model.snapshot", rank, DOWNLOAD, f"{found.root} on every node")
        elif not found.folder:
            yield bad("model.snapshot", rank, _absent(found), "the model, as on other nodes")
        else:
            yield _whole(rank, found, largest.get(found.commit, {}))


def _absent(found: Snapshot) -> str:
    if found.snapshots:
        return f"{found.root} has no revision {found.commit}, but {', '.join(found.snapshots[:3])}"
    return f"{found.root} is not there"


def _whole(rank: int, found: Snapshot, largest: dict[str, int]) -> Check:
    cut = [name for name, size in found.shards.items() if size < largest.get(name, 0)]
    if found.flaws or cut:
        why = found.flaws or f"shorter than on another node: {', '.join(sorted(cut)[:3])}"
        return bad("model.snapshot", rank, f"{found.folder} is not whole: {why}", "all that its index names")
    size = sum(found.shards.values())
    if size < found.total:
        needed = f"{gib(found.total)}, by the index's total_size"
        return doubtful("model.snapshot", rank, f"the shards have {gib(size)}", needed)
    return good("model.snapshot", rank, f"{len(found.shards)} shards, {gib(size)}, all that the index names")


def _largest(case: Case) -> dict[str, dict[str, int]]:
    """For each commit the largest size of each shard on any node: the same commit has the same files."""
    sizes: dict[str, dict[str, int]] = {}
    for node in case.nodes.values():
        known = sizes.setdefault(node.model.commit, {})
        for name, size in node.model.shards.items():
            known[name] = max(size, known.get(name, 0))
    return sizes


def revision(case: Case) -> Iterator[Check]:
    commits = {}
    for rank, node in case.nodes.items():
        if not node.model.folder:
            yield skipped("model.revision", rank, "the model is not there")
        elif not node.model.commit:
            yield skipped("model.revision", rank, "a plain folder names no revision")
        else:
            commits[rank] = node.model.commit
    yield from agree("model.revision", commits, "commit")
