"""The configurations that SGLang's own tuner tries, as data. Tunes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from deploy.kernels.table import Config

STAGES, ROWS, DEPTHS, COLUMNS, WARPS = (2, 3, 4, 5), (16, 32, 64, 128, 256), (64, 128, 256), (32, 64, 128, 256), (4, 8)
GROUPS = (1, 16, 32, 64)

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 1536, 2048, 3072, 4096)
"""Batch sizes in tokens."""


def space(block_k: int = 0, groups: tuple[int, ...] = (1,)) -> Iterator[Config]:
    """480 configurations for each GROUP_SIZE_M, which changes the order of tiles and no tile; with block-wise scales
    those whose BLOCK_SIZE_K divides `block_k`."""
    for stages, rows, depth, columns, warps, group in product(STAGES, ROWS, DEPTHS, COLUMNS, WARPS, groups):
        if not block_k or block_k % depth == 0:
            yield Config(rows, columns, depth, group, warps, stages)
