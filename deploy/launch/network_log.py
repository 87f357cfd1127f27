"""Which network NCCL uses, from the lines that it logs itself: the proof of RDMA. Pure; reads no log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from deploy.launch.finding import on_ranks, shared

MARK = "NCCL INFO"
_KNOWN = re.compile(r"NCCL INFO NET/(IB|Socket) : Using (.*)")
_DEVICE = re.compile(r"\[\d+\](\S+)")
_CHOSEN = re.compile(r"NCCL INFO (?:Using network|Assigned NET plugin) (\S+)|via NET/([A-Za-z]+)")
CURE = "see `doctor`: the RDMA devices, their ports, and what NCCL_IB_HCA names; sockets are many times slower"


@dataclass(frozen=True)
class Network:
    """What NCCL said: the networks it chose (IB, Socket, or a plugin's name), and the devices of IB and Socket."""

    chosen: tuple[str, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """sockets where any communicator uses them, rdma, the name of a plugin, or empty where nothing was said."""
        if "Socket" in self.chosen:
            return "sockets"
        return "rdma" if "IB" in self.chosen else self.chosen[0] if self.chosen else ""

    @property
    def names(self) -> str:
        """The devices of the network in use."""
        of = "Socket" if self.kind == "sockets" else "IB"
        return " ".join(devices for network, devices in self.devices if network == of)


UNSAID = Network()


def after(seen: Network, line: str) -> Network:
    """What is known after one more line; lines of others are passed over."""
    if MARK not in line:
        return seen
    known, chosen = _KNOWN.search(line), _CHOSEN.search(line)
    if known:
        pair = (known[1], " ".join(_DEVICE.findall(known[2])))
        return seen if pair in seen.devices else replace(seen, devices=(*seen.devices, pair))
    name = (chosen[1] or chosen[2]) if chosen else ""
    return replace(seen, chosen=(*seen.chosen, name)) if name and name not in seen.chosen else seen


def read(lines: Iterable[str]) -> Network:
    """What a rank's lines say."""
    return reduce(after, lines, UNSAID)


@dataclass(frozen=True)
class NetworkFinding:
    """The network that some ranks share."""

    network: Network
    ranks: tuple[int, ...]
    of: int

    @property
    def level(self) -> str:
        return "warning" if self.network.kind == "sockets" else "info"

    @property
    def text(self) -> str:
        """One line, without the cure."""
        head, names = f"network of {on_ranks(self.ranks, self.of)}: ", self.network.names
        kinds = {"": "not known, since NCCL says nothing of it (NCCL_DEBUG=INFO)", "rdma": "RDMA, as NCCL says itself"}
        kinds["sockets"] = "TCP SOCKETS AND NOT RDMA, as NCCL says itself"
        return head + kinds.get(self.network.kind, self.network.kind) + (f": {names}" if names else "")

    @property
    def cure(self) -> str:
        return CURE if self.level == "warning" else ""


def findings(said: Mapping[int, Network]) -> tuple[NetworkFinding, ...]:
    """Each distinct network once. A single rank needs none."""
    if len(said) < 2:
        return ()
    pairs = shared({rank: (network,) for rank, network in said.items()})
    return tuple(NetworkFinding(network, ranks, len(said)) for network, ranks in pairs)
