"""Ray's daemons on one node: which they are, started in front, and ended by their id. Speaks to none of them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass

from deploy import group
from deploy.errors import TuneError

OBJECTS = 80 << 20
"""Bytes of Ray's object store, near the least that it takes: what goes through it is small."""
WORKERS = 40
"""Ports for Ray's worker processes, of which a node has one a GPU."""
START_SECONDS = 90.0

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # One that is busy may take 5 s for an answer. A node whose connections closed is known to be gone at once, one that
    # was cut off after some 30 s.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    # It kills what takes memory, and on a GPU that shares the machine's memory that would be the measuring.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_enable_metrics_collection": "0",
}


@dataclass(frozen=True)
class Place:
    """Where a node's daemons listen: its own address, and ports from `ports` on. `name` is what others call it."""

    address: str
    name: str
    ports: int
    gpus: int


def argv(place: Place, head: str = "") -> tuple[str, ...]:
    """`ray start` for the head, or for a node that joins the one at `head` (ADDRESS:PORT)."""
    names = ("node-manager", "object-manager", "runtime-env-agent", "dashboard-agent-grpc")
    ports = [f"--{name}-port={place.ports + at}" for at, name in enumerate(names, start=1)]
    ports += [f"--dashboard-agent-listen-port={place.ports + 5}", f"--metrics-export-port={place.ports + 6}"]
    first = place.ports + 10
    workers = (f"--min-worker-port={first}", f"--max-worker-port={first + WORKERS - 1}")
    role = (f"--address={head}",) if head else _head(place)
    # Actors ask for a GPU and for no CPU; with CPUs, Ray would start a process for each.
    rooms = ("--num-cpus=0", f"--num-gpus={place.gpus}", f"--object-store-memory={OBJECTS}")
    start = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block")
    without = ("--disable-usage-stats", "--include-log-monitor=false")
    named = (f"--node-ip-address={place.address}", f"--node-name={place.name}")
    return (*start, *without, *named, *role, *rooms, *ports, *workers)


def _head(place: Place) -> tuple[str, ...]:
    return "--head", f"--port={place.ports}", "--include-dashboard=false", "--no-monitor"


def environment(token: str, path: str) -> dict[str, str]:
    """Variables of whatever speaks to Ray; `path` is where its processes find this package."""
    before = os.environ.get("PYTHONPATH")
    return {**ENVIRONMENT, "RAY_AUTH_TOKEN": token, "PYTHONPATH": os.pathsep.join(filter(None, (path, before)))}


class Daemons:
    """`ray start` in front: it ends when one of Ray's daemons does, and they all end with it."""

    def __init__(self, command: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (for as long as the daemons)
        told = {**os.environ, **variables}
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdin=null, stdout=self._said, stderr=self._said, env=told, start_new_session=True
        )

    def ended(self) -> str:
        """Its last words once it has ended, else an empty string."""
        if not group.over(self._process):
            return ""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f"Ray ended with {group.end(self._process)}: " + " | ".join(lines[-4:])

    def wait(self) -> str:
        """Until it has ended; its last words."""
        while not (said := self.ended()):
            time.sleep(0.1)
        return said

    def kill(self) -> None:
        """All of them, by their process group; Ray's worker processes end when their raylet is gone."""
        group.end(self._process)


def wait_for(address: str, port: int, daemons: Daemons | None = None) -> None:
    """Until somebody listens there. Raises TuneError after START_SECONDS, or where the daemons ended before."""
    until = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 2):
            return
        why = daemons.ended() if daemons else ""
        if why or time.monotonic() > until:
            hint = "see that its port is free and the fabric's address its own"
            raise TuneError(f"no Ray head at {address}:{port}: {why or f'no answer in {START_SECONDS:g} s'}", hint)
        time.sleep(0.2)
