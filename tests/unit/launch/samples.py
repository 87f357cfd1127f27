"""Facts of nodes for tests, read from the text that the facts script prints."""

from __future__ import annotations

from pathlib import Path

from deploy.cluster.spec import Cluster
from deploy.launch.node import NodeFacts
from deploy.remote.facts import read

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
DIGEST = "sha256:" + "5c" * 32


def spark(address: str = "192.168.101.11") -> NodeFacts:
    """A DGX Spark with one cabled port, as the facts script would print it."""
    parts = [int(part) for part in address.split(".")]
    gid = f"0000:0000:0000:0000:0000:ffff:{parts[0]:02x}{parts[1]:02x}:{parts[2]:02x}{parts[3]:02x}"
    text = (GOLDEN / "facts.txt").read_text()
    return read(text.replace("@GID@", gid).replace("@ADDRESS@", address).replace("@LAST@", str(parts[3])))


def sparks(cluster: Cluster) -> list[NodeFacts]:
    return [spark(node.fabric) for node in cluster.nodes]
