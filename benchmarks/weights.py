"""What it costs to bring a model to many nodes: seconds and bytes into each node, beside those of one copy.

`benchmarks/weights.py [--nodes 1,2,4,8] [--megabytes M] [--rate MB/s] [--dir LAB] [--json]`, with the project's Python.

On the lab, with a stand-in for the hub and a model of random bytes. Nodes and hub all send at `--rate` and no faster,
so that the network is what is measured and not this machine's cores. A round begins with nothing on any node, and ends
when the command does. Bytes are those that the counters of the nodes' network interfaces saw come in, whatever for.
`ratio` is a round's time to that with one node, which gets one copy from the hub.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.hub import Hub, model, serving  # noqa: E402
from deploy.cluster.load import load  # noqa: E402
from deploy.cluster.spec import Cluster  # noqa: E402
from deploy.command import Command  # noqa: E402
from deploy.remote.execute import Fleet  # noqa: E402

CLI = (sys.executable, str(ROOT / "build-and-deploy.py"))
SUBNET = "172.31.244.0/24"
SHARDS = 12
CACHE = "/root/.cache/huggingface/hub/models--lab--random"
COUNTER = "/sys/class/net/eth0/statistics/rx_bytes"


def call(*words: str, folder: Path) -> str:
    """Run the project's command line; fails with what it said."""
    environ = {**os.environ, "DOCKER_CONFIG": str(folder / "docker")}
    done = subprocess.run((*CLI, *words), cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


@contextmanager
def lab(folder: Path | None, nodes: int) -> Iterator[Path]:
    """A lab with the image: the one in the folder, or one of its own that goes afterwards."""
    if folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sglang-spark-weights-") as name:
        own = Path(name)
        try:
            call("lab", "up", "--nodes", str(nodes), "--subnet", SUBNET, "--dir", name, folder=own)
            call("build", "--push", "--nodes", f"{name}/cluster.yaml", folder=own)
            yield own
        finally:
            call("lab", "down", "--dir", name, folder=own)


class Rounds:
    """Rounds on one lab and one hub."""

    def __init__(self, folder: Path, hub: Hub, url: str, rate: float) -> None:
        self._folder, self._hub, self._url, self._rate = folder, hub, url, rate
        self._fleet = Fleet(load(folder / "cluster.yaml").cluster)
        self._fleet.connect()

    def close(self) -> None:
        self._fleet.close()

    def limited(self, kind: str) -> None:
        """Limit what every node sends (`slow`), or lift that (`fast`)."""
        rate = ("--rate", f"{self._rate * 8:g}mbit") if kind == "slow" else ()
        for rank in self._fleet.ranks:
            call("lab", "fault", kind, str(rank), *rate, "--dir", str(self._folder), folder=self._folder)

    def once(self, nodes: int) -> dict[str, Any]:
        """Fetch the model to so many nodes, of which none has anything of it."""
        self._each(f"rm -rf {CACHE}")
        before, sent = self._received(), self._hub.sent
        began = time.monotonic()
        told = json.loads(call("model", "fetch", "-q", "--json", "--nodes", self.file(nodes), folder=self._folder))
        seconds, after = time.monotonic() - began, self._received()
        into = [after[rank] - before[rank] for rank in range(nodes)]
        size = told["size"]
        return {
            "nodes": nodes,
            "seconds": round(seconds, 2),
            "size": size,
            "hub_bytes": self._hub.sent - sent,
            "node_bytes": into,
            "most_over_size": round(max(into) / size, 4),
        }

    def file(self, nodes: int) -> str:
        text = yaml.safe_load((self._folder / "cluster.yaml").read_text())
        text["nodes"] = text["nodes"][:nodes]
        more = {"model": {"path": self._hub.repository}, "environment": {"HF_ENDPOINT": self._url}}
        file = self._folder / f"weights-{nodes}.yaml"
        file.write_text(yaml.safe_dump({**text, **more}))
        return str(file)

    def _received(self) -> list[int]:
        return [int(one) for one in self._each(f"cat {COUNTER}")]

    def _each(self, script: str) -> list[str]:
        results = self._fleet.each(dict.fromkeys(self._fleet.ranks, Command(("sh", "-c", script))))
        bad = [result.tail() for result in results.values() if not result.ok]
        if bad:
            raise SystemExit(f"{script}: {bad[0]}")
        return [results[rank].stdout for rank in self._fleet.ranks]


def gateway(cluster: Cluster) -> str:
    """This machine's address on the lab's network."""
    return cluster.head.host.rpartition(".")[0] + ".1"


def measured(folder: Path, counts: list[int], megabytes: int, rate: float) -> list[dict[str, Any]]:
    """A round for each number of nodes; the image is brought to the first node before."""
    hub = Hub(model(SHARDS, megabytes * 1_000_000 // SHARDS), rate=rate * 1e6)
    with serving(hub, gateway(load(folder / "cluster.yaml").cluster)) as url:
        rounds = Rounds(folder, hub, url, rate)
        try:
            call("model", "fetch", "-n", "--nodes", rounds.file(1), folder=folder)
            rounds.limited("slow")
            found = [rounds.once(nodes) for nodes in counts]
        finally:
            rounds.limited("fast")
            rounds.close()
    one = next((one["seconds"] for one in found if one["nodes"] == 1), found[0]["seconds"])
    return [{**row, "ratio": round(row["seconds"] / one, 3)} for row in found]


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description="A model to many nodes")
    parser.add_argument("--nodes", default="1,2,4,8", help="numbers of nodes")
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rate", type=float, default=10.0, help="MB/s that a node, and the hub, can send")
    parser.add_argument("--dir", type=Path, help="a lab that runs, with the image pushed")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    counts = [int(one) for one in args.nodes.split(",")]
    with lab(args.dir, max(counts)) as folder:
        rows = measured(folder, counts, args.megabytes, args.rate)
    if args.json:
        print(json.dumps({"rate_mb_s": args.rate, "rounds": rows}, indent=2))
        return
    print("nodes  seconds  ratio  most into a node / size  from the hub / size")
    for row in rows:
        line = f"{row['nodes']:5}  {row['seconds']:7.1f}  {row['ratio']:5.2f}  {row['most_over_size']:23.3f}"
        print(f"{line}  {row['hub_bytes'] / row['size']:19.3f}")


if __name__ == "__main__":
    main()
