"""From a cluster and an image to the commands of a tuning run on its nodes. Pure: no host, clock or file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.container import LABEL, NEEDED, NO_RIGHTS
from deploy.launch.environment import NATIVE_FP8
from deploy.tune.problem import Problem

TUNE = f"{LABEL}.tune"
"""The label of a tuning run's containers, with the cluster's name; they have no label of a rank's."""
PORTS = 26400
"""The first of the ports that Ray listens on: no usual one of SGLang's, and below those that a kernel gives away."""
TUNING_PATH = "/opt/sglang-spark-tune"
WORKDIR = "/opt/sglang-spark"
FOREVER = float("inf")
FACTS_TIMEOUT = 330.0
SHARED_MEMORY = "256m"
"""For Ray's object store."""

_REMOVE = """
ids=$(docker ps --all --quiet --filter "label=$1=$2") || exit 1
[ -z "$ids" ] || docker rm --force --volumes $ids > /dev/null 2>&1
left=$(docker ps --all --quiet --filter "label=$1=$2") || exit 1
[ -z "$left" ] || { sleep 2; left=$(docker ps --all --quiet --filter "label=$1=$2"); }
[ -z "$left" ] || { echo "alive $left"; exit 1; }
"""
# The lock's fence is let go before the container runs, which may be for hours.
_REPLACE = f'{_REMOVE}shift 2\nexec 8>&-\nexec "$@"\n'


@dataclass(frozen=True)
class Launch:
    """What all containers of a run have in common. `images` is NAME@sha256:… by rank, `token` a secret of this run that
    lets nobody else give Ray orders."""

    cluster: Cluster
    images: Mapping[int, str]
    problem: Problem
    token: str = field(repr=False)

    def facts(self, rank: int) -> Command:
        """Prints what a node measures with."""
        return self._run(rank, "facts", json.dumps(self.problem.as_json()), timeout=FACTS_TIMEOUT)

    def head(self, rank: int, gpus: int, arch: int, job: Mapping[str, object]) -> Command:
        """Ray's head on a node; `job` is the work, as node.py reads it."""
        told = json.dumps({**job, "token": self.token}, separators=(",", ":")) + "\n"
        return self._run(rank, "head", *self._place(rank, gpus), "--arch", str(arch), told=told)

    def join(self, rank: int, gpus: int, head: int) -> Command:
        """A further node's GPUs for the head."""
        where = f"{self.cluster.nodes[head].fabric}:{PORTS}"
        told = json.dumps({"token": self.token}) + "\n"
        return self._run(rank, "join", *self._place(rank, gpus), "--head", where, told=told)

    def _place(self, rank: int, gpus: int) -> tuple[str, ...]:
        node = self.cluster.nodes[rank]
        ports = ("--ports", str(PORTS), "--gpus", str(gpus))
        return "--address", node.fabric, "--name", node.host, *ports

    def _run(self, rank: int, role: str, *argv: str, told: str = "", timeout: float = FOREVER) -> Command:
        """A container in the place of any that a node has of a run, and its input kept open as its lifeline."""
        named = ("--name", container_name(self.cluster.name, rank), "--label", f"{TUNE}={self.cluster.name}")
        options = ["--rm", "--init", "--interactive", *named, "--network", "host", "--gpus", "all"]
        options += ["--shm-size", SHARED_MEMORY, "--workdir", WORKDIR, "--entrypoint", "python3", *NO_RIGHTS]
        options += [word for name in NEEDED for word in ("--cap-add", name)]
        options += [word for name, value in self._environment().items() for word in ("--env", f"{name}={value}")]
        if self.problem.recorded:
            options += ["--volume", f"{self.problem.recorded}:{self.problem.recorded}:ro"]
        docker = ("docker", "run", *options, self.images[rank], "-m", "deploy.tune.node", role, *argv)
        script = ("sh", "-c", _REPLACE, "sh", TUNE, self.cluster.name)
        return Command((*script, *docker), stdin=told, secret=bool(told), held=True, loose=True, timeout=timeout)

    def _environment(self) -> dict[str, str]:
        """What a rank's kernels are compiled with, and the way to Ray."""
        native = NATIVE_FP8 if self.cluster.kernels.native_fp8 else {}
        return {**native, **self.cluster.environment, "PYTHONPATH": TUNING_PATH}


def container_name(cluster: str, rank: int) -> str:
    return f"sglang-spark-{cluster}-tune-{rank}"


def removal(cluster: str) -> Command:
    """Removes a run's containers from a node, running or not. Safe to repeat."""
    return Command(("sh", "-c", _REMOVE, "sh", TUNE, cluster), timeout=60)


@dataclass
class Tries:
    """How often something was begun again without anything that came of it."""

    most: int = 3
    _counts: dict[object, int] = field(default_factory=dict)

    def again(self, what: object) -> bool:
        """Whether it may be begun once more; counts it."""
        self._counts[what] = self._counts.get(what, 0) + 1
        return self._counts[what] <= self.most

    def fruitful(self, what: object) -> None:
        """Something came of it: it counts from the beginning."""
        self._counts.pop(what, None)
