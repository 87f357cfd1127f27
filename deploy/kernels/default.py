"""The configuration that SGLang takes where no table is found, by batch size. Tables are not its concern."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy.kernels.finding import Target
from deploy.kernels.gpu import Gpu
from deploy.kernels.memory import shared_memory
from deploy.kernels.shape import Gemm, Shape
from deploy.kernels.table import TOKENS, Config

SMALL = 128 * 1024
"""A GPU with less shared memory than this a block gets the small fp8 default, where SGLang has one."""
LEAST = (16, 32, 32)
"""M, N and K below which the patch does not go."""
TRITON_WARPS, TRITON_STAGES = 4, 3
"""What Triton takes where a configuration does not say."""


@dataclass(frozen=True)
class Segment:
    """The batch sizes `first` to `last` take `config`; `label` is its key in a table, or `default`."""

    first: int
    last: int
    label: str
    config: Config


def default_segments(shape: Shape, target: Target) -> tuple[Segment, ...]:
    """What 1 to TOKENS tokens take, with the image's patch where it has one."""
    gpu = target.gpu
    few, many = _configs(shape, small=target.rules.small_default and gpu.shared_memory < SMALL)
    if target.fitted_default:
        few, many = fitted(few, shape.gemms[0], gpu), fitted(many, shape.gemms[0], gpu)
    if few == many or shape.experts >= TOKENS:
        return (Segment(1, TOKENS, "default", few),)
    return Segment(1, shape.experts, "default", few), Segment(shape.experts + 1, TOKENS, "default", many)


def fitted(config: Config, gemm: Gemm, gpu: Gpu) -> Config:
    """What the patch makes of a default: fewer stages first, then half of the largest side, until it fits."""
    made = config
    while shared_memory(made, gemm, gpu) > gpu.shared_memory:
        tile = (made.block_m, made.block_n, made.block_k)
        sides = [(size, place) for place, size in enumerate(tile) if size > LEAST[place]]
        if made.num_stages > 2:
            made = replace(made, num_stages=made.num_stages - 1)
        elif sides:
            place = max(sides)[1]
            halved = [size // 2 if side == place else size for side, size in enumerate(tile)]
            made = replace(made, block_m=halved[0], block_n=halved[1], block_k=halved[2])
        else:
            return config
    return made


def _configs(shape: Shape, *, small: bool) -> tuple[Config, Config]:
    """For batches of up to as many tokens as there are experts, and for larger ones."""
    if shape.dtype != "fp8_w8a8":
        return Config(16, 32, 64, 1, TRITON_WARPS, TRITON_STAGES), Config(64, 64, 32, 8, TRITON_WARPS, TRITON_STAGES)
    if shape.block:
        block_wise = Config(64, *shape.block, 32, 4, 3)
        return block_wise, block_wise
    if small:
        return Config(32, 64, 256, 1, 4, 4), Config(64, 128, 256, 64, 4, 2)
    return Config(64, 128, 128, 1, 4, 4), Config(128, 256, 128, 32, 8, 4)
