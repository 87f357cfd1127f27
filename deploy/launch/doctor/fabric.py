"""Will the ranks meet over RDMA: devices, ports, GIDs, addresses, MTU, and peers that answer full-size frames?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.launch.doctor.check import Check, agree, bad, doubtful, good, skipped
from deploy.launch.doctor.seen import Case, Seen
from deploy.launch.node import Rdma

ALONE = "one node needs no fabric"
SPEED = 200.0
"""Gb/s of a Spark's port."""


def address(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        wanted, name = case.cluster.nodes[rank].fabric, case.interface(rank)
        have = ", ".join(f"{one} {found}" for one, found in node.facts.interfaces) or "none"
        if case.single:
            yield skipped("fabric.address", rank, ALONE)
        elif name:
            yield good("fabric.address", rank, f"{name} has it")
        else:
            seen = f"has no interface with the fabric address {wanted} (it has {have})"
            yield bad("fabric.address", rank, seen, wanted)


def not_management(case: Case) -> Iterator[Check]:
    name = "fabric.not-management"
    for rank, node in case.nodes.items():
        interface = case.interface(rank)
        if case.single or not interface:
            yield skipped(name, rank, ALONE if case.single else "no interface has the fabric address")
        elif _ports(case, rank):
            yield good(name, rank, f"{interface} is an RDMA port's")
        elif not _serves_management(node, interface):
            yield good(name, rank, f"{interface} is not the management interface")
        else:
            seen = f"{interface} is no RDMA port, and has the default route or the SSH connection"
            yield bad(name, rank, seen, "the interface of an RDMA port")


def _serves_management(node: Seen, interface: str) -> bool:
    return interface in (node.default_route, node.facts.interface(node.ssh_address))


def mtu(case: Case) -> Iterator[Check]:
    known = {}
    for rank, node in case.nodes.items():
        size = node.mtu.get(case.interface(rank), 0)
        if case.single or not size:
            yield skipped("fabric.mtu", rank, ALONE if case.single else "no interface has the fabric address")
        else:
            known[rank] = str(size)
    yield from agree("fabric.mtu", known, "MTU")


def reach(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        size = node.mtu.get(case.interface(rank), 0)
        if case.single or not size:
            yield skipped("fabric.reach", rank, ALONE if case.single else "no interface has the fabric address")
        elif node.reach is None:
            yield skipped("fabric.reach", rank, "no `ping` there (package iputils-ping)")
        else:
            yield _reached(rank, node.reach, size)


def _reached(rank: int, answers: Mapping[str, str], size: int) -> Check:
    failed = {peer: why for peer, why in answers.items() if why}
    if not failed:
        return good("fabric.reach", rank, f"{len(answers)} peers answer frames of {size} bytes, unfragmented")
    told = "; ".join(f"{peer}: {why}" for peer, why in sorted(failed.items()))
    return bad("fabric.reach", rank, told, f"answers to frames of {size} bytes, unfragmented")


def device(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        ports, have = _ports(case, rank), ", ".join(sorted({one.device for one in node.facts.rdma})) or "none"
        if case.single:
            yield skipped("rdma.device", rank, ALONE)
        elif not ports:
            where = case.interface(rank) or "the fabric address"
            yield bad("rdma.device", rank, f"no RDMA device belongs to {where} (devices: {have})", "a device")
        elif not any("uverbs" in one for one in node.facts.rdma_devices):
            yield bad("rdma.device", rank, "no /dev/infiniband/uverbs*", "device files for the container")
        else:
            yield good("rdma.device", rank, f"{_named(ports)} on {case.interface(rank)}")


def port(case: Case) -> Iterator[Check]:
    rates = {rank: _rate(_ports(case, rank)) for rank in case.nodes}
    most = max(rates.values(), default=0.0)
    for rank, rate in rates.items():
        ports = _ports(case, rank)
        down = [one for one in ports if one.state != "ACTIVE"]
        if not ports:
            yield skipped("rdma.port", rank, ALONE if case.single else "no RDMA device belongs to the fabric address")
        elif down:
            yield bad("rdma.port", rank, f"{_named(down)} is {down[0].state or 'in an unknown state'}", "ACTIVE")
        elif rate < most:
            yield bad("rdma.port", rank, f"ACTIVE at {rate:g} Gb/s", f"{most:g} Gb/s, as on other nodes")
        elif rate < SPEED:
            yield doubtful("rdma.port", rank, f"ACTIVE at {rate:g} Gb/s", f"{SPEED:g} Gb/s")
        else:
            yield good("rdma.port", rank, f"ACTIVE at {rate:g} Gb/s")


def gid(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        wanted = case.cluster.nodes[rank].fabric
        ports = [one for one in node.facts.rdma if one.address == wanted]
        if case.single or not _ports(case, rank):
            why = ALONE if case.single else "no RDMA device belongs to the fabric address"
            yield skipped("rdma.gid", rank, why)
        elif ports:
            yield good("rdma.gid", rank, f"RoCE v2 GID {ports[0].gid_index} of {_named(ports)}")
        else:
            yield bad("rdma.gid", rank, f"no RoCE v2 GID carries {wanted}", wanted)


def hca(case: Case) -> Iterator[Check]:
    """NCCL says nothing of a name that matches no device: it takes TCP."""
    asked = case.cluster.environment.get("NCCL_IB_HCA")
    for rank, node in case.nodes.items():
        usable = node.facts.rdma_for(case.cluster.nodes[rank].fabric)
        if case.single:
            yield skipped("nccl.hca", rank, ALONE)
        elif asked is None:
            seen = f"={','.join(f'{one.device}:{one.port}' for one in usable)}"
            yield good("nccl.hca", rank, seen) if usable else skipped("nccl.hca", rank, "no RDMA port to name")
        else:
            yield _asked_hca(rank, asked, node.facts.rdma, usable)


def _asked_hca(rank: int, asked: str, ports: tuple[Rdma, ...], usable: tuple[Rdma, ...]) -> Check:
    matched = [one for one in ports if matches(asked, one)]
    have = ", ".join(f"{one.device}:{one.port}" for one in ports) or "none"
    if not matched:
        return bad("nccl.hca", rank, f"NCCL_IB_HCA={asked} matches no device (devices: {have})", "a device")
    if not set(matched) & set(usable):
        seen = f"NCCL_IB_HCA={asked} matches {_named(matched)}, none of which carries the fabric address"
        return doubtful("nccl.hca", rank, seen, _named(usable) or "an active port with the fabric address")
    return good("nccl.hca", rank, f"NCCL_IB_HCA={asked} matches {_named(matched)}")


def matches(asked: str, one: Rdma) -> bool:
    """As NCCL reads it: `^` excludes, `=` asks for the whole name, otherwise a name's beginning; `:PORT` may follow."""
    exclude = asked.startswith("^")
    plain = asked.removeprefix("^")
    exact = plain.startswith("=")
    words = [word for word in plain.removeprefix("=").split(",") if word]
    return exclude != any(_word_matches(word, one, exact=exact) for word in words)


def _word_matches(word: str, one: Rdma, *, exact: bool) -> bool:
    name, _, number = word.partition(":")
    named = one.device == name if exact else one.device.startswith(name)
    return named and (not number or number == str(one.port))


def _ports(case: Case, rank: int) -> list[Rdma]:
    """The RDMA ports that belong to the node's fabric address, active or not."""
    wanted, name = case.cluster.nodes[rank].fabric, case.interface(rank)
    ports = case.nodes[rank].facts.rdma
    return [] if case.single else [one for one in ports if one.address == wanted or (name and one.netdev == name)]


def _named(ports: list[Rdma] | tuple[Rdma, ...]) -> str:
    return ", ".join(f"{one.device}:{one.port}" for one in ports)


def _rate(ports: list[Rdma]) -> float:
    """Gb/s of the slowest port; the kernel writes `200 Gb/sec (4X HDR)`."""
    words = [one.rate.split()[:1] for one in ports]
    return min((float(word[0]) for word in words if word and word[0].replace(".", "").isdigit()), default=0.0)
