"""How an image comes to the nodes that lack it: asked, planned, and lent to them over their SSH connections."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.delivery import plan, stock
from deploy.delivery.depot import Depot
from deploy.delivery.parcel import Parcel, parcel, pieces
from deploy.delivery.plan import Share
from deploy.delivery.serve import Lent
from deploy.errors import RegistryError, RemoteError
from deploy.event import Event, Progress
from deploy.launch.node import NodeFacts
from deploy.launch.plan import COPY, Brought, Step, lacking, pulled
from deploy.remote.execute import Fleet
from deploy.store import cache


@dataclass(frozen=True)
class Delivery:
    """What comes to which node, and how; `ports` are those of nodes that it is lent to."""

    brought: Brought
    parcel: Parcel | None = None
    shares: Mapping[int, Share] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)


def planned(fleet: Fleet, cluster: Cluster, image: str, seen: Sequence[NodeFacts], *, direct: bool) -> Delivery:
    """How the image (REPOSITORY@sha256:…) comes to the nodes. Raises RegistryError where it must be lent and cannot be
    read here, RemoteError with every node that does not say what it has."""
    missing = lacking(image, seen)
    if not missing:
        return Delivery(Brought())
    try:
        found = parcel(image, cluster.image.platform)
    except RegistryError:
        if direct:
            raise
        # The nodes may reach what this machine does not.
        told = dict.fromkeys(missing, "pull, of a size that is not known here")
        return Delivery(replace(pulled(image, seen), told=told))
    stocks = _stocks(fleet, "" if direct else image.partition("@")[0])
    shares = plan.shares(found, stocks, missing, direct=direct)
    ports = {rank: plan.lent_port(seen[rank]) for rank, share in shares.items() if share.direct}
    return Delivery(plan.brought(cluster, found, seen, shares), found, shares, ports)


def _stocks(fleet: Fleet, repository: str) -> dict[int, stock.Stock]:
    results = fleet.each(dict.fromkeys(fleet.ranks, stock.command(repository)))
    silent = {rank: f"does not say what it has: {one.tail(2)}" for rank, one in results.items() if not one.ok}
    if silent:
        raise fleet.error(silent, "see `doctor`")
    return {rank: stock.read(one.stdout) for rank, one in results.items()}


class Lending:
    """The image while it is lent: what went to whom, and what went wrong on the way."""

    def __init__(self, found: Parcel, ranks: Sequence[int], fleet: Fleet) -> None:
        self.depot = Depot(partial(pieces, found.image), cache() / "delivery")
        self.lent = {rank: Lent(found, self.depot) for rank in ranks}
        self._fleet, self._began = fleet, time.monotonic()
        self._told: dict[int, int] = {}

    def progress(self, shares: Mapping[int, Share]) -> Iterator[Event]:
        """How many bytes each node has got."""
        passed = time.monotonic() - self._began
        for rank, one in self.lent.items():
            sent, total = min(one.sent, shares[rank].size), shares[rank].size
            if sent > self._told.get(rank, 0):
                self._told[rank] = sent
                rate = sent / passed if passed > 1 else None
                yield Progress(f"image to {self._fleet.nodes[rank].host} over SSH", sent, total, rate=rate)


@contextmanager
def lending(fleet: Fleet, delivery: Delivery) -> Iterator[Lending | None]:
    """Lend the image to every node that takes it directly. Raises one RemoteError with every node that refuses."""
    if delivery.parcel is None or not delivery.ports:
        yield None
        return
    with ExitStack() as stack:
        one = Lending(delivery.parcel, tuple(delivery.ports), fleet)
        stack.callback(one.depot.close)
        refused: dict[int, RemoteError] = {}
        for rank, port in delivery.ports.items():
            try:
                stack.enter_context(fleet.sessions[rank].lent(port, one.lent[rank].answer))
            except RemoteError as error:
                refused[rank] = error
        if refused:
            raise fleet.refused(refused)
        yield one


def commands(step: Step) -> Mapping[int, Command]:
    """A step's commands as they are sent: those of a copy with the secret that they know each other by."""
    if step.title != COPY:
        return step.commands
    token = secrets.token_hex(32) + "\n"
    return {rank: replace(one, stdin=token, secret=True) for rank, one in step.commands.items()}
