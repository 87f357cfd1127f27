"""What is known of one node: values that plans are made from. Gathers nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Rdma:
    """One port of an RDMA device, with the RoCE v2 GID that carries `address`; -1 where there is none.

    `rate` is the kernel's text, such as `200 Gb/sec (4X HDR)`.
    """

    device: str
    port: int
    state: str
    netdev: str
    gid_index: int = -1
    address: str = ""
    rate: str = ""


@dataclass(frozen=True)
class RunningRank:
    """A container of a cluster that a node has, running or not. Times are RFC 3339."""

    container: str
    rank: int
    cluster: str
    digest: str
    launch: str
    state: str
    since: str
    exit_code: int = 0
    out_of_memory: bool = False
    error: str = ""
    started: str = ""
    id: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """One node, as one round trip showed it. Memory and disk in bytes.

    `images` are (repository, sha256:…) of what was made from the recipe asked for; `proven` are those of them whose
    self-test passed on this node. `ranks` are containers of the cluster asked for, `others` those of other clusters.
    `disk_free` is where Docker keeps its images.
    """

    architecture: str = ""
    home: str = "/root"
    docker: str = ""
    docker_error: str = ""
    gpu_runtime: bool = False
    gpus: tuple[str, ...] = ()
    rdma: tuple[Rdma, ...] = ()
    rdma_devices: tuple[str, ...] = ()
    interfaces: tuple[tuple[str, str], ...] = ()
    memory_available: int = 0
    disk_free: int = 0
    listening: frozenset[int] = frozenset()
    images: tuple[tuple[str, str], ...] = ()
    proven: tuple[tuple[str, str], ...] = ()
    ranks: tuple[RunningRank, ...] = ()
    others: tuple[RunningRank, ...] = ()

    def digests(self, repository: str) -> set[str]:
        """The digests under which this node has the image of a repository; Docker leaves its hub's name out."""
        return _of(repository, self.images)

    def reference(self, repository: str, digest: str) -> str:
        """What this node runs an image of a repository as: by the repository's name where it knows that, else by the
        name that the image was lent under."""
        names = [name for name, found in self.images if found == digest and is_of(name, repository)]
        own = repository.removeprefix("docker.io/")
        return f"{repository if own in names or not names else min(names)}@{digest}"

    def self_tested(self, repository: str) -> set[str]:
        """The digests under which an image of a repository has proven itself on this node."""
        return _of(repository, self.proven)

    def interface(self, address: str) -> str:
        """The network interface that carries an IPv4 address, or an empty string."""
        return next((name for name, found in self.interfaces if found == address), "")

    def rdma_for(self, address: str) -> tuple[Rdma, ...]:
        """The active RDMA ports whose RoCE v2 GID is this IPv4 address."""
        return tuple(port for port in self.rdma if port.address == address and port.state == "ACTIVE")


def _of(repository: str, images: tuple[tuple[str, str], ...]) -> set[str]:
    return {digest for name, digest in images if is_of(name, repository)}


def lent_name(repository: str, port: int) -> str:
    """The name of a repository's image on a node that got it over SSH, from its own port; no registry has it so."""
    return f"127.0.0.1:{port}/{_path(repository)}"


def is_of(name: str, repository: str) -> bool:
    """Whether an engine's name for an image means this repository."""
    return name == repository.removeprefix("docker.io/") or _LENT.sub("", name, count=1) == _path(repository)


_LENT = re.compile(r"^127\.0\.0\.1:\d+/")


def _path(repository: str) -> str:
    """A repository as the path of a name; a host's colon could not be in one."""
    return repository.removeprefix("docker.io/").lower().replace(":", "_")


def gib(size: float) -> str:
    """Bytes for people, in GiB."""
    return f"{size / 2**30:.1f} GiB"


def assumed_spark(fabric: str) -> NodeFacts:
    """A stock DGX Spark as documented, assumed and not seen: for plans made without contact to a node."""
    return NodeFacts(
        architecture="arm64",
        home="/home/USER",
        docker="assumed",
        gpu_runtime=True,
        gpus=("NVIDIA GB10",),
        rdma=(Rdma("rocep1s0f0", 1, "ACTIVE", "enp1s0f0np0", 3, fabric, "200 Gb/sec (4X HDR)"),),
        rdma_devices=("/dev/infiniband/uverbs0",),
        interfaces=(("enp1s0f0np0", fabric),),
        memory_available=115 << 30,
        disk_free=1 << 40,
    )
