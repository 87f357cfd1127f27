"""GPUs as data: what a kernel may use on each. Asks no driver."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """`device` is PyTorch's name with spaces as underscores, as tables are named; memory in bytes a block (opt-in)."""

    name: str
    device: str
    capability: tuple[int, int]
    shared_memory: int
    source: str

    @property
    def wgmma(self) -> bool:
        """Whether Triton pipelines this GPU's dots through wgmma, which keeps one more buffer."""
        return self.capability[0] == 9


GB10 = Gpu(
    "GB10",
    "NVIDIA_GB10",
    (12, 1),
    101_376,
    "CUDA programming guide, compute capability 12.x: 99 KB a block",
)
GPUS = {gpu.name: gpu for gpu in (GB10,)}
