"""`tune` on a lab of the campaign's own: started, its answer read, what it left looked for past the tool."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.campaign import sight
from benchmarks.campaign.client import Client
from benchmarks.campaign.lane import NAME, Lane
from deploy.lab.clusterfile import FEW
from deploy.tune.plan import PORTS, container_name

SHAPE = ("--experts", "160", "--intermediate", "384", "--hidden", "5120", "--top-k", "8", "--dtype", "fp8_w8a8")
SIZES = (1, 8, 64, 256, 1024, 4096)
DELAY = 0.004
"""Seconds that the stand-in takes for a trial."""
SECONDS = 400.0
"""That a run may take."""


@dataclass(frozen=True)
class Answer:
    """Tables by name, and the journal's measurements in its order."""

    tables: dict[str, str]
    trials: list[str]


class Tuner:
    """A lane, and `tune` on it."""

    def __init__(self, lane: Lane, folder: Path) -> None:
        self.lane, self.folder = lane, folder

    def open(self) -> None:
        """Start the lab, and make and push its image."""
        lane = self.lane
        words = ("lab", "up", "--nodes", str(lane.count), "--subnet", lane.subnet)
        lane.good(*words, "--dir", str(lane.folder))
        lane.good("build", "--with-tune", "--push", "--nodes", str(lane.folder / "cluster.yaml"))
        lane.find()

    def cluster(self, nodes: int) -> str:
        """A cluster.yaml of the first nodes."""
        text = yaml.safe_load((self.lane.folder / "cluster.yaml").read_text())
        told = {"environment": {"SGLANG_SPARK_STANDIN_DELAY": str(DELAY)}, "doctor": FEW}
        file = self.folder / f"cluster-{nodes}.yaml"
        file.write_text(yaml.safe_dump({**text, **told, "nodes": text["nodes"][:nodes]}))
        return str(file)

    def start(self, name: str, nodes: int) -> Client:
        sizes = [word for size in SIZES for word in ("--batch-size", str(size))]
        where = ("--into", str(self.folder / name), "--journal", str(self.journal(name)))
        return self.lane.client("tune", "--nodes", self.cluster(nodes), *SHAPE, "--per-channel", *sizes, *where)

    def journal(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def finished(self, one: Client) -> str:
        """Why a run did not end well; empty where it did."""
        code = one.wait(SECONDS)
        if code is None:
            one.end()
        return "" if code == 0 else f"`tune` ended with {code}: {one.text[-600:]}"

    def answer(self, name: str) -> Answer:
        tables = [path for path in (self.folder / name).rglob("E=*.json") if "provenance" not in path.name]
        return Answer({path.name: path.read_text() for path in tables}, measurements(self.journal(name)))

    def left(self) -> list[str]:
        """What of a run is on the nodes."""
        ports = set(range(PORTS, PORTS + 50))
        listening = [
            f"node {index}: port {port}"
            for index, node in self.lane.nodes.items()
            for port in sight.listening(node, ports)
        ]
        return [*self.lane.left(), *listening]

    def kill(self, victim: str, client: Client, dice: random.Random) -> str:
        """Strike; who it was, or an empty string where the run had ended before."""
        if victim == "controller":
            alive = client.running
            client.kill()
            return victim if alive else ""
        rank = 0 if victim == "head" else dice.randrange(1, self.lane.count)
        name = container_name(NAME, rank)
        while client.running:
            if "killed" in self.lane.inside(rank, f"docker kill {name} > /dev/null 2>&1 && echo killed"):
                return f"{victim} on node {rank}"
            time.sleep(0.2)
        return ""


def measurements(journal: Path) -> list[str]:
    """Each measurement of a journal as text, wherever it was made; a last line that was cut off is none."""
    if not journal.exists():
        return []
    lines = [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    made = (json.loads(line) for line in lines if '"trial"' in line)
    return [json.dumps({"trial": one["trial"], "timing": one["timing"]}) for one in made]
