"""What a launch costs: logins, docker calls, and the time until the last rank is started, beside a bare script.

`benchmarks/launch.py [--nodes N] [--rounds R] [--json]`, with the project's own Python.

On the lab (real sshd, real Docker Engines, the image present) `up` and a bare Fabric script that makes the same docker
calls take turns; the time is from the start of the client's process to the StartedAt of the last container. Then 4 and
16 light hosts (real sshd, a counting stand-in for docker) show how the time grows. Needs root and a Docker Engine.
The image is one that its nodes have proven before. `docker_calls_per_node` are those until every rank is started and
its log followed; what `up` looks at once the server is ready is `docker_calls_once_ready`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.plain_hosts import Hosts, plain_hosts  # noqa: E402
from deploy.cluster.load import load  # noqa: E402
from deploy.cluster.spec import Cluster  # noqa: E402
from deploy.command import Command  # noqa: E402
from deploy.remote.execute import Fleet  # noqa: E402

CLI = (sys.executable, str(ROOT / "build-and-deploy.py"))
BARE = (sys.executable, str(ROOT / "benchmarks" / "bare_launch.py"))
SUBNET = "172.31.246.0/24"
COUNTER = "/usr/local/sbin/docker"
# What the pulse looks at each second, under a time limit of its own, is no call of the launch.
_COUNTING = """#!/bin/sh
case "$(cat /proc/$PPID/comm) $1" in "timeout ps"|"timeout inspect") ;; *) echo $* >> /run/docker-calls ;; esac
exec /usr/bin/docker "$@"
"""
_WRAP = f"cat > {COUNTER} <<'END'\n{_COUNTING}END\nchmod +x {COUNTER}"


def cli(*words: str, folder: Path | None = None) -> str:
    """Run one command of the product to its end; its stdout. `folder` is the lab whose registry it may use."""
    environ = os.environ | ({"DOCKER_CONFIG": str(folder / "docker")} if folder else {})
    done = subprocess.run((*CLI, *words), cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


class Lab:
    """The lab as the benchmark uses it: real nodes, with docker calls counted in front of the real client."""

    def __init__(self, nodes: int, folder: Path) -> None:
        cli("lab", "up", "--nodes", str(nodes), "--dir", str(folder), "--subnet", SUBNET)
        self.file = str(folder / "cluster.yaml")
        cli("build", "--push", "--nodes", self.file, folder=folder)
        self.cluster: Cluster = load(self.file).cluster
        self.fleet = Fleet(self.cluster)
        self.fleet.connect()
        self.each(_WRAP)
        cli("up", "--nodes", self.file, folder=folder)
        self.plan = self._plan()

    def _plan(self) -> dict[str, list[str]]:
        """The docker calls of a launch with the image present, by host."""
        cli("down", "--nodes", self.file)
        self.forget()
        plan = json.loads(cli("up", "--dry-run", "--json", "--nodes", self.file))
        facts = self.calls()
        hosts = {}
        for rank, node in enumerate(self.cluster.nodes):
            steps = [step["ranks"][str(rank)] for step in plan["steps"] if step["step"] in ("prepare", "start")]
            asked = [shlex.join(["docker", *shlex.split(call)]) for call in facts[rank]]
            hosts[node.host] = [*asked, *(shlex.join(argv) for argv in steps)]
        return hosts

    def each(self, script: str) -> dict[int, str]:
        command = Command(("sh", "-c", script))
        return {r: done.stdout for r, done in self.fleet.each(dict.fromkeys(self.fleet.ranks, command)).items()}

    def forget(self) -> None:
        self.each(": > /run/docker-calls")

    def calls(self) -> dict[int, list[str]]:
        return {rank: text.splitlines() for rank, text in self.each("cat /run/docker-calls").items()}

    def logins(self) -> dict[int, int]:
        return {r: int(n) for r, n in self.each("grep -c 'Accepted publickey' /var/log/sshd.log || true").items()}

    def last_start(self) -> float:
        """When the last container of the cluster was started, in seconds since the epoch."""
        text = self.each("/usr/bin/docker inspect --format '{{.State.StartedAt}}' $(/usr/bin/docker ps -q)")
        return max(seconds(line) for out in text.values() for line in out.split())

    def clear(self) -> None:
        self.each("/usr/bin/docker rm -f $(/usr/bin/docker ps -aq) > /dev/null 2>&1; true")


def seconds(stamp: str) -> float:
    """An RFC 3339 time with nanoseconds, in seconds since the epoch."""
    return datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00").timestamp()


def one_up(lab: Lab) -> dict[str, Any]:
    lab.forget()
    before, began = lab.logins(), time.time()
    cli("up", "--nodes", lab.file)
    took, calls, after = lab.last_start() - began, lab.calls(), lab.logins()
    cli("down", "--nodes", lab.file)
    logins = max(after[rank] - before[rank] for rank in after)
    launches = [launch_calls(one) for one in calls.values()]
    after_ready = max(len(one) - n for one, n in zip(calls.values(), launches, strict=True))
    return {"seconds": took, "calls": max(launches), "after_ready": after_ready, "logins": logins}


def launch_calls(calls: list[str]) -> int:
    """How many of a node's docker calls are the launch; it ends with the one that follows the rank's log."""
    return 1 + next(n for n, call in enumerate(calls) if call.startswith("logs --follow"))


def one_bare(lab: Lab, folder: Path) -> float:
    spec = {"identity": lab.cluster.ssh.identity, "known_hosts": lab.cluster.ssh.known_hosts, "hosts": lab.plan}
    file = folder / "bare.json"
    file.write_text(json.dumps(spec))
    began = time.time()
    subprocess.run((*BARE, str(file)), check=True, capture_output=True)
    took = lab.last_start() - began
    lab.clear()
    return took


def on_the_lab(nodes: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Interleaved rounds of `up` and the bare script, on a lab that goes afterwards."""
    try:
        lab = Lab(nodes, folder / "lab")
        pairs = [(one_up(lab), one_bare(lab, folder)) for _ in range(rounds)]
        lab.fleet.close()
    finally:
        cli("lab", "down", "--dir", str(folder / "lab"))
    ours, bare = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    mine = [one["seconds"] for one in ours]
    return {
        "nodes": nodes,
        "logins_per_node": max(one["logins"] for one in ours),
        "docker_calls_per_node": max(one["calls"] for one in ours),
        "docker_calls_once_ready": max(one["after_ready"] for one in ours),
        "up_s": spread(mine),
        "bare_s": spread(bare),
        "ratio_to_bare": statistics.median(mine) / statistics.median(bare),
    }


def one_plain(hosts: Hosts, count: int) -> float:
    """Seconds from the client's start until `docker run` was called on the last of `count` light hosts."""
    used = hosts.hosts[:count]
    for host in used:
        host.forget()
    began = time.time()
    argv = (*hosts.inside, *CLI, "up", "--nodes", str(hosts.cluster_yaml(count)))
    client = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE)
    files = [host.state / "started" for host in used]
    while not all(file.exists() and file.read_text().strip() for file in files):
        if client.poll() is not None or time.time() - began > 60:
            raise RuntimeError((client.communicate()[1] or b"no start in 60 s").decode())
        time.sleep(0.02)
    took = max(float(file.read_text()) for file in files) - began
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=60)
    return took


def on_light_hosts(rounds: int, folder: Path) -> dict[str, Any]:
    """4 and 16 hosts in turns."""
    with plain_hosts(16, folder) as hosts:
        pairs = [(one_plain(hosts, 4), one_plain(hosts, 16)) for _ in range(rounds)]
    four, sixteen = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "wall_4_s": statistics.median(four),
        "wall_16_s": statistics.median(sixteen),
        "wall_4_spread_s": spread(four),
        "wall_16_spread_s": spread(sixteen),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def main() -> None:
    """Print the figures, as a table or as JSON."""
    parser = argparse.ArgumentParser(description="What a launch costs")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            found = on_light_hosts(args.rounds, Path(one)) | on_the_lab(args.nodes, args.rounds, Path(two))
    except RuntimeError as error:
        sys.exit(str(error))
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:24}", value if not isinstance(value, float) else f"{value:.2f}")


if __name__ == "__main__":
    main()
