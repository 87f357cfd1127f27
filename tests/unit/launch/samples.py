"""Facts of nodes for tests, read from the text that the facts script prints."""

from __future__ import annotations

from pathlib import Path

from deploy.cluster.spec import Cluster
from deploy.command import Command, Result
from deploy.launch.doctor.seen import Case, Seen
from deploy.launch.node import NodeFacts
from deploy.remote import survey
from deploy.remote.facts import read

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
DIGEST = "sha256:" + "5c" * 32


def spark(address: str = "192.168.101.11") -> NodeFacts:
    """A DGX Spark with one cabled port, as the facts script would print it."""
    return read(printed(address))


def printed(address: str) -> str:
    parts = [int(part) for part in address.split(".")]
    gid = f"0000:0000:0000:0000:0000:ffff:{parts[0]:02x}{parts[1]:02x}:{parts[2]:02x}{parts[3]:02x}"
    text = (GOLDEN / "facts.txt").read_text()
    return text.replace("@GID@", gid).replace("@ADDRESS@", address).replace("@LAST@", str(parts[3]))


def sparks(cluster: Cluster) -> list[NodeFacts]:
    return [spark(node.fabric) for node in cluster.nodes]


def seen(cluster: Cluster, rank: int) -> Seen:
    """The same with what the survey prints: an idle node that reaches its peers and has the whole model."""
    address = cluster.nodes[rank].fabric
    peers = "\n".join(f"reach {one.fabric}" for one in cluster.nodes if one.fabric != address)
    text = (GOLDEN / "survey.txt").read_text().replace("@LAST@", address.split(".")[3]).replace("@REACH@", peers)
    text += printed(address).replace("memory_available 120000000", "memory_available 120586240")
    return survey.read(Result(Command(("sh",)), 0, text, span=(1770000000.0, 1770000000.5)))


def case(cluster: Cluster) -> Case:
    return Case(cluster, {rank: seen(cluster, rank) for rank in range(len(cluster.nodes))})
