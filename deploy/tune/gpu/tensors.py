"""Random experts and activations in the form in which a model is served, and their values in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deploy.kernels.shape import Gemm, Shape

DTYPES = {
    "fp8_w8a8": torch.float8_e4m3fn,
    "int8_w8a8": torch.int8,
    "int8_w8a16": torch.int8,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""What experts are kept as, by SGLang's name of the data type."""
DEVICE = "cuda"


@dataclass(frozen=True)
class Quantised:
    """Values with their scales, None where there are none; `block` is (rows, columns) that share a scale.

    Weights are [E, N, K], activations [M, K]; scales are shaped as SGLang's launcher takes them.
    """

    values: Tensor
    scales: Tensor | None = None
    block: tuple[int, int] | None = None

    def rows(self, index: Tensor) -> Tensor:
        """Some experts [n, N, K], or some rows [n, K], in float32."""
        values = self.values[index].float()
        if self.scales is None:
            return values
        scales = self.scales if self.scales.numel() == 1 else self.scales[index]
        if self.block:
            scales = scales.repeat_interleave(self.block[1], -1)[..., : values.shape[-1]]
            if values.ndim == 3:
                scales = scales.repeat_interleave(self.block[0], -2)[:, : values.shape[-2]]
        elif scales.ndim < values.ndim:
            scales = scales.reshape(*scales.shape, *[1] * (values.ndim - scales.ndim))
        return values * scales


def weights(shape: Shape, gemm: Gemm) -> Quantised:
    """The experts of one GEMM; made expert by expert, since a copy in 16 bits may not fit beside them."""
    values = torch.empty(shape.experts, gemm.n, gemm.k, device=DEVICE, dtype=DTYPES[shape.dtype])
    for expert in values:
        expert.copy_(_random(expert.shape, values.dtype))
    return Quantised(values, _weight_scales(shape, gemm), shape.block)


def activations(shape: Shape, rows: int, k: int) -> Quantised:
    """Rows as the launcher has them once it has quantised them: with a scale a row, a block of columns, or in all."""
    plain = shape.dtype in ("bf16", "fp16", "int8_w8a16")
    dtype = compute_dtype(shape) if plain else DTYPES[shape.dtype]
    values = _random((rows, k), dtype)
    if plain:
        return Quantised(values)
    if shape.block:
        return Quantised(values, _scales(rows, -(-k // shape.block[1])), shape.block)
    return Quantised(values, _scales(rows, 1) if shape.per_channel else _scales(1))


def compute_dtype(shape: Shape) -> torch.dtype:
    """Of results, and of activations that are not quantised."""
    return torch.float16 if shape.dtype == "fp16" else torch.bfloat16


def _weight_scales(shape: Shape, gemm: Gemm) -> Tensor | None:
    if shape.dtype in ("bf16", "fp16"):
        return None
    if shape.block:
        return _scales(shape.experts, -(-gemm.n // shape.block[0]), -(-gemm.k // shape.block[1]))
    if shape.dtype == "int8_w8a16":
        return _scales(shape.experts, gemm.n)
    return _scales(shape.experts, gemm.n, 1) if shape.per_channel else _scales(shape.experts)


def _scales(*shape: int) -> Tensor:
    return torch.rand(*shape, device=DEVICE) * 0.01 + 0.001


def _random(shape: Any, dtype: torch.dtype) -> Tensor:
    """Normally distributed, over much of what an 8-bit type can hold."""
    found = torch.randn(shape, device=DEVICE, dtype=torch.float32)
    if dtype == torch.int8:
        found = (found * 32).round().clamp(-127, 127)
    elif dtype == torch.float8_e4m3fn:
        found = found * 64
    return found.to(dtype)
