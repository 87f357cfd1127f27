"""Who may reach the API: where it listens without a key, and whether a key is asked for. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.cluster.spec import Cluster
from deploy.launch.sglang import server_flags, server_port

ID = "api.open"
EVERY = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Exposure:
    """An API without a key, with the addresses of rank 0 beside loopback and fabric on which it can be reached."""

    port: int
    addresses: tuple[str, ...]

    @property
    def seen(self) -> str:
        where = ", ".join(self.addresses) or "every address of its node"
        return f"no key, and whoever reaches port {self.port} on {where} is served"


def exposure(cluster: Cluster, interfaces: Sequence[tuple[str, str]]) -> Exposure | None:
    """The finding for a cluster whose rank 0 has these (interface, IPv4 address) pairs; None where all is well."""
    host, port = str(server_flags(cluster).get("host", "127.0.0.1")), server_port(cluster)
    if cluster.api_key or _inner(host, cluster.head.fabric):
        return None
    if host not in EVERY:
        return Exposure(port, (host,))
    outer = tuple(f"{address} ({name})" for name, address in interfaces if not _inner(address, cluster.head.fabric))
    # What the node did not tell, or IPv6, may be reached as well.
    return Exposure(port, outer) if outer or not interfaces or host == "::" else None


def _inner(host: str, fabric: str) -> bool:
    """Whether nothing but this node, or the fabric, can reach an address."""
    try:
        return host == fabric or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def judge_lock(name: str, with_key: int, without: int) -> str:
    """What is wrong with an API that answered with these HTTP statuses, with the key in variable `name` and without."""
    if with_key == 401:
        return f"rank 0 does not take the key in {name}"
    if with_key != 200:
        return f"rank 0 answered {with_key} to a request with the key in {name}"
    return "" if without == 401 else f"rank 0 asks for no key: it answered {without} to a request without one"
