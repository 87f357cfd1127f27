"""The shape of one rank's fused MoE, and of its two GEMMs. Knows no model and no table."""

from __future__ import annotations

from dataclasses import dataclass

BYTES = {"fp8_w8a8": 1, "int8_w8a8": 1, "int8_w8a16": 2, "int4_w4a16": 2, "bf16": 2, "fp16": 2, "fp32": 4}
"""Bytes of one element of the tiles that a kernel keeps in shared memory, by SGLang's name of the data type."""


@dataclass(frozen=True)
class Shape:
    """One rank's share. `intermediate` is N of a table's name: columns of the down GEMM's input, w2.shape[2]."""

    experts: int
    intermediate: int
    hidden: int
    top_k: int
    dtype: str = "fp8_w8a8"
    block: tuple[int, int] | None = None
    """[block_n, block_k] of block-wise scales; None for tensor- and channel-wise ones."""
    per_channel: bool = False

    @property
    def gemms(self) -> tuple[Gemm, Gemm]:
        """Up (gate and up in one) and down."""
        return (
            Gemm("up", 2 * self.intermediate, self.hidden, self.dtype, self.block),
            Gemm("down", self.hidden, self.intermediate, self.dtype, self.block),
        )


@dataclass(frozen=True)
class Gemm:
    """[tokens x top_k, k] times [experts, k, n]."""

    name: str
    n: int
    k: int
    dtype: str
    block: tuple[int, int] | None = None
