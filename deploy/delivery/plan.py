"""From an image and what nodes have of it to how it comes to each of them. Pure: no host, clock or file.

Whatever happens before, a node's last step is a pull by digest, in which its engine holds every part to its checksum.
All else only makes that pull short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy import container
from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.delivery.parcel import Parcel
from deploy.delivery.stock import LOADED, Stock
from deploy.launch.node import NodeFacts, lent_name
from deploy.launch.plan import COPY, LOAD, PULL, PULL_TIMEOUT, Brought, Step

WORTH_COPYING = 256 << 20
"""Compressed bytes that a node lacks from which on they come over the fabric, when another node has them."""
LENT_PORT = 27100
"""The first port on a node's loopback that an image is lent at; below those that a kernel gives away."""
COPY_PORT = 27300
_SIZED = 'echo "size $(docker image inspect --format "{{.Size}}" "$1")"; shift; exec "$@"'
_CARRY = Path(__file__).with_name("carry.py")
# Its own proxies would not lead to the node's loopback.
_FETCH = (
    "import shutil,sys,urllib.request as r;"
    "shutil.copyfileobj(r.build_opener(r.ProxyHandler({})).open(sys.argv[1],timeout=300),sys.stdout.buffer)"
)


@dataclass(frozen=True)
class Share:
    """How one node comes to the image: `direct` over its SSH connection, else from the registry; `size` in bytes.

    `archive`: the layers from this one on come first in an archive, since the node has those below, but not under
    their digests. `source`: the rank whose copy comes over the fabric first. `why`: what keeps it from the registry.
    """

    direct: bool
    size: int
    archive: int | None = None
    source: int | None = None
    why: str = ""


def shares(parcel: Parcel, stocks: Mapping[int, Stock], lacking: Sequence[int], *, direct: bool) -> dict[int, Share]:
    """The share of each node that lacks the image. What many lack comes from outside once."""
    own = {rank: _own(parcel, stocks[rank], direct=direct) for rank in lacking}
    source = _source(own, stocks)
    copied = [rank for rank in own if source is not None and _is_copied(rank, source, own, stocks)]
    # What a copy leaves to the pull is the wrapping of the image.
    return {rank: replace(one, archive=None, source=source) if rank in copied else one for rank, one in own.items()}


def _own(parcel: Parcel, stock: Stock, *, direct: bool) -> Share:
    """The share of a node that gets no help from another."""
    known, unpacked = stock.known(parcel.diff_ids), stock.unpacked(parcel.diff_ids)
    pulled, loaded = parcel.above(known), parcel.above(unpacked)
    if loaded < pulled and stock.python:
        return Share(True, loaded + parcel.wrapping, archive=unpacked)
    why = "" if direct else stock.obstacle
    return Share(direct or bool(why), pulled + parcel.wrapping, why=why)


def _source(own: Mapping[int, Share], stocks: Mapping[int, Stock]) -> int | None:
    """The node to copy from: one that lacks least of the image, or nothing; None where none can send."""
    able = [rank for rank, stock in stocks.items() if stock.python]
    return min(able, key=lambda rank: (own[rank].size if rank in own else 0, rank), default=None)


def _is_copied(rank: int, source: int, own: Mapping[int, Share], stocks: Mapping[int, Stock]) -> bool:
    return rank != source and stocks[rank].python and own[rank].size >= WORTH_COPYING


def brought(cluster: Cluster, parcel: Parcel, facts: Sequence[NodeFacts], found: Mapping[int, Share]) -> Brought:
    """The steps of a delivery, and what every node gets."""
    repository, _, digest = parcel.image.partition("@")
    references = {
        rank: f"{lent_name(repository, lent_port(facts[rank]))}@{digest}" if share.direct else parcel.image
        for rank, share in found.items()
    }
    known = {rank: references.get(rank) or node.reference(repository, digest) for rank, node in enumerate(facts)}
    loads = {
        rank: _load(lent_port(facts[rank]), share.archive) for rank, share in found.items() if share.archive is not None
    }
    pulls = {rank: _pull(one, found[rank], repository) for rank, one in references.items()}
    first = {rank: pull for rank, pull in pulls.items() if found[rank].source is None}
    later = {rank: pull for rank, pull in pulls.items() if rank not in first}
    steps = (Step(LOAD, loads), Step(PULL, first), Step(COPY, _copies(cluster, facts, found, known)), Step(PULL, later))
    return Brought(tuple(step for step in steps if step.commands), told(cluster, found), references)


def _pull(reference: str, share: Share, repository: str) -> Command:
    """The pull by digest. What was loaded before is marked, since a later pull would not know its layers again."""
    argv = container.pull(reference)
    if share.archive is not None or share.source is not None:
        mark = f"{repository}:{LOADED}{reference.rpartition(':')[2][:12]}"
        argv = ("sh", "-c", 'docker pull "$1" && docker tag "$1" "$2"', "sh", reference, mark)
    return Command(argv, timeout=PULL_TIMEOUT, loose=True)


def lent_port(facts: NodeFacts) -> int:
    """A port that nothing listens at."""
    return _free(LENT_PORT, facts)


def _free(first: int, facts: NodeFacts) -> int:
    return next(port for port in range(first, first + 200) if port not in facts.listening)


def _load(port: int, layer: int) -> Command:
    """Load an archive of the layers from one on; what it lacks is on the node already."""
    fetch = ("sh", "-c", 'python3 -c "$1" "$2" | docker load', "sh", _FETCH, f"http://127.0.0.1:{port}/archive/{layer}")
    return Command(fetch, timeout=PULL_TIMEOUT, loose=True)


def _copies(
    cluster: Cluster, facts: Sequence[NodeFacts], found: Mapping[int, Share], known: Mapping[int, str]
) -> dict[int, Command]:
    """One node sends, the others take; each is to be given the token as its first line of input."""
    takers = [rank for rank, share in found.items() if share.source is not None]
    if not takers:
        return {}
    source = next(share.source for share in found.values() if share.source is not None)
    place = (cluster.nodes[source].fabric, str(_free(COPY_PORT, facts[source])))
    send = _carry("send", *place, str(len(takers)), "docker", "save", known[source])
    send = replace(send, argv=("sh", "-c", _SIZED, "sh", known[source], *send.argv))
    take = _carry("receive", *place, "1", "docker", "load")
    return {source: send, **dict.fromkeys(takers, take)}


def _carry(*words: str) -> Command:
    return Command(("python3", "-c", _CARRY.read_text(), *words), held=True, loose=True, timeout=PULL_TIMEOUT)


def told(cluster: Cluster, found: Mapping[int, Share]) -> dict[int, str]:
    """What every node gets, in words."""
    return {rank: _told(cluster, found[rank]) if rank in found else "nothing" for rank in range(len(cluster.nodes))}


def _told(cluster: Cluster, share: Share) -> str:
    size = f"{share.size / 1e6:.2f} MB"
    if share.source is not None:
        return f"copy, {size} compressed, from {cluster.nodes[share.source].host} over the fabric"
    if share.archive is not None:
        return f"direct, {size} over SSH, as an archive"
    if share.why:
        return f"direct, {size} over SSH, since its Docker Engine cannot use the registry: {share.why}"
    return f"direct, {size} over SSH" if share.direct else f"pull, {size} from the registry"
