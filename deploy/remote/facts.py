"""One round trip a node: the script that gathers facts, and the reading of what it prints."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from deploy import container
from deploy.command import Command
from deploy.launch.node import NodeFacts, Rdma, RunningRank

Lines = Mapping[str, list[str]]


@cache
def _script() -> str:
    return resources.files("deploy.remote").joinpath("facts.sh").read_text()


def command(cluster: str, recipe: str = "none") -> Command:
    """The command that prints a node's facts about a cluster, and about images that were made from a recipe."""
    return Command(("sh", "-s", "--", cluster, recipe), stdin=_script(), timeout=60)


def read(text: str) -> NodeFacts:
    """Facts from the script's output."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        lines.setdefault(key, []).append(value)
    info = json.loads(_first(lines, "docker") or "{}")
    return NodeFacts(
        architecture=_first(lines, "architecture"),
        home=_first(lines, "home") or "/root",
        docker=str(info.get("ServerVersion") or ""),
        docker_error="; ".join(info.get("ServerErrors") or []) or _first(lines, "docker_error"),
        gpu_runtime="gpu_runtime" in lines or "nvidia" in (info.get("Runtimes") or {}),
        gpus=tuple(lines.get("gpu", ())),
        rdma=tuple(_rdma(lines)),
        rdma_devices=tuple(lines.get("rdma_device", ())),
        interfaces=tuple(tuple(value.split()[:2]) for value in lines.get("interface", ())),  # type: ignore[misc]
        memory_available=int(_first(lines, "memory_available") or 0) * 1024,
        disk_free=int(_first(lines, "disk_free") or 0) * 1024,
        listening=frozenset(int(value, 16) for value in lines.get("listening", ())),
        images=_images(lines),
        ranks=tuple(_rank(json.loads(value)) for value in lines.get("container", ())),
    )


def _first(lines: Lines, key: str) -> str:
    return lines.get(key, [""])[0]


def _images(lines: Lines) -> tuple[tuple[str, str], ...]:
    """(repository, digest) of each image that was made from the recipe; an image without a digest was built there."""
    found = dict.fromkeys(value.partition(" ")[::2] for value in lines.get("image", ()))
    return tuple((name, digest) for name, digest in found if digest.startswith("sha256:"))


def _rdma(lines: Lines) -> Iterator[Rdma]:
    gids = [value.split(maxsplit=5) for value in lines.get("gid", ())]
    for value in lines.get("rdma", ()):
        device, port, state = value.split()
        own = [gid for gid in gids if gid[:2] == [device, port]]
        found = next((gid for gid in own if gid[5] == "RoCE v2" and _address(gid[4])), None)
        netdev = found[3] if found else (own[0][3] if own else "")
        index, address = (int(found[2]), _address(found[4])) if found else (-1, "")
        yield Rdma(device, int(port), state, netdev, index, address)


def _address(gid: str) -> str:
    """The IPv4 address that a GID maps, or an empty string."""
    mapped = ipaddress.IPv6Address(gid).ipv4_mapped
    return str(mapped) if mapped else ""


def _rank(found: Any) -> RunningRank:
    labels, state = found["labels"], found["state"]
    running = state["Status"] == "running"
    return RunningRank(
        container=found["name"].lstrip("/"),
        rank=int(labels.get(container.RANK, -1)),
        cluster=labels.get(container.CLUSTER, ""),
        digest=labels.get(container.DIGEST, ""),
        launch=labels.get(container.LAUNCH, ""),
        state=state["Status"],
        since=state["StartedAt"] if running else state["FinishedAt"],
        exit_code=state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        error=state.get("Error", ""),
    )
