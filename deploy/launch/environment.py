"""The environment of one rank, resolved for its node. Pure: facts in, variables out."""

from __future__ import annotations

from deploy.cluster.spec import Cluster
from deploy.launch.node import NodeFacts

COMPILE_MOUNT = "/var/cache/sglang-spark"

_CACHES = {
    "TRITON_CACHE_DIR": f"{COMPILE_MOUNT}/triton",
    "TORCHINDUCTOR_CACHE_DIR": f"{COMPILE_MOUNT}/inductor",
    "FLASHINFER_WORKSPACE_BASE": COMPILE_MOUNT,
    "CUDA_CACHE_PATH": f"{COMPILE_MOUNT}/cuda",
}

_NCCL_LOG = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET"}
"""NCCL then says which network it uses, and how each channel goes: the one proof that RDMA is in use."""

NATIVE_FP8 = {"TRITON_OVERRIDE_ARCH": "sm120"}
"""Triton before 3.8.0 knows the fp8 instructions of sm_120 but not those of sm_121, which has the same."""


def environment(cluster: Cluster, rank: int, facts: NodeFacts) -> dict[str, str]:
    """Variables of a rank; what cluster.yaml says wins over what was found."""
    found = {**_fabric(cluster, rank, facts), **(NATIVE_FP8 if cluster.kernels.native_fp8 else {})}
    return {**_CACHES, "PYTHONUNBUFFERED": "1", **found, **cluster.environment}


def _fabric(cluster: Cluster, rank: int, facts: NodeFacts) -> dict[str, str]:
    """Every library of the stack is told the fabric address or its interface; each guesses wrongly otherwise."""
    if len(cluster.nodes) == 1:
        return {}
    address = cluster.nodes[rank].fabric
    interface = facts.interface(address)
    found = {"SGLANG_HOST_IP": address, "NCCL_SOCKET_IFNAME": f"={interface}", "GLOO_SOCKET_IFNAME": interface}
    found |= _NCCL_LOG
    ports = facts.rdma_for(address)
    if ports:
        found["NCCL_IB_HCA"] = "=" + ",".join(f"{port.device}:{port.port}" for port in ports)
        found["NCCL_IB_GID_INDEX"] = str(ports[0].gid_index)
    return found
