"""How many bytes of shared memory a configuration needs, in closed form. The compiler's word is exact/'s.

Exact for GB10 and Hopper over all that SGLang's tuner tries. Left out, since no limit is passed by it: to store its
result a small loop may have to make room (up to 2 x M x N bytes; on compute capability 8.x, or where BLOCK_SIZE_K is
below 64). A little too much is said of one stage, and of block-wise scales with more than eight warps or on B200.
"""

from __future__ import annotations

from deploy.kernels.gpu import Gpu
from deploy.kernels.shape import BYTES, Gemm
from deploy.kernels.table import Config

NARROW = {"int8_w8a16": 1}
"""Bytes of a weight where it is smaller than an activation."""
BARRIER = 8
HOPPER, BLACKWELL = 9, 10
"""Major compute capabilities whose matrix instructions read shared memory; 12.x is Blackwell too, without them."""


def shared_memory(config: Config, gemm: Gemm, gpu: Gpu) -> int:
    """Bytes a block."""
    activations = config.block_m * config.block_k * BYTES[gemm.dtype]
    weights = config.block_n * config.block_k * NARROW.get(gemm.dtype, BYTES[gemm.dtype])
    reads = reads_shared(config, gemm, gpu)
    if reads:
        tiles = _kept(config, gemm, activations, weights) + (2 * BARRIER if reads == BLACKWELL else 0)
    else:
        tiles = max(config.num_stages - 1, 1) * (activations + weights)
    barriers = BARRIER * (config.num_stages - 1) if config.use_tma else 0
    return tiles + barriers + _scales(config, gemm, reads)


def reads_shared(config: Config, gemm: Gemm, gpu: Gpu) -> int:
    """The major capability whose matrix instruction reads operands from shared memory, which keeps one more buffer.

    That is Hopper's wgmma and the tcgen05 of data-centre Blackwell, which has none for integers. They take 64 rows and
    groups of four warps. All else, 0, is mma v2, which reads registers.
    """
    major = gpu.capability[0]
    if config.block_m < 64 or config.num_warps < 4:
        return 0
    if major == BLACKWELL and (gemm.dtype == "int8_w8a8" or config.num_warps > 8):
        return 0
    return major if major in (HOPPER, BLACKWELL) else 0


def _kept(config: Config, gemm: Gemm, activations: int, weights: int) -> int:
    if gemm.dtype not in NARROW:
        return config.num_stages * (activations + weights)
    widened = config.block_n * config.block_k * BYTES[gemm.dtype]
    return config.num_stages * activations + (config.num_stages - 1) * weights + widened


def _scales(config: Config, gemm: Gemm, reads: int) -> int:
    """Block-wise scale vectors change their layout on the way, through shared memory."""
    if gemm.block is None:
        return 0
    columns = 4 * config.block_n if config.block_n > gemm.block[0] else 0
    threads = 32 * config.num_warps
    held = config.block_m <= threads if reads == BLACKWELL else config.block_m < threads
    return max(columns, 0 if held else 4 * config.block_m)
