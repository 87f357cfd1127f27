"""Which experts each token goes to, and the order in which the kernel wants the tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEVICE = "cuda"


@dataclass(frozen=True)
class Routing:
    """Expert ids and weights of M tokens, [M, top_k]."""

    ids: Tensor
    weights: Tensor

    @classmethod
    def of(cls, ids: Tensor) -> Routing:
        """Recorded ids [M, top_k], with random weights."""
        return cls(ids.int(), torch.softmax(torch.randn(ids.shape, device=ids.device), -1))


@dataclass(frozen=True)
class Aligned:
    """Token places by expert, padded to whole tiles; the expert of each tile; and how many places are used."""

    places: Tensor
    experts: Tensor
    used: Tensor


def random(tokens: int, experts: int, top_k: int, skew: float = 0.0) -> Routing:
    """`skew` 0: every expert is as likely. Above: the r-th most popular one in proportion to 1 / r ** skew."""
    popularity = -skew * torch.log(torch.arange(1, experts + 1, device=DEVICE, dtype=torch.float32))
    popularity = popularity[torch.randperm(experts, device=DEVICE)]
    # The top k of logits with Gumbel noise are a draw without replacement.
    noise = -torch.log(-torch.log(torch.rand(tokens, experts, device=DEVICE).clamp(1e-9, 1 - 1e-7)))
    return Routing.of(torch.topk(popularity + noise, top_k).indices)


def align(ids: Tensor, tile: int, experts: int) -> Aligned:
    """What SGLang's `moe_align_block_size` makes of expert ids [M, top_k] for a BLOCK_SIZE_M."""
    flat = ids.flatten().long()
    order = torch.argsort(flat, stable=True)
    counts = torch.bincount(flat, minlength=experts)
    padded = (counts + tile - 1) // tile * tile
    ends = torch.cumsum(padded, 0)
    starts = ends - padded
    size = flat.numel() + (experts + 1) * (tile - 1)
    places = torch.full((size,), flat.numel(), dtype=torch.int32, device=ids.device)
    within = torch.arange(flat.numel(), device=ids.device) - (torch.cumsum(counts, 0) - counts)[flat[order]]
    places[starts[flat[order]] + within] = order.int()
    tiles = torch.arange(-(-size // tile), device=ids.device) * tile
    owner = torch.searchsorted(ends, tiles, right=True).clamp(max=experts - 1).int()
    return Aligned(places, owner, ends[-1:].int())
