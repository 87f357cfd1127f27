"""Tiles of SGLang's kernel over a view, compared on this GPU; and all that a run needs, compiled before it."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import torch
from sglang.srt.adaptive_moe import choice, tiles  # type: ignore[import-not-found]

from tests.gpu import adaptive_layers as layers
from tests.gpu.adaptive_layers import Model
from tests.gpu.adaptive_time import captured, in_turn

TILES = ((32, 64), (64, 32), (128, 32), (64, 64))
"""Weights a block reads at a time along N and K: SGLang's default first."""
SMALL = (8, 16, 32, 64, 128)
FEW = 256
"""So many tokens and fewer are compiled apart."""


def take(tile: tuple[int, int]) -> None:
    """From now on the view is read in tiles of N x K."""
    tiles.WIDE.update(BLOCK_SIZE_N=tile[0], BLOCK_SIZE_K=tile[1])


@torch.inference_mode()
def trial(model: Model) -> dict[str, Any]:
    """Milliseconds in a graph by tile, beside the kernel's own layout; after it the tile is that of the patch set."""
    shipped = tiles.WIDE["BLOCK_SIZE_N"], tiles.WIDE["BLOCK_SIZE_K"]
    view, alone = layers.build(model, "triton", choice.NEVER), layers.build(model, "triton")
    layers.fill(view)
    layers.transpose(view, alone)
    rows = []
    for tokens in SMALL:
        # Above that SGLang's default is another tile.
        if tokens <= model.experts:
            rows.append({"tokens": tokens, **_times(view, alone, layers.batch(model, tokens))})
    take(shipped)
    del view, alone
    # Layers refer to themselves, and what they hold counts as memory.
    gc.collect()
    torch.cuda.empty_cache()
    choice.THRESHOLDS.clear()
    return {"ms": rows, "taken": _name(shipped)}


def _times(view: Any, alone: Any, given: Any) -> dict[str, float]:
    graphs = {"native": captured(lambda: alone(*given))[0]}
    for tile in TILES:
        take(tile)
        graphs[_name(tile)] = captured(lambda: view(*given))[0]
    return {name: row["ms"] for name, row in in_turn({name: one.replay for name, one in graphs.items()}).items()}


def _name(tile: Iterable[int]) -> str:
    return "x".join(map(str, tile))


@torch.inference_mode()
def warm(model: Model, part: str, sizes: Iterable[int]) -> None:
    """Compile one part of a run into Triton's and the compiler's caches; what fails is said and left."""
    large = part.startswith("triton_kernels")
    layer = layers.build(model, "triton_kernel" if large else "triton", choice.NEVER if part == "view" else None)
    for tokens in sorted({*sizes, 1536, 3072}, reverse=True):
        if large and (tokens <= FEW) != part.endswith("few"):
            continue
        # The size decides for SGLang's default, so the tile counts in small ones alone.
        for tile in TILES if part == "view" and tokens <= model.experts else TILES[:1]:
            take(tile)
            try:
                layer(*layers.batch(model, tokens))
                torch.cuda.synchronize()
            except Exception as error:
                print(f"{model.name} {part} {tokens} {tile}: {error!r}"[:800], flush=True)
