"""Is each machine what a rank needs: clock, architecture, Docker, GPU, ports, and nothing of an earlier run?"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.launch.doctor.check import Check, agree, bad, doubtful, good, skipped
from deploy.launch.doctor.seen import Case, GpuProcess, Seen
from deploy.launch.node import gib
from deploy.launch.plan import ARCHITECTURES, rank_name
from deploy.launch.sglang import server_flags, server_port

SKEW = 2.0
"""Seconds: more, and the times in two nodes' logs cannot be put in order."""
SMALL = 1 << 30
"""A desktop's share of the GPU; what is larger takes a rank's memory."""


def clock_skew(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        if not (node.clock and node.span[1]):
            yield skipped("clock.skew", rank, "no time was told, or none heard")
            continue
        ahead, behind = node.clock - node.span[1], node.span[0] - node.clock
        if max(ahead, behind) > SKEW:
            way = f"{ahead:.1f} s ahead of" if ahead > behind else f"{behind:.1f} s behind"
            yield doubtful("clock.skew", rank, f"at least {way} this machine", f"within {SKEW:g} s")
        else:
            yield good("clock.skew", rank, f"within {SKEW:g} s of this machine")


def architecture(case: Case) -> Iterator[Check]:
    platform = case.cluster.image.platform
    for rank, node in case.nodes.items():
        found = ARCHITECTURES.get(node.facts.architecture, node.facts.architecture)
        if found == platform.split("/")[1]:
            yield good("node.architecture", rank, found)
        else:
            yield bad("node.architecture", rank, f"is {found}, but image.platform is {platform}", platform)


def docker_engine(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        if node.facts.docker:
            yield good("docker.engine", rank, f"Docker {node.facts.docker}")
        else:
            why = node.facts.docker_error or "not installed"
            yield bad("docker.engine", rank, f"Docker does not answer: {why}", "an answer to `docker info`")


def gpu_runtime(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        if not node.facts.docker:
            yield skipped("docker.gpu-runtime", rank, "Docker does not answer")
        elif node.facts.gpu_runtime:
            yield good("docker.gpu-runtime", rank, "NVIDIA's container runtime is there")
        else:
            seen = "has no NVIDIA container runtime (nvidia-container-toolkit)"
            yield bad("docker.gpu-runtime", rank, seen, "nvidia-container-toolkit")


def gpus_per_node(case: Case) -> int:
    tp = server_flags(case.cluster).get("tp")
    return max(1, tp // len(case.cluster.nodes)) if isinstance(tp, int) else 1


def gpu_model(case: Case) -> Iterator[Check]:
    needed, models = gpus_per_node(case), {}
    for rank, node in case.nodes.items():
        if len(node.facts.gpus) < needed:
            seen = f"has {len(node.facts.gpus)} GPUs, but its rank needs {needed}"
            yield bad("gpu.model", rank, seen, f"{needed} in `nvidia-smi`")
        else:
            models[rank] = " + ".join(sorted(set(node.facts.gpus)))
    yield from agree("gpu.model", models, "GPU")


def gpu_driver(case: Case) -> Iterator[Check]:
    drivers = {rank: ", ".join(sorted(set(node.drivers))) for rank, node in case.nodes.items()}
    for rank in [rank for rank, driver in drivers.items() if not driver]:
        yield skipped("gpu.driver", rank, "nvidia-smi tells no driver")
        del drivers[rank]
    yield from agree("gpu.driver", drivers, "driver")


def foreign_memory(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        others = foreign(node)
        large = [one for one in others if one.used is None or one.used > SMALL]
        told = "; ".join(_process(one) for one in (large or others)[:3])
        if large:
            yield bad("gpu.foreign-memory", rank, told, "no other program's memory on the GPU")
        elif others:
            yield doubtful("gpu.foreign-memory", rank, told, "no other program's memory on the GPU")
        else:
            yield good("gpu.foreign-memory", rank, "no foreign process holds GPU memory")


def foreign(node: Seen) -> list[GpuProcess]:
    """GPU processes that are in no container of this cluster's."""
    ours = {one.id for one in node.facts.ranks}
    return [one for one in node.gpu_processes if not one.container or one.container not in ours]


def _process(one: GpuProcess) -> str:
    return f"{one.name} (pid {one.pid}) holds {'unknown memory' if one.used is None else gib(one.used)}"


def port_server(case: Case) -> Iterator[Check]:
    port = server_port(case.cluster)
    for rank in case.nodes:
        yield _port(case, rank, "port.server", port, "server.port")


def port_rendezvous(case: Case) -> Iterator[Check]:
    for rank in case.nodes:
        if case.single:
            yield skipped("port.rendezvous", rank, "one node meets nobody")
        elif rank == 0:
            yield _port(case, rank, "port.rendezvous", case.cluster.rendezvous_port, "rendezvous_port")


def _port(case: Case, rank: int, name: str, port: int, key: str) -> Check:
    node = case.nodes[rank]
    if node.busy:
        return skipped(name, rank, "the cluster's rank runs here and has it")
    if port in node.facts.listening:
        return bad(name, rank, f"port {port} ({key}) is in use by another program", "a free port")
    return good(name, rank, f"port {port} is free")


def image_digest(case: Case) -> Iterator[Check]:
    repository = case.cluster.image.repository
    held = {rank: node.facts.digests(repository) for rank, node in case.nodes.items()}
    several = len({digest for digests in held.values() for digest in digests}) > 1
    for rank, digests in held.items():
        shown = ", ".join(sorted(one.removeprefix("sha256:")[:12] for one in digests))
        if several and digests:
            yield doubtful("image.digest", rank, f"has {shown}", "one digest on all nodes")
        elif digests:
            yield good("image.digest", rank, f"has {shown}")
        else:
            yield skipped("image.digest", rank, "does not have the image yet; `up` pulls it")


def leftovers(case: Case) -> Iterator[Check]:
    for rank, node in case.nodes.items():
        own = [one for one in node.facts.ranks if _is_left(case, rank, one.container, one.state)]
        strange = [f"{one.container} of {one.cluster}" for one in node.facts.others if one.state == "running"]
        if strange:
            yield bad("leftovers", rank, f"another cluster runs here: {', '.join(strange)}", "one cluster a node")
        elif own:
            told = ", ".join(f"{one.container} ({one.state})" for one in own)
            yield doubtful("leftovers", rank, told, "no containers of an earlier run")
        else:
            yield good("leftovers", rank, "no containers of an earlier run")


def _is_left(case: Case, rank: int, name: str, state: str) -> bool:
    return state != "running" or name != rank_name(case.cluster, rank)
