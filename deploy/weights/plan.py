"""From what nodes have of a model to who gives it to whom: pure, no host, clock or file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.launch.node import gib
from deploy.weights.manifest import File, Manifest, manifest

SPARE = 1 << 30
"""Bytes of a disk that no model may take."""


@dataclass(frozen=True)
class Held:
    """What one node has of a model. `blobs` and `parts` are sizes by checksum; `snapshots` hold by commit and path the
    blob that a file is a link to, or nothing, and its size. `commit` is what the revision asked for names there,
    `begun` what a fetch that is not through yet will let it name, and `real` the hub's folder without links."""

    hub: str
    real: str
    commit: str
    begun: str
    blobs: Mapping[str, int]
    parts: Mapping[str, int]
    snapshots: Mapping[str, Mapping[str, tuple[str, int]]]
    manifests: tuple[Manifest, ...]
    free: int
    problem: str = ""

    def has(self, file: File, commit: str) -> bool:
        """It is there by its size, as a blob or as a plain file."""
        plain = self.snapshots.get(commit, {}).get(file.path, ("", -1))[1]
        return file.size in (self.blobs.get(file.checksum, -1), plain)

    def present(self, file: File, commit: str) -> int:
        """Bytes of a file that are there."""
        return file.size if self.has(file, commit) else min(self.parts.get(file.checksum, 0), file.size)

    def missing(self, wanted: Manifest, bad: Collection[str] = ()) -> int:
        """Bytes that are not there, or in files whose content is bad."""
        have = (0 if one.checksum in bad else self.present(one, wanted.commit) for one in wanted.blobs)
        return wanted.size - sum(have)

    def lacking(self, wanted: Manifest) -> tuple[File, ...]:
        """Files that are not there whole."""
        return tuple(one for one in wanted.blobs if not self.has(one, wanted.commit))

    def in_place(self, wanted: Manifest, revision: str) -> bool:
        """Every file is whole and where SGLang finds it by the revision."""
        placed = self.snapshots.get(wanted.commit, {})
        there = all(placed.get(one.path, ("", -1))[1] == one.size for one in wanted.files)
        return there and self.commit == wanted.commit and revision != ""

    def manifest(self, commit: str) -> Manifest | None:
        return next((one for one in self.manifests if one.commit == commit), None)


def held(told: Mapping[str, Any]) -> Held:
    """What a node's look told. Raises ValueError, KeyError, TypeError."""
    snapshots = {
        commit: {path: (str(blob), int(size)) for path, (blob, size) in files.items()}
        for commit, files in told["snapshots"].items()
    }
    known = tuple(manifest(one) for one in told["manifests"])
    plain = {name: told[name] for name in ("hub", "real", "commit", "begun", "blobs", "parts", "free", "problem")}
    return Held(**plain, snapshots=snapshots, manifests=known)


@dataclass(frozen=True)
class Chain:
    """Ranks in the order in which each gives to the next. `download`: bytes that the first takes from the hub;
    `missing`: bytes that each will get."""

    order: tuple[int, ...]
    download: int
    missing: Mapping[int, int]

    def before(self, rank: int) -> int | None:
        """Who gives to a rank; None for the first."""
        at = self.order.index(rank)
        return self.order[at - 1] if at else None


def chain(
    wanted: Manifest, nodes: Mapping[int, Held], revision: str, source: int | None, bad: Mapping[int, Collection[str]]
) -> Chain:
    """Who brings the model to whom; an empty order where every node has it in its place.

    Each node gives what it gets, so whoever has most goes first, and only the first may lack what no node has.
    """
    lacking = {rank: node.missing(wanted, bad.get(rank, ())) for rank, node in nodes.items()}
    todo = [rank for rank, node in nodes.items() if lacking[rank] or not node.in_place(wanted, revision)]
    if not todo:
        return Chain((), 0, {})
    whole = [rank for rank, count in lacking.items() if not count]
    likely = whole or ([source] if source is not None else todo)
    first = min(likely, key=lambda rank: (rank in todo and rank not in whole, lacking[rank], rank))
    rest = sorted((rank for rank in todo if rank != first), key=lambda rank: (lacking[rank], rank))
    order = (first, *rest) if any(lacking[rank] for rank in todo) else tuple(todo)
    return Chain(order, lacking[first], {rank: lacking[rank] for rank in order})


def obstacles(found: Chain, nodes: Mapping[int, Held]) -> dict[int, str]:
    """Why nothing can be begun, by rank; empty where nothing is in the way."""
    problems = {}
    for rank in found.order:
        short = found.missing[rank] + SPARE - nodes[rank].free
        if nodes[rank].problem:
            problems[rank] = f"{nodes[rank].problem}, so nothing can be put there"
        elif found.missing[rank] and short > 0:
            room = f"{gib(nodes[rank].free)} free for {gib(found.missing[rank])} that are missing"
            problems[rank] = f"{room}, and {gib(SPARE)} to spare"
    return problems


def known(nodes: Iterable[Held], revision: str) -> Manifest | None:
    """What nodes know of a revision without the hub: the manifest of a commit whose fetch was begun there, else of the
    one that the revision names."""
    nodes = tuple(nodes)
    for commit in dict.fromkeys((revision, *(one.begun for one in nodes), *(one.commit for one in nodes))):
        found = next((one for node in nodes if (one := node.manifest(commit))), None)
        if found:
            return found
    return None


def described(wanted: Manifest, found: Chain, names: Mapping[int, str]) -> str:
    """Who gets what from whom: what `--dry-run` prints."""
    head = f"{wanted.repository} at {wanted.commit}: {len(wanted.files)} files, {gib(wanted.size)}"
    if not found.order:
        return f"{head}; every node has it"
    lines = [f"  {names[rank]}: {gib(found.missing[rank])} {_giver(found, rank, names)}" for rank in found.order]
    return "\n".join([head, *lines])


def _giver(found: Chain, rank: int, names: Mapping[int, str]) -> str:
    giver = found.before(rank)
    if giver is not None:
        return f"from {names[giver]}, over the fabric"
    return "from the hub" if found.download else "to get: it has all of it"
