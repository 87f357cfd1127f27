"""Who can reach the API of rank 0, and does it ask for a key? The rule is `launch.exposure`'s."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.launch.doctor.check import Check, doubtful, good
from deploy.launch.doctor.seen import Case
from deploy.launch.exposure import ID, exposure


def api_open(case: Case) -> Iterator[Check]:
    """Only rank 0 serves the API."""
    if 0 not in case.nodes:
        return
    found = exposure(case.cluster, case.nodes[0].facts.interfaces)
    if found:
        yield doubtful(ID, 0, found.seen, "a key, or only loopback or the fabric")
    elif case.cluster.api_key:
        yield good(ID, 0, f"asks for the key in {case.cluster.api_key}")
    else:
        yield good(ID, 0, "no key, and nobody beyond loopback and fabric can reach it")
