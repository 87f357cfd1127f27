"""GPUs as data: what a kernel may use on each. Asks no driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """`device` is PyTorch's name with spaces as underscores, as tables are named; memory in bytes a block (opt-in)."""

    name: str
    device: str
    capability: tuple[int, int]
    shared_memory: int
    source: str


def arch(capability: Sequence[int]) -> int:
    """A compute capability as Triton writes it: 121 of (12, 1)."""
    major, minor = capability
    return 10 * major + minor


SHARED_MEMORY = {
    (8, 0): 163 * 1024,
    (8, 6): 99 * 1024,
    (8, 9): 99 * 1024,
    (9, 0): 227 * 1024,
    (10, 0): 227 * 1024,
    (10, 3): 227 * 1024,
    (12, 0): 99 * 1024,
    (12, 1): 99 * 1024,
}
"""Bytes a block may have, by compute capability: CUDA C++ Programming Guide, technical specifications, "maximum amount
of shared memory per thread block"; CUDA's cudaDevAttrMaxSharedMemoryPerBlockOptin says the same number."""


def _gpu(name: str, device: str, capability: tuple[int, int]) -> Gpu:
    bytes_ = SHARED_MEMORY[capability]
    guide = f"CUDA programming guide, compute capability {capability[0]}.{capability[1]}: {bytes_ // 1024} KB a block"
    return Gpu(name, device, capability, bytes_, guide)


GB10 = _gpu("GB10", "NVIDIA_GB10", (12, 1))
_OTHERS = (
    ("RTX 5090", "NVIDIA_GeForce_RTX_5090", (12, 0)),
    ("RTX PRO 6000", "NVIDIA_RTX_PRO_6000_Blackwell_Workstation_Edition", (12, 0)),
    ("RTX PRO 6000 Max-Q", "NVIDIA_RTX_PRO_6000_Blackwell_Max-Q_Workstation_Edition", (12, 0)),
    ("RTX PRO 6000 Server", "NVIDIA_RTX_PRO_6000_Blackwell_Server_Edition", (12, 0)),
    ("B200", "NVIDIA_B200", (10, 0)),
    ("GB200", "NVIDIA_GB200", (10, 0)),
    ("GB300", "NVIDIA_GB300", (10, 3)),
    ("H100", "NVIDIA_H100_80GB_HBM3", (9, 0)),
    ("H200", "NVIDIA_H200", (9, 0)),
    ("H20", "NVIDIA_H20", (9, 0)),
    ("GH200", "NVIDIA_GH200_480GB", (9, 0)),
    ("RTX 4090", "NVIDIA_GeForce_RTX_4090", (8, 9)),
    ("RTX 6000 Ada", "NVIDIA_RTX_6000_Ada_Generation", (8, 9)),
    ("L40S", "NVIDIA_L40S", (8, 9)),
    ("RTX 3090", "NVIDIA_GeForce_RTX_3090", (8, 6)),
    ("A100", "NVIDIA_A100-SXM4-80GB", (8, 0)),
)
GPUS = {gpu.name: gpu for gpu in (GB10, *(_gpu(*one) for one in _OTHERS))}


def find(word: str) -> Gpu | None:
    """The GPU that a person means: `gb10`, `rtx-5090`, or a device name; None where none is."""
    wanted = _plain(word)
    return next((gpu for gpu in GPUS.values() if wanted in (_plain(gpu.name), _plain(gpu.device))), None)


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())
