"""What one host with a GPU a rank demands of what `up` gives: the whole list of changes, without effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RENDEZVOUS = "127.0.0.1:50000"
FIRST_PORT = 30000

# Other spellings of a flag below, and flags that mean nothing for a model folder on this host.
SPELLINGS = {"--model": "--model-path", "--nccl-init-addr": "--dist-init-addr"}
DROPPED_FLAGS = ("--revision", "--download-dir")
# RDMA devices that this host lacks.
DROPPED_ENV = ("NCCL_IB_HCA", "NCCL_IB_GID_INDEX", "NCCL_NET", "HOST_IP", "SGLANG_LOCAL_IP_NIC")


@dataclass(frozen=True)
class Launch:
    """One rank as it is started: its HTTP port and the words and variables of its process."""

    rank: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    port: int


def port(rank: int, address: str = "") -> int:
    """A rank's HTTP port: its own where all ranks share one address."""
    return FIRST_PORT if address else FIRST_PORT + rank


def flags(rank: int, model: Path, address: str = "") -> dict[str, str]:
    """Flags that replace `up`'s own, each for a reason of this host or of the tiny model."""
    return {
        # addresses, ports, model
        "--host": address or "127.0.0.1",
        "--port": str(port(rank, address)),
        "--dist-init-addr": RENDEZVOUS,
        "--model-path": str(model),
        # no weights exist; the tiny model's own length; four ranks share a host with other work
        "--load-format": "dummy",
        "--context-length": "4096",
        "--mem-fraction-static": "0.3",
        "--cuda-graph-max-bs": "16",
        # only kernels for sm_90 that need no further library were packed
        "--attention-backend": "triton",
        "--sampling-backend": "pytorch",
        "--grammar-backend": "none",
        "--moe-runner-backend": "triton",
    }


def environment(rank: int, site: Path) -> dict[str, str]:
    """Variables that replace `up`'s own."""
    return {
        "SGLANG_HOST_IP": "127.0.0.1",
        "NCCL_SOCKET_IFNAME": "lo",
        "GLOO_SOCKET_IFNAME": "lo",
        "CUDA_VISIBLE_DEVICES": str(rank),
        # NVLink multicast can put GPUs shared with others out of service
        "NCCL_NVLS_ENABLE": "0",
        "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
        # where the engine is, and no network
        "PYTHONPATH": str(site),
        "HF_HUB_OFFLINE": "1",
        "SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": "1",
        # what the record reads
        "NCCL_DEBUG": "INFO",
        "PYTHONUNBUFFERED": "1",
    }


def adapted(rank: Mapping[str, object], python: str, site: Path, model: Path, address: str = "") -> Launch:
    """The launch on this host of one rank of `{"rank": 0, "argv": [...], "env": {...}}`.

    `address` is the loopback address that the rank has for itself, where it has one.
    """
    number = int(str(rank["rank"]))
    argv = replaced(server_flags([str(word) for word in rank["argv"]]), flags(number, model, address))  # type: ignore[attr-defined]
    env = {str(name): str(value) for name, value in rank["env"].items() if name not in DROPPED_ENV}  # type: ignore[attr-defined]
    words = (python, "-m", "sglang.launch_server", *argv)
    return Launch(number, words, env | environment(number, site), port(number, address))


def server_flags(argv: Sequence[str]) -> list[str]:
    """What follows the module's name in `python3 -m sglang.launch_server ...`; everything where it is not named."""
    return list(argv[list(argv).index("sglang.launch_server") + 1 :] if "sglang.launch_server" in argv else argv)


def replaced(argv: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """argv with the values of those flags replaced, or added at the end; the order of the rest is kept."""
    result: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, _ = word.partition("=")
        if SPELLINGS.get(flag, flag) not in {*values, *DROPPED_FLAGS}:
            result.append(word)
        elif not equals:
            next(words, None)
    # a single rank has no rendezvous to replace
    alone = not any(word.partition("=")[0] in ("--dist-init-addr", "--nccl-init-addr") for word in argv)
    for flag, value in values.items():
        if not (alone and flag == "--dist-init-addr"):
            result += [flag, value]
    return result


def changes(given: Mapping[str, object], launch: Launch) -> dict[str, list[str]]:
    """What differs between what `up` gives and what was started, for the record."""
    before = server_flags([str(word) for word in given["argv"]])  # type: ignore[attr-defined]
    after = server_flags(launch.argv)
    old, new = {f"{k}={v}" for k, v in given["env"].items()}, {f"{k}={v}" for k, v in launch.env.items()}  # type: ignore[attr-defined]
    return {
        "argv_given": before,
        "argv_started": after,
        "environment_dropped": sorted(old - new),
        "environment_added": sorted(new - old),
    }
