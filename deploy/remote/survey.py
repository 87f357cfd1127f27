"""One round trip a node for `doctor` and `up`: its facts, and what checks want to know beyond them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.cluster.spec import Cluster
from deploy.command import Command, Result
from deploy.launch.doctor.model import place
from deploy.launch.doctor.seen import GpuProcess, Seen, Snapshot
from deploy.remote import facts
from deploy.remote.facts import Lines, first, keyed
from deploy.script import script

_SCRIPT = Path(__file__).with_name("survey.sh")
_UNITS = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}


def commands(cluster: Cluster, recipe: str = "none") -> dict[int, Command]:
    """The command of each node, which also prints its facts; peers are asked over the fabric."""
    return {rank: _command(cluster, rank, recipe) for rank in range(len(cluster.nodes))}


def _command(cluster: Cluster, rank: int, recipe: str) -> Command:
    _, _, probe, *words = facts.command(cluster.name, recipe).argv
    fabric = [node.fabric for node in cluster.nodes]
    peers = [address for address in fabric if address != fabric[rank]]
    more = (fabric[rank], place(cluster), cluster.model.revision or "main", *peers)
    return Command(("sh", "-c", script(_SCRIPT) + probe, *words, *more))


def read(result: Result) -> Seen:
    """What the script printed."""
    lines = keyed(result.stdout)
    links = (value.split() for value in lines.get("mtu", ()))
    memory = (value.split() for value in lines.get("memory", ()))
    return Seen(
        facts=facts.read(result.stdout),
        clock=float(first(lines, "clock") or 0),
        span=result.span,
        drivers=tuple(value.partition(", ")[2] for value in lines.get("gpu", ()) if ", " in value),
        gpu_processes=tuple(_process(value) for value in lines.get("gpu_process", ())),
        mtu={name: int(size) for name, size in links},
        reach=_reach(lines) if "ping" in lines else None,
        ssh_address=(first(lines, "ssh").split() or [""] * 3)[2],
        default_route=first(lines, "default_route"),
        memory={name: int(size) * 1024 for name, size in memory},
        model=_snapshot(lines),
        model_disk_free=int(first(lines, "model_disk_free") or 0) * 1024,
        image_size=max((_size(value) for value in lines.get("image", ())), default=0),
    )


def _reach(lines: Lines) -> dict[str, str]:
    return {peer: why for peer, _, why in (value.partition(" ") for value in lines.get("reach", ()))}


def _process(value: str) -> GpuProcess:
    pid, used, container, *name = value.split(" ", 3)
    mib = int(used) << 20 if used.isdigit() else None
    return GpuProcess(int(pid), mib, container.replace("-", ""), "".join(name) or "a process")


def _size(value: str) -> int:
    """Bytes from docker's `34.5GB`, the last word of an image's line; 0 where it is not there."""
    text = value.split()[-1]
    number = text.rstrip("BkKMGT")
    unit = _UNITS.get(text[len(number) :])
    return int(float(number) * unit) if unit and number.replace(".", "", 1).isdigit() else 0


def _snapshot(lines: Lines) -> Snapshot:
    shards = (value.split(" ", 1) for value in lines.get("model_shard", ()))
    return Snapshot(
        root=first(lines, "model_root"),
        folder=first(lines, "model_folder"),
        commit=first(lines, "model_commit"),
        snapshots=tuple(lines.get("model_snapshot", ())),
        config=_json(first(lines, "model_config")),
        indexed="model_index" in lines,
        total=int(first(lines, "model_total") or 0),
        wanted=frozenset(lines.get("model_wanted", ())),
        shards={name: int(size) for size, name in shards},
    )


def _json(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
