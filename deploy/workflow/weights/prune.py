"""`model prune`: what no longer belongs to the model, removed where nothing that runs uses it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass

from deploy.cluster.load import Document
from deploy.event import Event, Note
from deploy.launch.node import gib
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock
from deploy.weights import command, users
from deploy.weights.plan import Held
from deploy.workflow.weights.asked import Model, model
from deploy.workflow.weights.crew import answers
from deploy.workflow.weights.known import looked


@dataclass(frozen=True)
class Pruning:
    """What is asked for: another model, all of it; else all but the commit that the revision names. `holder` as in the
    lock."""

    holder: str
    other: str = ""
    dry: bool = False


@dataclass(frozen=True)
class Pruned:
    """Of one node what was removed and what that gave back, in bytes; or why nothing was."""

    node: str
    removed: tuple[str, ...] = ()
    bytes: int = 0
    kept: str = ""


def prune(document: Document, asked: Pruning) -> Generator[Event, None, dict[int, Pruned]]:
    """Holds the cluster's lock, so that no rank starts meanwhile. Raises RemoteError, LockedError."""
    wanted = model(document, asked.other)
    with closing(Fleet(wanted.cluster)) as fleet:
        fleet.connect()
        with lock(fleet, asked.holder):
            nodes = looked(fleet, wanted)
            kept = {rank: why for rank, node in nodes.items() if (why := _obstacle(node, asked))}
            kept |= {rank: why for rank, why in _used(fleet, wanted, nodes).items() if rank not in kept}
            found = _removed(fleet, wanted, {rank: one for rank, one in nodes.items() if rank not in kept}, asked)
        found |= {rank: Pruned(fleet.nodes[rank].host, kept=why) for rank, why in kept.items()}
        for rank in sorted(found):
            yield _told(found[rank], dry=asked.dry)
        return dict(sorted(found.items()))


def _obstacle(node: Held, asked: Pruning) -> str:
    if node.problem:
        return node.problem
    if not asked.other and node.snapshots and not node.commit:
        return "nothing there tells which commit the revision names: `model fetch` first"
    return ""


def _used(fleet: Fleet, wanted: Model, nodes: Mapping[int, Held]) -> dict[int, str]:
    """Who uses the model, or that this is not known, by rank."""
    results = fleet.each(dict.fromkeys(nodes, users.command()))
    found = {}
    for rank, result in results.items():
        hubs = (nodes[rank].hub, nodes[rank].real)
        names = users.users(users.read(result.stdout), hubs, wanted.repository) if result.ok else ()
        if not result.ok:
            found[rank] = f"Docker does not say what runs there: {result.tail(1)}"
        elif names:
            found[rank] = f"in use by {', '.join(names)}"
    return found


def _removed(fleet: Fleet, wanted: Model, nodes: Mapping[int, Held], asked: Pruning) -> dict[int, Pruned]:
    orders = {
        rank: {**wanted.order, "hub": node.hub, "keep": "" if asked.other else node.commit, "dry": asked.dry}
        for rank, node in nodes.items()
        if asked.other or node.commit
    }
    told, failed = answers(fleet, "prune", {rank: command.here("prune", order) for rank, order in orders.items()})
    found = {rank: Pruned(fleet.nodes[rank].host) for rank in nodes}
    for rank, line in told.items():
        found[rank] = Pruned(fleet.nodes[rank].host, tuple(line["removed"]), line["bytes"])
    for rank, error in failed.items():
        found[rank] = Pruned(fleet.nodes[rank].host, kept=error.message)
    return found


def _told(one: Pruned, *, dry: bool) -> Note:
    if one.kept:
        return Note(f"{one.node}: nothing removed: {one.kept}", "warning")
    verb = "would be removed" if dry else "removed"
    return Note(f"{one.node}: {gib(one.bytes)} {verb}, {len(one.removed)} files and folders")
