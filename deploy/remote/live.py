"""One round trip a node: what its running rank said of kernel tables and its network, and which NCCL it has mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.command import Command
from deploy.launch import kernel_log, network_log
from deploy.launch.kernel_log import TableUse
from deploy.launch.nccl import Library
from deploy.launch.network_log import UNSAID, Network
from deploy.script import script

SCRIPT = Path(__file__).with_name("live.sh")


@dataclass(frozen=True)
class LiveFacts:
    """What a running rank was seen to use; `nccl` is None where nobody could look into its container."""

    tables: tuple[TableUse, ...]
    nccl: tuple[Library, ...] | None
    network: Network = UNSAID


def command(cluster: str) -> Command:
    """The command that looks at the running ranks of a cluster on a node."""
    return Command(("sh", "-c", script(SCRIPT), "sh", cluster))


def read(text: str) -> LiveFacts:
    """What the script printed; lines of other scripts are passed over."""
    lines = [line.partition(" ") for line in text.splitlines()]
    said = [value for key, _, value in lines if key == "said"]
    libraries = [value.partition(" ") for key, _, value in lines if key == "nccl"]
    # The first line, without a path, says that the look was had.
    found = tuple(Library(path, version) for path, _, version in libraries if path) if libraries else None
    return LiveFacts(kernel_log.read(said), found, network_log.read(said))
