"""`model status`: what each node has of the model, by its manifest or by the checks of `doctor`; asks no hub."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass

from deploy.cluster.load import Document
from deploy.command import Command, Result
from deploy.grid import grid
from deploy.launch.doctor.check import FAIL, WARN, Check
from deploy.launch.doctor.model import snapshot
from deploy.launch.doctor.seen import Case
from deploy.launch.node import gib
from deploy.remote import survey
from deploy.remote.execute import Fleet
from deploy.weights.manifest import Manifest
from deploy.weights.plan import Held, known
from deploy.workflow.weights.asked import Model, model
from deploy.workflow.weights.known import look

WHOLE, PARTIAL, ABSENT, UNKNOWN = "whole", "partial", "absent", "unknown"


@dataclass(frozen=True)
class NodeModel:
    """One node: `state` is whole, partial, absent or unknown; sizes in bytes. `why` says what is amiss."""

    node: str
    state: str
    commit: str = ""
    have: int = 0
    size: int = 0
    free: int = 0
    why: str = ""


@dataclass(frozen=True)
class ModelStatus:
    """`listed`: the hub's own list of files is known; without it a model is judged by its index alone."""

    repository: str
    revision: str
    listed: bool
    nodes: tuple[NodeModel, ...]

    @property
    def ok(self) -> bool:
        return all(one.state == WHOLE for one in self.nodes) and len({one.commit for one in self.nodes}) == 1

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "ok": self.ok}

    def as_text(self) -> str:
        head = ("node", "state", "commit", "has", "of", "free", "")
        rows = [
            (one.node, one.state, one.commit[:12], gib(one.have), gib(one.size), gib(one.free), one.why)
            for one in self.nodes
        ]
        how = "" if self.listed else "\njudged by its index, since no node has the hub's list of files (`model fetch`)"
        return "\n".join([f"{self.repository} at {self.revision}", *grid((head, *rows), left=True)]) + how


def status(document: Document) -> ModelStatus:
    """What every node has; a node that does not say is unknown. Changes nothing."""
    asked = model(document)
    with closing(Fleet(asked.cluster)) as fleet:
        refused = {rank: error.message for rank, error in fleet.reach().items()}
        nodes, silent = look(fleet, asked, fleet.ranks)
        wanted = known(nodes.values(), asked.revision)
        judged = {} if wanted else _judged(asked, fleet.each(_surveys(asked, nodes)))
        hosts = {rank: node.host for rank, node in enumerate(fleet.nodes)}
        rows = {rank: _row(hosts[rank], asked, node, wanted, judged.get(rank)) for rank, node in nodes.items()}
        rows |= {rank: NodeModel(hosts[rank], UNKNOWN, why=why) for rank, why in {**refused, **silent}.items()}
        return ModelStatus(asked.repository, asked.revision, wanted is not None, tuple(rows[rank] for rank in hosts))


def _surveys(asked: Model, nodes: Mapping[int, Held]) -> dict[int, Command]:
    commands = survey.commands(asked.cluster)
    return {rank: commands[rank] for rank in nodes}


def _judged(asked: Model, results: Mapping[int, Result]) -> dict[int, Check]:
    """What `doctor` says of each node's model."""
    case = Case(asked.cluster, {rank: survey.read(one) for rank, one in results.items() if one.ok})
    return {rank: one for one in snapshot(case) for rank in one.ranks}


def _row(host: str, asked: Model, node: Held, wanted: Manifest | None, judged: Check | None) -> NodeModel:
    if wanted:
        missing = node.missing(wanted)
        state = WHOLE if node.in_place(wanted, asked.revision) else PARTIAL if missing < wanted.size else ABSENT
        why = "" if state != PARTIAL or missing else "every file is there, and the revision does not name them yet"
        return NodeModel(host, state, node.commit, wanted.size - missing, wanted.size, node.free, why)
    have = sum(node.blobs.values()) + sum(node.parts.values())
    if judged is None or judged.outcome in (FAIL, WARN):
        state = PARTIAL if have else ABSENT
        return NodeModel(host, state, node.commit, have, 0, node.free, judged.seen if judged else "")
    return NodeModel(host, WHOLE, node.commit, have, have, node.free, judged.seen)
