"""Which experts each token goes to, and the order in which the kernel wants the tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

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


class Recording:
    """Expert ids that a server recorded, a file a layer and batch: [tokens, top_k] in topk_ids_layer*_idx*.pt.

    Raises ValueError where the folder does not hold any, or they are of another model.
    """

    def __init__(self, folder: Path, experts: int, top_k: int) -> None:
        files = sorted(folder.glob("topk_ids_layer*_idx*.pt"))
        if not files:
            raise ValueError(f"{folder}: there is no topk_ids_layer*_idx*.pt in it")
        self.digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
        self._batches = [_recorded(path, experts, top_k) for path in files]

    def draw(self, tokens: int) -> Routing:
        """So many tokens that came after each other in one batch, or in several of one layer after the other."""
        at = int(torch.randint(len(self._batches), ()))
        found = self._batches[at]
        while found.shape[0] < tokens:
            at = (at + 1) % len(self._batches)
            found = torch.cat((found, self._batches[at]))
        first = int(torch.randint(found.shape[0] - tokens + 1, ()))
        return Routing.of(found[first : first + tokens].to(DEVICE))


def _recorded(path: Path, experts: int, top_k: int) -> Tensor:
    ids = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(ids, Tensor) or ids.ndim != 2 or not len(ids):
        raise ValueError(f"{path}: is no tensor of [tokens, top_k]")
    if ids.shape[1] != top_k:
        raise ValueError(f"{path}: has {ids.shape[1]} experts a token, and the model {top_k}")
    if int(ids.min()) < 0 or int(ids.max()) >= experts:
        raise ValueError(f"{path}: names expert {int(ids.max())}, and the rank has 0 to {experts - 1}")
    return ids.int()


def align(ids: Tensor, tile: int, experts: int) -> Aligned:
    """What SGLang's `moe_align_block_size` makes of expert ids [M, top_k] for a BLOCK_SIZE_M."""
    flat = ids.flatten().long()
    order = torch.argsort(flat, stable=True)
    counts = torch.zeros(experts, dtype=flat.dtype, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))
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
