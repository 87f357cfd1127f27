"""`model verify`: every file read on every node, and held to the checksum that the hub tells."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from deploy.cluster.load import Document
from deploy.event import Event, Note, Progress
from deploy.remote.execute import Fleet
from deploy.weights import command
from deploy.weights.manifest import Manifest
from deploy.workflow.weights.asked import Asking, Model, model
from deploy.workflow.weights.crew import Crew
from deploy.workflow.weights.known import Source, looked

READERS = 4


@dataclass(frozen=True)
class Verified:
    """Of one node the files that are missing, whose content is wrong, and that have no name in the model's folder."""

    node: str
    missing: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    unlinked: tuple[str, ...] = ()
    checksums: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def ok(self) -> bool:
        return not (self.missing or self.bad or self.unlinked)


def verify(document: Document, asking: Asking) -> Generator[Event, None, dict[int, Verified]]:
    """Every node's files held to size and checksum. Raises RemoteError; WeightsError where nobody knows these."""
    asked = model(document)
    with closing(Fleet(asked.cluster)) as fleet:
        fleet.connect()
        wanted = yield from Source(fleet, asked, asking).manifest(looked(fleet, asked), newest=False)
        yield Note(f"reading {wanted.repository} at {wanted.commit} on {len(fleet.ranks)} nodes")
        return (yield from verified(fleet, asked, wanted))


def wrong(fleet: Fleet, asked: Model, wanted: Manifest) -> Generator[Event, None, dict[int, frozenset[str]]]:
    """The checksums of files whose content is another, by rank."""
    found = yield from verified(fleet, asked, wanted)
    for one in found.values():
        if one.bad:
            yield Note(f"{one.node}: wrong content, fetched anew: {', '.join(one.bad)}", "warning")
    return {rank: one.checksums for rank, one in found.items()}


def verified(fleet: Fleet, asked: Model, wanted: Manifest) -> Generator[Event, None, dict[int, Verified]]:
    """Read on all nodes at once. Raises RemoteError that names every node which could not."""
    crew, found, failed = Crew(fleet), dict[int, Verified](), dict[int, str]()
    order = command.here("verify", {**asked.order, "manifest": wanted.as_json(), "streams": READERS})
    began = time.monotonic()
    try:
        for rank in fleet.ranks:
            crew.start(rank, "verify", order)
        going = set(fleet.ranks)
        while going:
            said = crew.listen(0.5)
            if said and said.line and "have" in said.line:
                have, host = int(said.line["have"]), fleet.nodes[said.rank].host
                yield Progress(f"reading on {host}", have, wanted.size, rate=pace(have, time.monotonic() - began))
            elif said and said.line:
                found[said.rank] = _verified(fleet.nodes[said.rank].host, wanted, said.line)
            elif said and said.over:
                going.discard(said.rank)
                if not said.over.ok or said.rank not in found:
                    failed[said.rank] = crew.error(said.rank, "verify", said.over).message
    finally:
        crew.stop()
    if failed:
        raise fleet.error(failed, "nothing is known of these nodes' files")
    return dict(sorted(found.items()))


def pace(count: int, seconds: float) -> float | None:
    """Bytes a second; None while it is too early to tell."""
    return count / seconds if seconds > 1 else None


def _verified(node: str, wanted: Manifest, line: Mapping[str, list[str]]) -> Verified:
    def paths(kind: str) -> tuple[str, ...]:
        return tuple(one.path for one in wanted.files if one.checksum in line[kind])

    return Verified(node, paths("missing"), paths("bad"), paths("unlinked"), frozenset(line["bad"]))
