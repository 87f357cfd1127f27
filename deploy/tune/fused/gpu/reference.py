"""The layer in float32, expert by expert, and how far a result is from it. Uses nothing of any implementation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from deploy.kernels.shape import Shape
from deploy.tune.fused.gpu.layers import Turn
from deploy.tune.gpu.tensors import Quantised, compute_dtype

LARGEST = {"fp8_w8a8": (torch.float8_e4m3fn, 448.0), "int8_w8a8": (torch.int8, 127.0)}


def expected(shape: Shape, turn: Turn) -> Tensor:
    """[M, K]. Activations that are rounded to 8 bits are held in 16 bits before, as all implementations do it: else a
    value near the middle of two steps would fall on either. Nothing else is rounded."""
    values, ids = torch.topk(turn.logits.float(), shape.top_k)
    weights, owners = torch.softmax(values, -1), ids.flatten()
    rows = rounded(shape, turn.hidden.float()).repeat_interleave(shape.top_k, 0)
    gate, up = held(shape, product(rows, turn.experts.up, owners)).chunk(2, -1)
    middle = rounded(shape, held(shape, functional.silu(gate) * up))
    found = product(middle, turn.experts.down, owners)
    return (found.view(*ids.shape, -1) * weights.unsqueeze(-1)).sum(1)


def product(rows: Tensor, weights: Quantised, owners: Tensor) -> Tensor:
    """Each row [R, K] times the matrix of its expert: [R, N]."""
    out = torch.zeros(rows.shape[0], weights.values.shape[1], device=rows.device)
    for expert in owners.unique():
        mine = (owners == expert).nonzero().flatten()
        out[mine] = rows[mine] @ weights.rows(expert[None])[0].T
    return out


def held(shape: Shape, rows: Tensor) -> Tensor:
    """What is left of float32 rows in 16 bits, where they are quantised after that."""
    return rows.to(compute_dtype(shape)).float() if shape.dtype in LARGEST else rows


def rounded(shape: Shape, rows: Tensor) -> Tensor:
    """What is left of float32 rows once they were kept in 8 bits, with the data type's scales."""
    if shape.dtype not in LARGEST:
        return rows
    dtype, largest = LARGEST[shape.dtype]
    grouped = rows.unflatten(-1, (-1, shape.block[1])) if shape.block else rows
    whole = not (shape.block or shape.per_channel)
    greatest = grouped.abs().amax() if whole else grouped.abs().amax(-1, keepdim=True)
    scale = (greatest / largest).clamp(min=1e-12)
    kept = (grouped / scale).clamp(-largest, largest)
    kept = (kept + 0.5).floor() if dtype == torch.int8 else kept.to(dtype).float()
    return (kept * scale).reshape(rows.shape)


def distance(found: Tensor, wanted: Tensor) -> float:
    """The greatest relative error of a token's row, by Euclidean norm; infinite where a row has a NaN."""
    errors = (found.float() - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=1e-30)
    return float(errors.nan_to_num(nan=float("inf")).max().item())
