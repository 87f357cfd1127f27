"""Who can reach the API of rank 0, and does it ask for a key?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from deploy.launch.doctor.check import Check, doubtful, good
from deploy.launch.doctor.seen import Case
from deploy.launch.sglang import server_flags, server_port


def api_open(case: Case) -> Iterator[Check]:
    """Only rank 0 serves the API."""
    if 0 not in case.nodes:
        return
    host, where = str(server_flags(case.cluster).get("host", "127.0.0.1")), f"port {server_port(case.cluster)}"
    bound = _bound(case, host)
    public = [one for one in bound if ipaddress.ip_address(one).is_global]
    if case.cluster.api_key:
        yield good("api.open", 0, f"asks for the key of {case.cluster.api_key}")
    elif public:
        seen = f"no key, and {where} is bound to the public {', '.join(public)}"
        yield doubtful("api.open", 0, seen, "a key, or private addresses alone")
    else:
        yield good("api.open", 0, f"no key; {where} is open to whoever reaches {', '.join(bound) or host}")


def _bound(case: Case, host: str) -> list[str]:
    """The IPv4 addresses at which the API answers."""
    addresses = [found for _, found in case.nodes[0].facts.interfaces if not found.startswith("127.")]
    return addresses if host in ("0.0.0.0", "::", "") else [found for found in addresses if found == host]
