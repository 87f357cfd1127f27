"""`status` and `logs`: what runs, and what it says. Changes nothing."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing

from deploy import container
from deploy.cluster.load import Document
from deploy.command import Command, Result
from deploy.errors import ConfigError
from deploy.event import LogLine
from deploy.launch.node import NodeFacts
from deploy.launch.plan import rank_name
from deploy.remote import facts as probe
from deploy.remote import live
from deploy.remote.execute import Fleet
from deploy.report import ClusterStatus, RankStatus
from deploy.workflow.probe import look
from deploy.workflow.ready import FOREVER, HEALTH_TIMEOUT, endpoint


def status(document: Document) -> ClusterStatus:
    """Every rank as it is now; a node that cannot be reached is a rank whose state is unknown."""
    cluster = document.cluster
    with closing(Fleet(cluster)) as fleet:
        refused = fleet.reach()
        results = fleet.each(dict.fromkeys(fleet.ranks, live.command_with_facts(cluster.name)))
        health = {rank: fleet.call(lambda rank=rank: _health(fleet, document, rank)) for rank in fleet.ranks}  # type: ignore[misc]
        ranks = []
        for rank, node in enumerate(cluster.nodes):
            if rank in refused:
                ranks.append(RankStatus(rank, node.host, "unknown", refused[rank].message))
            elif not results[rank].ok:
                ranks.append(RankStatus(rank, node.host, "unknown", results[rank].tail(1)))
            else:
                ranks.append(_rank(rank, node.host, probe.read(results[rank].stdout), health[rank]))
    running = {one.rank for one in ranks if one.state == "running"}
    looked = look(cluster, {rank: result for rank, result in results.items() if rank in running})
    return ClusterStatus(cluster.name, tuple(ranks), looked.tables, looked.nccl)


def _health(fleet: Fleet, document: Document, rank: int) -> str:
    answer = endpoint(fleet, document.cluster, rank).get("/health", HEALTH_TIMEOUT)
    return "ok" if answer.ok else f"no ({answer.status})" if answer.status else "no answer"


def _rank(rank: int, host: str, node: NodeFacts, health: Future[str]) -> RankStatus:
    found = next((one for one in node.ranks if one.rank == rank), None)
    if not node.docker:
        return RankStatus(rank, host, "unknown", node.docker_error)
    if found is None:
        return RankStatus(rank, host, "absent")
    if found.state != "running":
        why = "out of memory" if found.out_of_memory else found.error or f"exit code {found.exit_code}"
        return RankStatus(rank, host, found.state, why, found.digest, found.since)
    return RankStatus(rank, host, found.state, health.result(), found.digest, found.since)


def logs(document: Document, rank: int | None, *, follow: bool, tail: int | None) -> Iterator[LogLine]:
    """Lines of one rank or of all. Raises RemoteError where a rank has no container."""
    cluster = document.cluster
    if rank is not None and not 0 <= rank < len(cluster.nodes):
        raise ConfigError(f"{cluster.name} has ranks 0 to {len(cluster.nodes) - 1}, not {rank}", "see `status`")
    wanted = tuple(range(len(cluster.nodes))) if rank is None else (rank,)
    lines: queue.Queue[LogLine] = queue.Queue()
    with closing(Fleet(cluster, wanted)) as fleet:
        fleet.connect()
        running: dict[int, Future[Result]] = {}
        for one in wanted:
            argv = container.logs(rank_name(cluster, one), follow=follow, tail=tail)
            command = Command(argv, loose=True, timeout=FOREVER if follow else 120)
            running[one] = fleet.submit(one, command, lambda r, text: lines.put(LogLine(r, text)))
        while wait(running.values(), timeout=0.1).not_done or not lines.empty():
            while not lines.empty():
                yield lines.get()
        fleet.finish(running)
