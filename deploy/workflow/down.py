"""`down`: end every rank of a cluster on every node that can be reached, and say what could not be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from deploy.cluster.load import Document
from deploy.event import Event, Note
from deploy.launch.sglang import server_port
from deploy.launch.takedown import takedown
from deploy.remote import facts as probe
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock


def down(document: Document, holder: str, grace: int = 10) -> Iterator[Event]:
    """Stop and remove; `grace` is how long a rank may take to leave, in seconds. Safe to repeat."""
    cluster = document.cluster
    with closing(Fleet(cluster)) as fleet:
        refused = fleet.reach()
        if fleet.ranks:
            with lock(fleet, holder):
                yield from _remove(fleet, cluster.name, grace)
                yield from _look(fleet, cluster.name, server_port(cluster))
        if refused:
            raise fleet.refused(refused)
    yield Note(f"{cluster.name} is down", "done")


def _remove(fleet: Fleet, name: str, grace: int) -> Iterator[Event]:
    results = fleet.each(dict.fromkeys(fleet.ranks, takedown(name, grace)))
    failed = {rank: result.tail(2) for rank, result in results.items() if not result.ok}
    for rank, result in results.items():
        if result.ok:
            count = len(result.stdout.split())
            yield Note(f"{fleet.nodes[rank].host}: " + (f"{count} removed" if count else "nothing ran"))
    if failed:
        raise fleet.error(failed, "run `down` again when Docker answers there")


def _look(fleet: Fleet, name: str, port: int) -> Iterator[Event]:
    """See for ourselves that no rank and no busy port is left."""
    results = fleet.each(dict.fromkeys(fleet.ranks, probe.command(name)))
    seen = {rank: probe.read(result.stdout) for rank, result in results.items() if result.ok}
    left = {rank: ", ".join(one.container for one in node.ranks) for rank, node in seen.items() if node.ranks}
    if left:
        raise fleet.error(left, "these containers could not be removed")
    for rank, node in seen.items():
        if port in node.listening:
            yield Note(f"{fleet.nodes[rank].host}: port {port} is still in use, by another program", "warning")
