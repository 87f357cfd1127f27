"""The least time that a GEMM of experts can take on a GPU, by the bytes and operations that no kernel can save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.kernels.memory import NARROW
from deploy.kernels.shape import BYTES, Gemm, Shape

FASTER = {"fp8_w8a8": 2, "int8_w8a8": 2}
"""How much faster than in 16 bits a GPU may multiply. Whether a lowering makes use of it, a bound need not know."""


@dataclass(frozen=True)
class Ceilings:
    """What a GPU was seen to do: bytes a second from memory, and operations a second in products of 16-bit matrices."""

    bandwidth: float
    operations: float

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Ceilings:
        """As a device tells them among its facts."""
        return cls(facts["bandwidth"], facts["operations"])


def bound(shape: Shape, gemm: Gemm, tokens: int, ceilings: Ceilings) -> float:
    """Seconds a call. Weights of every expert that is met are read once, rows in and out once.

    How many experts a batch meets is the mean of uniform routing; skewed routing meets fewer.
    """
    rows = tokens * shape.top_k
    met = shape.experts * (1 - (1 - shape.top_k / shape.experts) ** tokens)
    size = BYTES[shape.dtype]
    weights = met * gemm.n * gemm.k * NARROW.get(shape.dtype, size)
    given = (tokens if gemm.name == "up" else rows) * gemm.k * size
    moved = weights + given + rows * gemm.n * 2
    operations = 2 * rows * gemm.n * gemm.k / FASTER.get(shape.dtype, 1)
    return max(moved / ceilings.bandwidth, operations / ceilings.operations)
