"""The tile of SGLang's kernel over a transposed view of the weights, where no table has one. Reads no weights."""

from typing import Any, Callable, Dict

import torch

NARROW = {"BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 64}
"""Of SGLang's default for small batches: along N, which lies together in a view, a row of it is 64 bytes."""
WIDE = {"BLOCK_SIZE_N": 128, "BLOCK_SIZE_K": 32}
"""Rows of 256 bytes, the fastest of those that were measured. Shared memory: 27 KiB for 18, which every device has."""


def whole_view(weight: torch.Tensor) -> bool:
    """Is it [E, N, K] over a contiguous [E, K, N]?"""
    _, rows, columns = weight.shape
    return weight.stride() == (rows * columns, 1, rows)


def over_a_view(config: Dict[str, Any]) -> Dict[str, Any]:
    """SGLang's default for small batches in wide rows; every other configuration as it is."""
    narrow = config["BLOCK_SIZE_N"] == NARROW["BLOCK_SIZE_N"] and config["BLOCK_SIZE_K"] == NARROW["BLOCK_SIZE_K"]
    # A table's configuration says its warps and stages, this default does not.
    if narrow and "num_warps" not in config and "num_stages" not in config:
        return {**config, **WIDE}
    return config


def over_views(choose: Callable[..., Any]) -> Callable[..., Any]:
    """Around SGLang's choice, which returns a configuration and what goes with it."""

    def chosen(*given: Any, **named: Any) -> Any:
        config, down = choose(*given, **named)
        return over_a_view(config), down

    return chosen
