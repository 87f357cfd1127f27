"""Is there room: memory that is free and given back, disk for the image and the model?"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.launch.doctor.check import Check, bad, good, skipped
from deploy.launch.doctor.machine import foreign
from deploy.launch.doctor.seen import Case, Seen
from deploy.launch.node import gib

BALANCE = 0.9
"""SGLang refuses to start where one rank has less than this share of another's free memory."""
HELD = 8 << 30
"""Memory that no process, cache or kernel table accounts for; an idle driver holds far less."""
_ACCOUNTED = (
    *("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages"),
    *("Slab", "KernelStack", "PageTables", "Percpu", "Hugetlb"),
)
KILLED = 137
LEAST = 1 << 30
"""Disk for containers and their logs."""


def memory_available(case: Case) -> Iterator[Check]:
    idle = {rank: node for rank, node in case.nodes.items() if not node.busy}
    most = max((node.facts.memory_available for node in idle.values()), default=0)
    floor = case.cluster.watch.memory_floor
    for rank in [rank for rank in case.nodes if rank not in idle]:
        yield skipped("memory.available", rank, "the cluster's rank runs here and uses it")
    for rank, node in idle.items():
        free, seen = node.facts.memory_available, _memory(node)
        if free < floor:
            yield bad("memory.available", rank, seen, f"{gib(floor)} (watch.memory_floor_gib)")
        elif free < BALANCE * most:
            needed = f"{gib(BALANCE * most)}: SGLang refuses less than nine tenths of another node's"
            yield bad("memory.available", rank, seen, needed)
        else:
            yield good("memory.available", rank, seen)


def _memory(node: Seen) -> str:
    total, cache = node.memory.get("MemTotal", 0), node.memory.get("Cached", 0)
    seen = f"{gib(node.facts.memory_available)} available"
    return f"{seen} of {gib(total)}; {gib(cache)} page cache" if total else seen


def killed_container(case: Case) -> Iterator[Check]:
    name = "memory.killed-container"
    for rank, node in case.nodes.items():
        held = unaccounted(node)
        if node.busy or foreign(node):
            yield skipped(name, rank, "processes use the GPU" if foreign(node) else "the cluster's rank runs here")
        elif held is None:
            yield skipped(name, rank, "/proc/meminfo does not tell what holds the memory")
        elif held > HELD:
            yield bad(name, rank, f"{gib(held)} held by no process{_killed(node)}", f"less than {gib(HELD)}")
        else:
            yield good(name, rank, f"{gib(max(held, 0))} held by no process")


def unaccounted(node: Seen) -> int | None:
    """Bytes that are in use, but by no process, cache or kernel table; None where /proc/meminfo lacks the figures."""
    if not node.memory.get("MemTotal") or not node.memory.get("AnonPages"):
        return None
    return node.memory["MemTotal"] - sum(node.memory.get(key, 0) for key in _ACCOUNTED)


def _killed(node: Seen) -> str:
    names = [one.container for one in node.facts.ranks if one.out_of_memory or one.exit_code == KILLED]
    return f"; {', '.join(names)} was killed" if names else ""


def disk_image(case: Case) -> Iterator[Check]:
    """The size is that of the image unpacked, where some engine has it; a registry tells only the compressed one."""
    repository, size = case.cluster.image.repository, case.image_size
    for rank, node in case.nodes.items():
        free = f"{gib(node.facts.disk_free)} free for Docker"
        if not node.facts.docker:
            yield skipped("disk.image", rank, "Docker does not answer")
        elif node.facts.disk_free < LEAST:
            yield bad("disk.image", rank, free, f"{gib(size or LEAST)} for image, containers and logs")
        elif node.facts.digests(repository):
            yield good("disk.image", rank, f"the image is here; {free}")
        elif not size:
            yield skipped(
                "disk.image", rank, f"neither a node nor this machine has the image, so its size is not known; {free}"
            )
        elif node.facts.disk_free < size:
            yield bad("disk.image", rank, free, f"{gib(size)} for the image")
        else:
            yield good("disk.image", rank, f"{free}; the image takes {gib(size)}")


def disk_model(case: Case) -> Iterator[Check]:
    """The size is that on a node which has the model whole."""
    whole = [node.model for node in case.nodes.values() if node.model.folder and not node.model.flaws]
    size = max((one.size for one in whole), default=0)
    for rank, node in case.nodes.items():
        here = min(sum(node.model.shards.values()), size)
        free = f"{gib(node.model_disk_free)} free for models"
        if node.model in whole:
            yield good("disk.model", rank, f"the model is here; {free}")
        elif not size:
            yield skipped("disk.model", rank, f"no node has the whole model, so its size is not known; {free}")
        elif node.model_disk_free < size - here:
            yield bad("disk.model", rank, free, f"{gib(size - here)} more of the model's {gib(size)}")
        else:
            yield good("disk.model", rank, f"{free}; {gib(size - here)} of the model are missing")
