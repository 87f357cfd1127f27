"""The very argv and environment that `up` gives each rank, as JSON: `python -m tests.gpu.export cluster.yaml`."""

from __future__ import annotations

import json
import sys

from deploy.cluster.load import load
from deploy.launch.node import assumed_spark
from deploy.launch.plan import rank_container


def export(path: str) -> str:
    """Ranks of a cluster.yaml, planned for stock DGX Sparks."""
    cluster = load(path).cluster
    ranks = []
    for rank, node in enumerate(cluster.nodes):
        one = rank_container(cluster, rank, "image@sha256:0", assumed_spark(node.fabric))
        ranks.append({"rank": rank, "argv": list(one.argv), "env": dict(one.environment)})
    return json.dumps({"ranks": ranks}, indent=2)


if __name__ == "__main__":
    print(export(sys.argv[1]))
