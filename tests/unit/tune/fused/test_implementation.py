"""Which implementations apply to which layer, and from which batch size on one has no room."""

from __future__ import annotations

import pytest

from deploy.kernels.shape import Shape
from deploy.tune.fused.implementation import NAMES, TITLES, expert_bytes, refusal, too_large, weight_bytes

GPT_OSS = Shape(128, 2880, 2880, 4, "bf16")
GLM = Shape(160, 384, 5120, 8, "fp8_w8a8", per_channel=True)
GB = 10**9


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_all_apply_to_weights_of_16_bits(dtype: str) -> None:
    assert not any(refusal(name, Shape(8, 128, 256, 2, dtype)) for name in NAMES)


@pytest.mark.parametrize("dtype", ["fp8_w8a8", "int8_w8a8", "int8_w8a16"])
def test_quantised_weights_are_for_the_two_fused_kernels_alone(dtype: str) -> None:
    shape = Shape(8, 128, 256, 2, dtype)
    assert [name for name in NAMES if not refusal(name, shape)] == ["sglang", "vllm"]
    assert dtype in refusal("torch_compile", shape)


def test_an_expert_is_gate_up_and_down() -> None:
    assert expert_bytes(GPT_OSS) == 3 * 2880 * 2880 * 2
    assert expert_bytes(GLM) == 3 * 384 * 5120
    assert expert_bytes(Shape(8, 128, 256, 2, "int8_w8a16")) == 3 * 128 * 256


def test_triton_kernels_has_the_weights_a_second_time() -> None:
    once = 128 * expert_bytes(GPT_OSS)
    assert weight_bytes(GPT_OSS, ("sglang", "vllm")) == once
    assert weight_bytes(GPT_OSS, NAMES) == 2 * once
    assert weight_bytes(GLM, NAMES) == 160 * expert_bytes(GLM)


def test_only_the_compiled_form_runs_out_of_room_and_says_what_it_needs() -> None:
    assert not too_large("torch_compile", GPT_OSS, 64, 80 * GB)
    assert "gathers every token's experts: 203.8 GB" in too_large("torch_compile", GPT_OSS, 1024, 80 * GB)
    assert not too_large("sglang", GPT_OSS, 8192, 80 * GB)


def test_every_implementation_has_a_title() -> None:
    assert set(TITLES) == set(NAMES)
