"""How many bytes of shared memory a configuration needs, in closed form. The compiler's word is compile.py's."""

from __future__ import annotations

from deploy.kernels.gpu import Gpu
from deploy.kernels.shape import BYTES, Gemm
from deploy.kernels.table import Config


def shared_memory(config: Config, gemm: Gemm, gpu: Gpu) -> int:
    """Bytes a block. Exact for the mma v2 lowering of Triton 3.4 to 3.9; tests hold it against the compiler."""
    buffers = config.num_stages - (0 if gpu.wgmma and config.block_m >= 64 else 1)
    tiles = (config.block_m + config.block_n) * config.block_k * BYTES[gemm.dtype]
    return buffers * tiles + _scales(config, gemm)


def _scales(config: Config, gemm: Gemm) -> int:
    """Block-wise scale vectors change their layout on the way, through shared memory."""
    if gemm.block is None:
        return 0
    columns = 4 * config.block_n if config.block_n > gemm.block[0] else 0
    rows = 4 * config.block_m if config.block_m >= 32 * config.num_warps else 0
    return max(columns, rows)
