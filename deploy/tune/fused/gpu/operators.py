"""The steps between the products, the same for all implementations: SGLang's compiled ones, else ours.

Quantising is always ours, one Triton kernel, so that no side gains by another rounding.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from deploy.tune.gpu import routing

LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
LEAST = 1e-12
FEW = 4096
"""Places up to which SGLang lets the operator pad them itself."""


def compiled() -> ModuleType | None:
    """sgl_kernel, where it is installed and its library loads."""
    try:
        import sgl_kernel
    except (ImportError, OSError, RuntimeError):
        return None
    return sgl_kernel if hasattr(sgl_kernel, "topk_softmax") else None


class Operators:
    """By SGLang's names and signatures. `name` says whose they are."""

    def __init__(self) -> None:
        found = compiled()
        self._compiled: Any = found
        self.name = f"sgl_kernel {getattr(found, '__version__', '')}".strip() if found else "PyTorch and Triton"
        self.silu_and_mul = found.silu_and_mul if found else silu_and_mul
        self.gelu_and_mul = None  # imported beside it, and not called
        self.moe_align_block_size = found.moe_align_block_size if found else moe_align_block_size
        self.moe_sum_reduce = getattr(found, "moe_sum_reduce", moe_sum_reduce) if found else moe_sum_reduce

    def select(self, logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        """Weights that add up to 1 and expert ids, [M, top_k] each, of the router's logits."""
        if not self._compiled:
            values, ids = torch.topk(logits, top_k)
            return torch.softmax(values, -1), ids.int()
        weights = torch.empty(logits.shape[0], top_k, device=logits.device, dtype=torch.float32)
        ids = torch.empty(logits.shape[0], top_k, device=logits.device, dtype=torch.int32)
        self._compiled.topk_softmax(weights, ids, logits, True)
        return weights, ids

    def align(self, ids: Tensor, experts: int, tile: int, places: Tensor, owners: Tensor, used: Tensor) -> None:  # noqa: PLR0913
        """vLLM's signature, by SGLang's operator, as SGLang calls it."""
        sums = torch.empty(experts + 2, dtype=torch.int32, device=ids.device)
        few = places.shape[0] <= FEW
        if not few:
            places.fill_(ids.numel())
        self.moe_align_block_size(ids, experts + 1, tile, places, owners, used, sums, few)


def moe_align_block_size(ids: Tensor, experts: int, tile: int, *places_owners_used: Any) -> None:
    """SGLang counts one expert more, for those of other ranks; without a wait for the GPU."""
    found = routing.align(ids, tile, experts - 1)
    places, owners, used = places_owners_used[:3]
    places.copy_(found.places[: places.shape[0]])
    owners.copy_(found.experts[: owners.shape[0]])
    used.copy_(found.used)


def moe_sum_reduce(rows: Tensor, out: Tensor, factor: float = 1.0) -> None:
    """[M, top_k, K] to [M, K]."""
    torch.sum(rows, dim=1, out=out)
    if factor != 1.0:
        out.mul_(factor)


def silu_and_mul(rows: Tensor, out: Tensor) -> Tensor:
    """[R, 2N] to [R, N]."""
    columns = rows.shape[1] // 2
    block = min(triton.next_power_of_2(columns), 1024)
    _silu_and_mul[(rows.shape[0], triton.cdiv(columns, block))](rows, out, columns, BLOCK=block)
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _silu_and_mul(rows, out, columns, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < columns
    gate = tl.load(rows + row * 2 * columns + at, inside, 0.0).to(tl.float32)
    up = tl.load(rows + row * 2 * columns + columns + at, inside, 0.0).to(tl.float32)
    tl.store(out + row * columns + at, (gate / (1.0 + tl.exp(-gate)) * up).to(out.dtype.element_ty), inside)


def quantise(rows: Tensor, dtype: torch.dtype, group: int = 0, *, whole: bool = False) -> tuple[Tensor, Tensor]:
    """Rows [M, K] as `dtype`, and scales [M, groups]: one a row, one for every `group` columns, or one in all, [1]."""
    rows = rows.contiguous()
    columns = rows.shape[1]
    group = group or columns
    out = torch.empty_like(rows, dtype=dtype)
    groups = triton.cdiv(columns, group)
    if whole:
        scales = (rows.abs().amax().float() / LARGEST[dtype]).clamp(min=LEAST).reshape(1)
    else:
        scales = torch.empty(rows.shape[0], groups, device=rows.device, dtype=torch.float32)
    _quantise[(rows.shape[0], groups)](
        rows, out, scales, columns, group, groups,
        LARGEST=LARGEST[dtype], LEAST=LEAST, GIVEN=whole, WHOLE_NUMBERS=dtype == torch.int8,
        BLOCK=triton.next_power_of_2(group),
    )  # fmt: skip
    return out, scales


@triton.jit  # type: ignore[untyped-decorator]
def _quantise(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    rows, out, scales, columns, group, groups,
    LARGEST: tl.constexpr, LEAST: tl.constexpr, GIVEN: tl.constexpr, WHOLE_NUMBERS: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    at = tl.arange(0, BLOCK)
    inside = (at < group) & (which * group + at < columns)
    place = row * columns + which * group + at
    values = tl.load(rows + place, inside, 0.0).to(tl.float32)
    if GIVEN:
        scale = tl.load(scales)
    else:
        scale = tl.maximum(tl.max(tl.abs(values), 0) / LARGEST, LEAST)
        tl.store(scales + row * groups + which, scale)
    values = tl.minimum(tl.maximum(values / scale, -LARGEST), LARGEST)
    if WHOLE_NUMBERS:
        values = tl.floor(values + 0.5)
    tl.store(out + place, values.to(out.dtype.element_ty), inside)
