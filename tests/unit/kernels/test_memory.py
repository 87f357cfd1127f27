"""The closed form, at numbers that the compiler or somebody's crash gave."""

from __future__ import annotations

import pytest

from deploy.kernels.exact.space import GROUPS, space
from deploy.kernels.gpu import GB10, GPUS
from deploy.kernels.memory import shared_memory
from deploy.kernels.shape import Gemm
from deploy.kernels.table import Config

FP8 = Gemm("up", 768, 5120, "fp8_w8a8")
BLOCK = Gemm("up", 768, 5120, "fp8_w8a8", (128, 128))
H100, B200, RTX_4090 = GPUS["H100"], GPUS["B200"], GPUS["RTX 4090"]


def tile(m: int, n: int, k: int, warps: int, stages: int) -> Config:
    return Config(m, n, k, 1, warps, stages)


@pytest.mark.parametrize(
    ("config", "gemm", "gpu", "shared"),
    [
        (tile(128, 256, 128, 8, 4), FP8, GB10, 147_456),  # SGLang's default above 160 tokens
        (tile(64, 128, 128, 4, 4), FP8, GB10, 73_728),  # and below
        (tile(128, 128, 128, 4, 4), FP8, GB10, 98_304),  # fits, whatever is said of it
        (tile(128, 256, 128, 8, 4), FP8, H100, 196_608),  # the error message of an H100
        (tile(32, 64, 64, 8, 5), FP8, H100, 24_576),  # too few rows for wgmma
        (tile(64, 64, 64, 2, 2), FP8, H100, 8_192),  # too few warps
        (tile(64, 128, 256, 4, 2), FP8, B200, 98_320),
        (tile(64, 64, 64, 8, 4), Gemm("up", 768, 5120, "int8_w8a8"), B200, 24_576),
        (tile(64, 64, 64, 16, 2), FP8, B200, 8_192),
        (tile(64, 64, 64, 4, 2), Gemm("up", 768, 5120, "bf16"), GB10, 16_384),
        (tile(16, 64, 64, 4, 2), Gemm("up", 768, 5120, "int8_w8a16"), GB10, 6_144),
        (tile(64, 128, 256, 4, 2), Gemm("up", 768, 5120, "int8_w8a16"), H100, 163_840),
        (tile(64, 256, 128, 8, 3), BLOCK, GB10, 81_920 + 1_024),
        (tile(128, 64, 128, 4, 3), BLOCK, GB10, 49_152 + 512),
        (tile(128, 64, 128, 8, 3), BLOCK, GB10, 49_152),
        (tile(128, 32, 64, 4, 2), BLOCK, B200, 20_496),
        (Config(64, 64, 128, 1, 4, 3, True), BLOCK, GB10, 32_784),  # a barrier a buffer
    ],
)
def test_the_closed_form_says_what_the_compiler_said(config: Config, gemm: Gemm, gpu: object, shared: int) -> None:
    assert shared_memory(config, gemm, gpu) == shared  # type: ignore[arg-type]


def test_the_tuners_space_has_the_sizes_that_are_told() -> None:
    assert len(set(space())) == 480
    assert len(set(space(block_k=128))) == 320
    assert len(set(space(groups=GROUPS))) == 1920


def test_364_of_480_tiles_fit_a_gb10_in_fp8_and_244_in_bf16() -> None:
    def fitting(gemm: Gemm) -> int:
        return sum(shared_memory(config, gemm, GB10) <= GB10.shared_memory for config in space())

    assert fitting(FP8) == 364
    assert fitting(Gemm("up", 768, 5120, "bf16")) == 244
