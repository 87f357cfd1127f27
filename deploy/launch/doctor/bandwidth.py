"""The all-gather over the fabric: one container a node, and what they said, judged. Pure; runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deploy import container
from deploy.cluster.spec import Cluster
from deploy.command import Command, Result
from deploy.container import Container
from deploy.launch.doctor.check import Check, bad, good, skipped
from deploy.launch.doctor.seen import Case
from deploy.launch.environment import environment

NAME = "bandwidth"
NEEDED = 21.875
"""GB/s on the bus: 175 of the 200 Gb/s of a Spark's port, NVIDIA's threshold for it."""
MIB = 1024
LIMIT = 150
"""Seconds after which a rank ends itself; importing torch from a cold disk is most of it."""
ALARM = 142
"""The exit code of a rank that ended itself so."""


def obstacle(case: Case) -> str:
    """Why it cannot be measured now; empty where it can."""
    if case.single:
        return "one node needs no fabric"
    if len(case.nodes) < len(case.cluster.nodes):
        return "not every node was reached"
    if any(node.busy for node in case.nodes.values()):
        return "ranks of this cluster run, and use GPUs and fabric"
    held = [node.facts.digests(case.cluster.image.repository) for node in case.nodes.values()]
    if not set.intersection(*held):
        return "the nodes have no image in common; `up` pulls it"
    return ""


def commands(case: Case) -> dict[int, Command]:
    """The command of each node; `docker run` stays in front, and the container goes with its end."""
    repository = case.cluster.image.repository
    digest = min(set.intersection(*(node.facts.digests(repository) for node in case.nodes.values())))
    return {rank: _command(case, rank, node.facts.reference(repository, digest)) for rank, node in case.nodes.items()}


def _command(case: Case, rank: int, image: str) -> Command:
    cluster, facts = case.cluster, case.nodes[rank].facts
    words = {"rank": rank, "ranks": len(cluster.nodes), "address": cluster.head.fabric, "mib": MIB, "limit": LIMIT}
    words["port"] = cluster.rendezvous_port
    argv = ("python3", "-m", "deploy.inside.bandwidth", *(str(one) for k, v in words.items() for one in (f"--{k}", v)))
    variables = {**environment(cluster, rank, facts), "PYTHONPATH": "/opt/sglang-spark", "NCCL_DEBUG": "INFO"}
    devices = tuple(facts.rdma_devices) if facts.rdma_for(cluster.nodes[rank].fabric) else ()
    one = Container(name(cluster, rank), image, argv, {}, variables, (), devices)
    return Command(container.run_once(one), loose=True, timeout=LIMIT + 30)


def name(cluster: Cluster, rank: int) -> str:
    return f"sglang-spark-{cluster.name}-bandwidth{rank}"


def removals(case: Case) -> dict[int, Command]:
    """The command that leaves no container of it on a node, whatever became of it."""
    return {rank: Command(container.remove(name(case.cluster, rank))) for rank in case.nodes}


def judge(results: Mapping[int, Result]) -> Iterator[Check]:
    """What each rank said. The slowest link sets the pace of all, so each rank's figure is the cluster's."""
    for rank, result in results.items():
        said = _said(result.stdout)
        if said and "missing" in said:
            yield skipped(NAME, rank, str(said["missing"]))
        elif not result.ok or not said:
            yield bad(NAME, rank, _broken(result), "an all-gather that ends")
        else:
            yield _measured(rank, said, result.stdout)


def _broken(result: Result) -> str:
    if result.code in (None, ALARM):
        return f"not ended within {LIMIT} s: {result.tail(1)}"
    return f"exit code {result.code}: {result.tail(2)}"


def _measured(rank: int, said: Mapping[str, Any], log: str) -> Check:
    algorithm = said["bytes"] / said["seconds"] / 1e9
    bus = algorithm * (said["ranks"] - 1) / said["ranks"]
    seen = f"{bus:.1f} GB/s on the bus, {algorithm:.1f} GB/s of the all-gather; NCCL's network: {_network(log)}"
    return good(NAME, rank, seen) if bus >= NEEDED else bad(NAME, rank, seen, f"{NEEDED} GB/s on the bus")


def _network(log: str) -> str:
    """The network that NCCL says it uses; with a device it still mentions the others."""
    names = [line.rpartition("Using network ")[2].strip() for line in log.splitlines() if "Using network " in line]
    return names[-1] if names else "not told"


def _said(text: str) -> dict[str, Any] | None:
    """The last line of JSON among what was printed."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None
