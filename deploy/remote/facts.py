"""One round trip a node: the script that gathers facts, and the reading of what it prints."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy import container
from deploy.command import Command
from deploy.launch.node import NodeFacts, Rdma, RunningRank
from deploy.script import script

Lines = Mapping[str, list[str]]
_SCRIPT = Path(__file__).with_name("facts.sh")


def command(cluster: str, recipe: str = "none") -> Command:
    """The command that prints a node's facts about a cluster, and about images that were made from a recipe."""
    return Command(("sh", "-c", script(_SCRIPT), "sh", cluster, recipe))


def read(text: str) -> NodeFacts:
    """Facts from the script's output."""
    lines = keyed(text)
    info = json.loads(first(lines, "docker") or "{}")
    cluster, found = first(lines, "cluster"), ranks(lines)
    return NodeFacts(
        architecture=first(lines, "architecture"),
        home=first(lines, "home") or "/root",
        docker=str(info.get("ServerVersion") or ""),
        docker_error="; ".join(info.get("ServerErrors") or []) or first(lines, "docker_error"),
        gpu_runtime="gpu_runtime" in lines or "nvidia" in (info.get("Runtimes") or {}),
        gpus=tuple(value.partition(", ")[0] for value in lines.get("gpu", ())),
        rdma=tuple(_rdma(lines)),
        rdma_devices=tuple(lines.get("rdma_device", ())),
        interfaces=tuple(tuple(value.split()[:2]) for value in lines.get("interface", ())),  # type: ignore[misc]
        memory_available=int(first(lines, "memory_available") or 0) * 1024,
        disk_free=int(first(lines, "disk_free") or 0) * 1024,
        listening=frozenset(int(value, 16) for value in lines.get("listening", ())),
        images=_images(lines),
        proven=_images(lines, container.SELF_TESTED),
        ranks=tuple(one for one in found if one.cluster == cluster or not cluster),
        others=tuple(one for one in found if cluster and one.cluster != cluster),
    )


def keyed(text: str) -> Lines:
    """Lines of KEY VALUE, by key."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        lines.setdefault(key, []).append(value)
    return lines


def first(lines: Lines, key: str) -> str:
    """The first value of a key, or an empty string."""
    return lines.get(key, [""])[0]


def ranks(lines: Lines) -> tuple[RunningRank, ...]:
    """The containers of clusters on a node."""
    return tuple(_rank(json.loads(value)) for value in lines.get("container", ()))


def _images(lines: Lines, tag: str = "") -> tuple[tuple[str, str], ...]:
    """(repository, digest) of each image of the recipe, or of those alone that have a tag.

    An engine may keep digest and tag of one image under two names; one without any digest was built there.
    """
    rows = [[*value.split(), "", "", ""][:4] for value in lines.get("image", ())]
    tagged = {identity or number for number, (_, _, has, identity) in enumerate(rows) if not tag or has == tag}
    pairs = dict.fromkeys((row[0], row[1]) for number, row in enumerate(rows) if (row[3] or number) in tagged)
    return tuple((name, digest) for name, digest in pairs if digest.startswith("sha256:"))


def _rdma(lines: Lines) -> Iterator[Rdma]:
    """Ports from sysfs lines, `DEVICE/ports/PORT/WHAT:VALUE`; the GID of a port is its RoCE v2 one with an IPv4."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines.get("rdma", ()):
        path, _, value = line.partition(":")
        device, _, port, what = path.split("/", 3)
        found.setdefault((device, port), {})[what] = value
    for (device, port), files in found.items():
        yield _port(device, int(port), files)


def _port(device: str, port: int, files: Mapping[str, str]) -> Rdma:
    state = files.get("state", "").rpartition(" ")[2]
    rate = files.get("rate", "")
    indices = [what.removeprefix("gids/") for what in files if what.startswith("gids/")]
    for index in sorted(indices, key=int):
        address = _address(files[f"gids/{index}"])
        if address and files.get(f"gid_attrs/types/{index}") == "RoCE v2":
            return Rdma(device, port, state, files.get(f"gid_attrs/ndevs/{index}", ""), int(index), address, rate)
    netdev = next((value for what, value in files.items() if what.startswith("gid_attrs/ndevs/")), "")
    return Rdma(device, port, state, netdev, rate=rate)


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
        started=state["StartedAt"],
        id=found.get("id", ""),
    )
