"""How many bytes of shared memory a configuration needs, in closed form. The compiler's word is compile.py's.

Exact for GB10 and Hopper over all that SGLang's tuner tries. Two things are left out, since they pass no limit: to store
the result a small loop may have to make room (up to 2 x M x N bytes; on compute capability 8.x, or with less than 64
columns of K), and with one stage the compiler may take less than is said here.
"""

from __future__ import annotations

from deploy.kernels.gpu import Gpu
from deploy.kernels.shape import BYTES, Gemm
from deploy.kernels.table import Config

NARROW = {"int8_w8a16": 1}
"""Bytes of a weight where it is smaller than an activation."""
BARRIER = 8


def shared_memory(config: Config, gemm: Gemm, gpu: Gpu) -> int:
    """Bytes a block."""
    activations = config.block_m * config.block_k * BYTES[gemm.dtype]
    weights = config.block_n * config.block_k * NARROW.get(gemm.dtype, BYTES[gemm.dtype])
    if from_shared(config, gemm, gpu):
        tiles = _from_shared(config, gemm, activations, weights) + (2 * BARRIER if gpu.capability[0] == 10 else 0)
    else:
        tiles = max(config.num_stages - 1, 1) * (activations + weights)
    barriers = BARRIER * (config.num_stages - 1) if config.use_tma else 0
    return tiles + barriers + _scales(config, gemm)


def from_shared(config: Config, gemm: Gemm, gpu: Gpu) -> bool:
    """Whether the matrix instruction reads its operands from shared memory, so that one more buffer is alive.

    Hopper's wgmma and the tcgen05 of data-centre Blackwell, which has none for integers; they need 64 rows and a whole
    group of four warps. All else is mma v2, which reads registers.
    """
    able = gpu.capability[0] == 9 or (gpu.capability[0] == 10 and gemm.dtype != "int8_w8a8")
    return able and config.block_m >= 64 and config.num_warps >= 4


def _from_shared(config: Config, gemm: Gemm, activations: int, weights: int) -> int:
    if gemm.dtype not in NARROW:
        return config.num_stages * (activations + weights)
    widened = config.block_n * config.block_k * BYTES[gemm.dtype]
    return config.num_stages * activations + (config.num_stages - 1) * weights + widened


def _scales(config: Config, gemm: Gemm) -> int:
    """Block-wise scale vectors change their layout on the way, through shared memory."""
    if gemm.block is None:
        return 0
    columns = 4 * config.block_n if config.block_n > gemm.block[0] else 0
    rows = 4 * config.block_m if config.block_m >= 32 * config.num_warps else 0
    return max(columns, rows)
