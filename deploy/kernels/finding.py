"""What is found about kernel tables, and for which GPU and versions. Judges nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.kernels.gpu import GB10, Gpu
from deploy.kernels.rules import Rules, number, rules

LEVELS = ("error", "warning", "note")
"""An error ends a rank or is never taken; a warning costs speed or is not what was meant; a note explains."""


@dataclass(frozen=True)
class Target:
    """What serves. `small_default`: the image's SGLang has an fp8 default that fits small GPUs, by version or patch."""

    gpu: Gpu = GB10
    sglang: str = "0.5.4.post2"
    triton: str = "3.5.0"
    small_default: bool = False
    native_fp8: bool = False
    prefill: int = 8192
    """Tokens of the largest prefill: SGLang's chunk on a GPU with 60 to 160 GB."""

    @property
    def rules(self) -> Rules:
        return rules(self.sglang)

    @property
    def lowering(self) -> str:
        """What an fp8 dot becomes: `native`, or `f16` arithmetic; Triton knows 12.1's own from 3.8.0 on."""
        if self.gpu.capability < (8, 9):
            return "f16"
        known = self.gpu.capability != (12, 1) or number(self.triton) >= (3, 8, 0)
        return "native" if known or self.native_fp8 else "f16"


@dataclass(frozen=True)
class Finding:
    """One thing found. `key` is an entry's batch size, `gemm` up or down, `tokens` the batches that meet it."""

    level: str
    code: str
    message: str
    hint: str = ""
    file: str = ""
    key: str = ""
    gemm: str = ""
    tokens: tuple[int, int] | None = None
    bytes: int | None = None
    limit: int | None = None

    @property
    def place(self) -> str:
        """`FILE: 128`, as far as it is known."""
        return f"{self.file}: {self.key}" if self.key else self.file
