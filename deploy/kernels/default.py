"""The configuration that SGLang takes where no table is found, by batch size. Tables are not its concern."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.kernels.gpu import Gpu
from deploy.kernels.shape import Shape
from deploy.kernels.table import TOKENS, Config

SMALL = 128 * 1024
"""A GPU with less shared memory than this a block gets the small fp8 default, where SGLang has one."""
TRITON_WARPS, TRITON_STAGES = 4, 3
"""What Triton takes where a configuration does not say."""


@dataclass(frozen=True)
class Segment:
    """The batch sizes `first` to `last` take `config`; `label` is its key in a table, or `default`."""

    first: int
    last: int
    label: str
    config: Config


def default_segments(shape: Shape, gpu: Gpu, *, small: bool) -> tuple[Segment, ...]:
    """What 1 to TOKENS tokens take. `small`: whether this SGLang's fp8 default knows GPUs with little shared memory."""
    few, many = _configs(shape, small=small and gpu.shared_memory < SMALL)
    if few == many or shape.experts >= TOKENS:
        return (Segment(1, TOKENS, "default", few),)
    return Segment(1, shape.experts, "default", few), Segment(shape.experts + 1, TOKENS, "default", many)


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
