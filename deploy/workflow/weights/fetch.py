"""`model fetch`: once from the hub to one node, then from node to node in a chain; only what a node lacks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from deploy.cluster.load import Document
from deploy.event import Event, Note
from deploy.launch.node import gib
from deploy.remote.execute import Fleet
from deploy.weights.manifest import Manifest
from deploy.weights.plan import Chain, Held, chain, described, obstacles
from deploy.workflow.weights.asked import Asking, Model, model
from deploy.workflow.weights.known import Source, look, looked
from deploy.workflow.weights.relay import Turn
from deploy.workflow.weights.verify import wrong

BACK_WITHIN = 15.0
"""Seconds that a node which was lost may take to be back, once all others have the model."""
AGAIN = 2
"""How often a node may be lost before it is given up."""


@dataclass(frozen=True)
class Fetched:
    """What came of it: bytes that all nodes together got, of them from the hub, and the seconds that it took."""

    wanted: Manifest
    bytes: int
    downloaded: int
    seconds: float

    def as_json(self) -> dict[str, object]:
        told = {"repository": self.wanted.repository, "commit": self.wanted.commit, "size": self.wanted.size}
        return {**told, "bytes": self.bytes, "downloaded": self.downloaded, "seconds": round(self.seconds, 3)}


def planned(document: Document, asking: Asking) -> Generator[Event, None, str]:
    """Who would get what from whom, as text. Raises RemoteError, WeightsError, BuildError."""
    asked = model(document)
    with closing(Fleet(asked.cluster)) as fleet:
        fleet.connect()
        nodes = looked(fleet, asked)
        wanted = yield from Source(fleet, asked, asking).manifest(nodes)
        found = chain(wanted, nodes, asked.revision, asking.source, {})
        _refuse(fleet, found, nodes)
        return described(wanted, found, {rank: fleet.nodes[rank].host for rank in nodes})


def fetch(document: Document, asking: Asking, *, verify: bool = False) -> Generator[Event, None, Fetched]:
    """Bring the model of cluster.yaml to every node; with `verify`, what is there is read and held to its checksums.

    What came is kept whatever happens, and the next run goes on from it. Raises RemoteError that names every node which
    has not all of it, WeightsError where the hub fails, BuildError where there is no image to ask it from.
    """
    asked, began = model(document), time.monotonic()
    with closing(Fleet(asked.cluster)) as fleet:
        fleet.connect()
        nodes = looked(fleet, asked)
        source = Source(fleet, asked, asking)
        wanted = yield from source.manifest(nodes)
        bad: Mapping[int, Collection[str]] = {}
        if verify:
            bad = yield from wrong(fleet, asked, wanted)
        first = chain(wanted, nodes, asked.revision, asking.source, bad)
        _refuse(fleet, first, nodes)
        if first.order:
            yield Note(described(wanted, first, {rank: fleet.nodes[rank].host for rank in nodes}))
            yield from _Fetch(fleet, asked, wanted, source).brought(nodes, first, bad)
        done = Fetched(wanted, sum(first.missing.values()), first.download, time.monotonic() - began)
        yield Note(_summary(done, len(fleet.ranks)), "done")
        return done


def _refuse(fleet: Fleet, found: Chain, nodes: Mapping[int, Held]) -> None:
    problems = obstacles(found, nodes)
    if problems:
        hint = "nothing was fetched; make room (`model prune`), or give the folder to the SSH user: `sudo chown -R`"
        raise fleet.error(problems, hint)


@dataclass
class _Fetch:
    """Turns until every node has all of it. Who is lost is left out, and asked again when the others are through."""

    fleet: Fleet
    asked: Model
    wanted: Manifest
    source: Source
    lost: dict[int, str] = field(default_factory=dict)
    times: Counter[int] = field(default_factory=Counter)

    def brought(
        self, nodes: Mapping[int, Held], found: Chain, bad: Mapping[int, Collection[str]]
    ) -> Generator[Event, None, None]:
        """Begin with what is known of the nodes. Raises RemoteError that names every node which has not all of it."""
        while found.order or self._returned():
            if found.order:
                yield from self._turn(nodes, found, bad)
            there = [rank for rank in self.fleet.ranks if rank not in self.lost]
            nodes, silent = look(self.fleet, self.asked, there)
            self.lost |= silent
            found, bad = chain(self.wanted, nodes, self.asked.revision, self.source.rank, {}), {}
        if self.lost:
            raise self.fleet.error(self.lost, "run it again: what a node has of it is kept, and not sent twice")

    def _turn(
        self, nodes: Mapping[int, Held], found: Chain, bad: Mapping[int, Collection[str]]
    ) -> Generator[Event, None, None]:
        turn = Turn(self.fleet, self.asked, self.wanted, found, bad)
        yield from turn.taken(self.source, nodes)
        for rank, why in turn.lost.items():
            self.times[rank] += 1
            yield Note(f"{self.fleet.nodes[rank].host}: {why}; going on without it", "warning")
        self.lost |= turn.lost

    def _returned(self) -> bool:
        """Whether nodes that were lost can be reached again; they are no longer lost then."""
        back = [rank for rank in self.lost if self.times[rank] < AGAIN and _back(self.fleet, rank)]
        self.lost = {rank: why for rank, why in self.lost.items() if rank not in back}
        return bool(back)


def _back(fleet: Fleet, rank: int) -> bool:
    """Whether a node whose connection broke can be logged in to again."""
    return not fleet.sessions[rank].alive and not fleet.revive([rank], BACK_WITHIN)


def _summary(done: Fetched, nodes: int) -> str:
    what = f"{done.wanted.repository} at {done.wanted.commit[:12]} is whole on {nodes} nodes"
    if not done.bytes:
        return f"{what}; nothing had to be sent"
    pace = f"{done.bytes / done.seconds / 1e6:.1f} MB/s"
    return f"{what}: {gib(done.bytes)}, {gib(done.downloaded)} of it from the hub, in {done.seconds:.0f} s ({pace})"
