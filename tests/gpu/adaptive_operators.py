"""Operators in PyTorch that SGLang 0.5.4 has in its own sgl_kernel, and a newer one lacks or takes from flashinfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Tensor = Any


@dataclass
class FusedSetKVBufferArg:
    """Where rope also writes keys and values: rows `cache_loc` of both buffers."""

    value: Tensor
    k_buffer: Tensor
    v_buffer: Tensor
    k_scale: float | None
    v_scale: float | None
    cache_loc: Tensor


def apply_rope_with_cos_sin_cache_inplace(
    positions: Tensor,
    query: Tensor,
    key: Tensor,
    head_size: int,
    cos_sin_cache: Tensor,
    is_neox: bool = True,
    fused_set_kv_buffer_arg: FusedSetKVBufferArg | None = None,
) -> None:
    """Rotary embedding: turn `query` and `key`, [tokens, heads * head_size], in place, by the halves of each head."""
    if not is_neox:
        raise NotImplementedError("interleaved rope")
    cos, sin = cos_sin_cache[positions].float().unsqueeze(1).chunk(2, -1)
    half = cos.shape[-1]
    for rows in (query, key):
        heads = rows.view(rows.shape[0], -1, head_size)
        first, second = heads[..., :half].float(), heads[..., half : 2 * half].float()
        heads[..., :half] = first * cos - second * sin
        heads[..., half : 2 * half] = second * cos + first * sin
    kept = fused_set_kv_buffer_arg
    if kept is not None:
        kept.k_buffer[kept.cache_loc] = key.reshape(key.shape[0], *kept.k_buffer.shape[1:])
        kept.v_buffer[kept.cache_loc] = kept.value.reshape(key.shape[0], *kept.v_buffer.shape[1:])


def rmsnorm(rows: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """`rows`, [tokens, hidden], over the root of its mean square, times `weight`."""
    wide = rows.float()
    scale = (wide.square().mean(-1, keepdim=True) + eps).rsqrt()
    return (wide * scale * weight.float()).to(rows.dtype)


def fused_add_rmsnorm(rows: Tensor, residual: Tensor, weight: Tensor, eps: float = 1e-6) -> None:
    """Add `rows` to `residual`, and put the norm of that into `rows`."""
    residual += rows
    rows.copy_(rmsnorm(residual, weight, eps))


OPERATORS = (FusedSetKVBufferArg, apply_rope_with_cos_sin_cache_inplace, rmsnorm, fused_add_rmsnorm)
"""By the names under which SGLang imports them."""
