"""How a lab is laid out: its subnet, addresses, names and labels. Starts nothing and looks at nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from deploy.errors import ConfigError

LABEL = "io.sglang-spark.lab"
FOLDER_LABEL = f"{LABEL}.folder"
DEFAULT_SUBNET = "172.31.250.0/24"
MOST_NODES = 16
_REGISTRY_HOST = 2
_FIRST_NODE_HOST = 11


@dataclass(frozen=True)
class Layout:
    """One lab: the folder identifies it, the subnet names its parts. `disk`: size of each engine's own, or empty."""

    folder: Path
    subnet: IPv4Network
    nodes: int
    disk: str = ""

    @property
    def slug(self) -> str:
        return "sglang-spark-lab-" + str(self.subnet).replace(".", "-").replace("/", "-")

    @property
    def gateway(self) -> IPv4Address:
        return self.subnet[1]

    @property
    def registry_address(self) -> IPv4Address:
        return self.subnet[_REGISTRY_HOST]

    @property
    def registry(self) -> str:
        """HOST:PORT, as image references begin."""
        return f"{self.registry_address}:5000"

    @property
    def registry_name(self) -> str:
        return f"{self.slug}-registry"

    @property
    def base(self) -> str:
        return f"{self.registry}/lmsysorg/sglang:spark"

    @property
    def repository(self) -> str:
        return f"{self.registry}/lab/sglang-spark"

    def node_address(self, index: int) -> IPv4Address:
        return self.subnet[_FIRST_NODE_HOST + index]

    def node_name(self, index: int) -> str:
        return f"{self.slug}-spark{index}"

    @property
    def labels(self) -> tuple[str, ...]:
        """docker's `--label` arguments for whatever belongs to this lab."""
        return ("--label", f"{LABEL}={self.slug}", "--label", f"{FOLDER_LABEL}={self.folder}")

    @property
    def identity(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def cluster_file(self) -> Path:
        return self.folder / "cluster.yaml"

    @property
    def docker_config(self) -> Path:
        """The folder that DOCKER_CONFIG names for whoever pushes to the lab's registry."""
        return self.folder / "docker"


def lay_out(folder: Path, subnet: str, nodes: int, disk: str = "") -> Layout:
    """A checked layout; raises ConfigError for a subnet, a number of nodes or a size of disk that cannot be."""
    try:
        network = IPv4Network(subnet)
    except ValueError as error:
        raise ConfigError(f"--subnet {subnet}: {error}", f"give a network address like {DEFAULT_SUBNET}") from None
    if disk and not re.fullmatch(r"[1-9]\d*[MG]", disk):
        raise ConfigError(f"--disk {disk}: not a size", "write it like 2G; without it nodes share this machine's disk")
    if not 1 <= nodes <= MOST_NODES:
        raise ConfigError(f"--nodes {nodes}: a lab has 1 to {MOST_NODES} nodes", "the default is 4")
    if not network.is_private or network.prefixlen > 27 or network.prefixlen < 16:
        raise ConfigError(f"--subnet {subnet}: not a private network of /16 to /27", f"the default is {DEFAULT_SUBNET}")
    if ":" in str(folder.resolve()):
        raise ConfigError(f"--dir {folder}: Docker cannot mount a folder with a colon in its name", "choose another")
    return Layout(folder.resolve(), network, nodes, disk)


def conflict(subnet: IPv4Network, taken: Iterable[tuple[str, str]]) -> str | None:
    """The name of the first (name, network) that overlaps the subnet; what is not a network is passed over."""
    for name, text in taken:
        try:
            other = IPv4Network(text, strict=False)
        except ValueError:
            continue
        if other.prefixlen > 0 and other.overlaps(subnet):
            return f"{name} ({text})"
    return None


def route_networks(text: str) -> list[tuple[str, str]]:
    """(device, network) of each line of `ip -4 route show`."""
    rows = [line.split() for line in text.splitlines() if line]
    # A line may begin with a kind of route: "unreachable 10.9.0.0/16".
    networks = [next((word for word in row[:2] if word[0].isdigit()), row[0]) for row in rows]
    devices = [row[row.index("dev") + 1] if "dev" in row else "a route" for row in rows]
    return list(zip(devices, networks, strict=True))
