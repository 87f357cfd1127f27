"""A lab of the campaign's own on which one gang lives, with everything that is done to it from outside."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

from benchmarks.campaign import sight
from benchmarks.campaign.client import Client, until
from benchmarks.campaign.observer import Observer
from benchmarks.campaign.sight import Node
from deploy.lab.faults import Strength, cause
from deploy.lab.host import Host
from deploy.lab.machine import listing, read_listing

NAME = "lab"
PORT, RENDEZVOUS = 30000, 50000
HOLD = "standin-hold"
HANG_SECONDS = 12.0
_DISK = "3G"
_STATE = ("{{.Id}}", "{{.State.Pid}}")
# Health and load are asked every 5 s: less patience than two of their answers would be taken for a hang.
WATCH = {
    "hang_seconds": HANG_SECONDS,
    "wedge_seconds": HANG_SECONDS,
    "text_seconds": 2,
    "restarts": 100,
    "loading_minutes": 3,
    "memory_floor_gib": 0,
}


class LaneError(RuntimeError):
    """The lab itself could not be brought to where a run begins."""


def subnets(network: str, count: int) -> list[str]:
    """The first `count` /27 of a network: a lab of up to 16 nodes each."""
    return [str(one) for _, one in zip(range(count), IPv4Network(network).subnets(new_prefix=27), strict=False)]


class Lane:
    """Nodes, registry, and the cluster.yaml of one gang; `close` removes them."""

    def __init__(self, folder: Path, subnet: str, ranks: int) -> None:
        self.folder, self.subnet, self.count = folder, subnet, ranks
        self.host = Host()
        self.nodes: dict[int, Node] = {}
        self.observer: Observer | None = None

    def open(self) -> None:
        """Start the lab, make and push its image, and let every node have it."""
        words = ("lab", "up", "--nodes", str(self.count), "--disk", _DISK, "--subnet", self.subnet)
        self.good(*words, "--dir", str(self.folder))
        self.good("build", "--push", "--nodes", str(self.folder / "cluster.yaml"))
        self.find()
        self.observer = Observer(lambda: self.nodes)
        self.good("up", "--nodes", self.cluster())
        self.good("down", "--grace", "0", "--nodes", self.cluster())

    def close(self) -> None:
        if self.observer:
            self.observer.close()
        Client(("lab", "down", "--dir", str(self.folder)), self.environ).wait(120)

    @property
    def environ(self) -> dict[str, str]:
        more = {"DOCKER_CONFIG": str(self.folder / "docker"), "XDG_STATE_HOME": str(self.state)}
        return {**os.environ, **more, "PYTHONUNBUFFERED": "1"}

    @property
    def state(self) -> Path:
        """Where the tool keeps its incidents."""
        return self.folder.parent / f"{self.folder.name}-state"

    @property
    def seen(self) -> Observer:
        if self.observer is None:
            raise LaneError("the lane is not open")
        return self.observer

    def cluster(self, **watch: Any) -> str:
        """The gang's cluster.yaml, with other settings of the watch where given."""
        text = yaml.safe_load((self.folder / "cluster.yaml").read_text())
        hold = f"/var/cache/sglang-spark/{HOLD}"
        text["environment"] = {"STANDIN_LOAD_SECONDS": "1", "STANDIN_HEALTH_TIMEOUT": "3", "STANDIN_HOLD": hold}
        text["watch"] = {**WATCH, **watch}
        file = self.folder.parent / f"{self.folder.name}.yaml"
        file.write_text(yaml.safe_dump(text))
        return str(file)

    def client(self, *words: str) -> Client:
        return Client(words, self.environ)

    def good(self, *words: str, timeout: float = 300) -> Client:
        """A command that must succeed. Raises LaneError with what it said."""
        one = self.client(*words)
        code = one.wait(timeout)
        if code != 0:
            one.end()
            raise LaneError(f"`{' '.join(words)}` ended with {code}: {one.text[-2000:]}")
        return one

    def find(self) -> None:
        """The nodes as they are now: one that was off has new processes."""
        found = [one for one in read_listing(self.host.run(listing(str(self.folder.resolve())))) if one.role == "node"]
        shown = self.host.run(("docker", "inspect", "--format", " ".join(_STATE), *(one.name for one in found)))
        rows = [line.split() for line in shown.splitlines()]
        self.nodes = {
            index: Node(one.name, one.address, row[0], int(row[1]))
            for index, (one, row) in enumerate(zip(found, rows, strict=True))
        }

    def fault(self, kind: str, index: int = -1, how: Strength = Strength()) -> None:  # noqa: B008 - frozen
        cause(self.host, self.folder, kind, index, how)

    def inside(self, index: int, script: str) -> str:
        """Run a script on a node, past its sshd."""
        return self.host.attempt(("docker", "exec", self.nodes[index].name, "sh", "-c", script)).out

    def hold(self, phase: str, nodes: tuple[int, ...]) -> None:
        """Let the ranks of these nodes wait at a phase of the stand-in."""
        for index in nodes:
            file = self._hold_file(index)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(phase)

    def release(self) -> None:
        for index in self.nodes:
            self._hold_file(index).unlink(missing_ok=True)

    def _hold_file(self, index: int) -> Path:
        return self.nodes[index].root / "root/.cache/sglang-spark" / HOLD

    def drop_image(self, index: int) -> None:
        self.inside(index, "docker rmi -f $(docker images -q) > /dev/null 2>&1; true")

    def healthy(self, index: int, timeout: float = 5.0) -> bool:
        """Whether a rank's health port says that it is well, asked past the tool."""
        connection = http.client.HTTPConnection(self.nodes[index].address, PORT, timeout=timeout)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ask_for_much(self) -> None:
        """A user's request that runs for long, whose answer nobody waits for."""
        body = json.dumps({"text": "Count.", "sampling_params": {"max_new_tokens": 4000, "ignore_eos": True}})
        connection = http.client.HTTPConnection(self.nodes[0].address, PORT, timeout=60)
        try:
            connection.request("POST", "/generate", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def left(self) -> list[str]:
        """What of ranks, logins and locks is on the nodes, by node."""
        found = []
        for index, node in self.nodes.items():
            what = [f"container {name[:12]}" for name in sight.containers(node)] + sight.strangers(node)
            what += ["a held lock"] if sight.locked(node, NAME) else []
            found += [f"node {index}: {one}" for one in what]
        return found

    def ports(self) -> list[str]:
        """Ports of ranks that somebody still listens on."""
        return [f"node {index}: {port}" for index, node in self.nodes.items()
                for port in sight.listening(node, {PORT, RENDEZVOUS})]  # fmt: skip

    def clean(self) -> None:
        """Take away by force what an earlier run left, so that runs do not judge each other. Raises LaneError."""
        self.release()
        if until(lambda: not self.left(), 3):
            return
        script = "docker rm -f $(docker ps -aq) > /dev/null 2>&1; pkill -KILL -P $(cat /run/sshd.pid); true"
        self.host.together([partial(self.inside, index, script) for index in self.nodes])
        if not until(lambda: not self.left(), 10):
            raise LaneError(f"the lab cannot be cleaned: {'; '.join(self.left())}")


def machine() -> Mapping[str, Any]:
    """This machine, in words for a report."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    kernel = subprocess.run(("uname", "-sr"), capture_output=True, text=True, check=True).stdout.strip()
    return {"cores": os.cpu_count(), "memory_gib": round(int(memory.split()[1]) / 2**20, 1), "kernel": kernel}
