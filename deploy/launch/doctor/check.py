"""One check and its outcome: ids, how each is mended, what may be allowed. Decides no check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

PASS, FAIL, WARN, SKIP = "pass", "fail", "warn", "skip"
OUTCOMES = (PASS, SKIP, WARN, FAIL)

MENDS = {
    "ssh.login": "check the node's power, its address, its SSH service, and ssh.user and ssh.identity",
    "ssh.host-key": "log in once with `ssh` and compare the key; if it changed, find out why first",
    "clock.skew": "turn on NTP there: `timedatectl set-ntp true`",
    "node.architecture": "set image.platform to that of the nodes; all nodes need the same",
    "docker.engine": "install and start Docker there, and put the SSH user into the group docker",
    "docker.gpu-runtime": "install nvidia-container-toolkit and run `nvidia-ctk runtime configure --runtime=docker`",
    "gpu.model": "check `nvidia-smi` there; all ranks need the same GPU, one for each rank of a node",
    "gpu.driver": "install the same driver on all nodes",
    "gpu.foreign-memory": "end these processes, or wait for them",
    "rdma.device": "check the cable and `ls /dev/infiniband /sys/class/infiniband`; without RDMA NCCL takes TCP",
    "rdma.port": "check cable and link: `ibstat` or `cat /sys/class/infiniband/*/ports/*/state`",
    "rdma.gid": "give the RDMA port's interface the fabric address; its RoCE v2 GID comes with it",
    "fabric.address": "set nodes[].fabric to the node's address on the fabric, or give it that address",
    "fabric.not-management": "set nodes[].fabric to the address of the RDMA port, not of the management interface",
    "fabric.mtu": "set one MTU on all fabric interfaces: `ip link set IFACE mtu N`, and in netplan to keep it",
    "fabric.reach": "check cable, switch (its MTU too) and firewall between these fabric addresses",
    "nccl.hca": "leave NCCL_IB_HCA out: `up` resolves it on each node; or name a device that is there",
    "memory.available": "find what holds the memory with `ps aux --sort=-rss`; a reboot gives back what nobody holds",
    "memory.killed-container": "reboot the node: a killed GPU process left its memory behind",
    "disk.image": "make room for the image: `docker image prune`, or move Docker's data root",
    "disk.model": "make room for the model's files (`model prune`), or move mounts.huggingface",
    "model.snapshot": "`model fetch` brings it to every node, from the hub or from a node that has it whole",
    "model.revision": "`model fetch` brings one commit to every node; name it in model.revision to keep it",
    "port.server": "end the program that listens there, or choose another server.port",
    "port.rendezvous": "end the program that listens there, or choose another rendezvous_port",
    "image.digest": "`up` pulls the same digest everywhere",
    "leftovers": "`up` and `down` remove those of this cluster; for another cluster's use its own `down`",
    "api.open": "set api_key to the name of a variable of your shell, or server.host to 127.0.0.1",
    "fit.memory": "lower context-length, raise mem-fraction-static, or take kv-cache-dtype fp8_e4m3",
    "bandwidth": "NCCL's network must be IB, not Socket: see rdma.device and nccl.hca; then check link speed and MTU",
}
"""Every id, in the order of a report, with what usually mends it."""

FIRM = ("ssh.login", "ssh.host-key", "docker.engine")
"""Without these nothing can be started, so their failure cannot be allowed."""


@dataclass(frozen=True)
class Check:
    """One check on the nodes `ranks`. `outcome` is pass, fail, warn or skip; `seen` says of a skip why."""

    id: str
    outcome: str
    ranks: tuple[int, ...]
    seen: str
    needed: str = ""
    hint: str = ""


def good(name: str, rank: int, seen: str) -> Check:
    return Check(name, PASS, (rank,), seen)


def bad(name: str, rank: int, seen: str, needed: str) -> Check:
    return Check(name, FAIL, (rank,), seen, needed, MENDS[name])


def doubtful(name: str, rank: int, seen: str, needed: str) -> Check:
    return Check(name, WARN, (rank,), seen, needed, MENDS[name])


def skipped(name: str, rank: int, why: str) -> Check:
    return Check(name, SKIP, (rank,), why)


def agree(name: str, values: Mapping[int, str], what: str) -> Iterator[Check]:
    """A check that a value is the same everywhere; where it is not, the fewer ones fail."""
    if not values:
        return
    ((common, count),) = Counter(values.values()).most_common(1)
    for rank, value in values.items():
        if value == common:
            yield good(name, rank, f"{what} {value}")
        else:
            yield bad(name, rank, f"{what} {value}", f"{common}, as on {count} of {len(values)} nodes")


def grouped(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Equal findings as one that names all their nodes, in the order of the ids."""
    ranks: dict[Check, list[int]] = {}
    for one in checks:
        ranks.setdefault(replace(one, ranks=()), []).extend(one.ranks)
    order = list(MENDS)
    whole = (replace(one, ranks=tuple(sorted(set(who)))) for one, who in ranks.items())
    return tuple(sorted(whole, key=lambda one: (order.index(one.id), OUTCOMES.index(one.outcome), one.ranks)))


def allowing(checks: Iterable[Check], allow: Collection[str]) -> Iterator[Check]:
    """The checks with the failures of allowed ids as warnings."""
    for one in checks:
        let = one.outcome == FAIL and one.id in allow and one.id not in FIRM
        yield replace(one, outcome=WARN, seen=f"{one.seen} (allowed by doctor.allow)") if let else one
