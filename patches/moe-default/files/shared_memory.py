"""Keeps the fused-MoE kernel's default configuration within the shared memory of the device that runs it."""

import functools
import logging
import os
from typing import Any, Callable, Dict, List, Optional

import torch

logger = logging.getLogger(__name__)

TILE = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K")
ELEMENT = {"fp8_w8a8": 1, "int8_w8a8": 1, "float32": 4}
"""Bytes of an element of the tiles; two for all other types."""
SMALLEST = {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 32}
AS_IT_IS = "SGLANG_SPARK_MOE_DEFAULT"
"""Set to `upstream`, this leaves SGLang's default as it is, also where the device cannot run it: to measure it."""
STAGES, WARPS = 3, 4
"""Triton's own, where a configuration names none."""


def fit_shared_memory(default: Callable[..., Dict[str, int]]) -> Callable[..., Dict[str, int]]:
    """Around `get_default_config`: the same configuration, made smaller only where the device cannot run it."""

    @functools.wraps(default)
    def fitting(
        M: int,
        E: int,
        N: int,
        K: int,
        topk: int,
        dtype: Optional[str],
        is_marlin: bool,
        block_shape: Optional[List[int]] = None,
    ) -> Dict[str, int]:
        config = default(M, E, N, K, topk, dtype, is_marlin, block_shape)
        device = current_device()
        if device is None or os.environ.get(AS_IT_IS) == "upstream":
            return config
        fitted = shrunk(config, dtype, block_shape, *device)
        if fitted != config:
            _tell(tuple(config.items()), tuple(fitted.items()), device[0], needed(config, dtype, block_shape, device[1]))
        return fitted

    return fitting


def current_device() -> Any:
    """(bytes of shared memory that a block may use, does it keep all stages), or None where that is not known."""
    if not torch.cuda.is_available() or getattr(torch.version, "hip", None):
        return None
    return _device(torch.cuda.current_device())


@functools.lru_cache(maxsize=None)
def _device(index: int) -> Any:
    properties = torch.cuda.get_device_properties(index)
    limit = getattr(properties, "shared_memory_per_block_optin", None)
    # Triton's pipeline through wgmma or tcgen05 keeps a buffer for every stage, others one less.
    return limit and (limit, properties.major in (9, 10))


def needed(config: Dict[str, int], dtype: Optional[str], block_shape: Optional[List[int]], all_stages: bool) -> int:
    """Bytes of shared memory a block, as Triton's compiler allocates them; found by compiling every configuration."""
    m, n, k = (config[name] for name in TILE)
    buffers = max(config.get("num_stages", STAGES) - (not all_stages), 1)
    tiles = buffers * (m + n) * k * ELEMENT.get(dtype or "", 2)
    if not block_shape:
        return tiles
    scales = (4 * n if n > block_shape[0] else 0, 4 * m if m >= 32 * config.get("num_warps", WARPS) else 0)
    return tiles + max(scales)


def shrunk(
    config: Dict[str, int], dtype: Optional[str], block_shape: Optional[List[int]], limit: int, all_stages: bool
) -> Dict[str, int]:
    """Fewer stages first, then half of the largest side, until it fits; the configuration itself where it does."""
    fitted = dict(config)
    while needed(fitted, dtype, block_shape, all_stages) > limit:
        sides = [name for name in TILE if fitted[name] > SMALLEST[name]]
        if fitted.get("num_stages", STAGES) > 2:
            fitted["num_stages"] = fitted.get("num_stages", STAGES) - 1
        elif sides:
            # Of equal sides BLOCK_SIZE_M is the last: the padding of the tokens follows it.
            fitted[max(sides, key=lambda name: (fitted[name], TILE.index(name)))] //= 2
        else:
            return config
    return fitted


@functools.lru_cache(maxsize=None)
def _tell(config: Any, fitted: Any, limit: int, bytes_needed: int) -> None:
    """Once for each pair."""
    logger.warning(
        "The default MoE kernel config %s needs %d bytes of shared memory, and this device has %d: using %s.",
        dict(config),
        bytes_needed,
        limit,
        dict(fitted),
    )
