"""What adaptive-moe refuses at start in a real, patched SGLang tree."""

from __future__ import annotations

from typing import Any
from unittest import mock

from tests.integration.adaptive_parts import (
    THRESHOLD,
    asked,
    layer,
    refused,
    served,
    taken,
    topk,
)


def every_routing_that_triton_kernels_lacks_is_refused_at_start() -> None:
    import torch

    cases = (
        ({"use_grouped_topk": True, "num_expert_group": 1, "topk_group": 1}, "grouped top-k"),
        ({"correction_bias": torch.zeros(8)}, "a correction bias"),
        ({"scoring_func": "sigmoid"}, "scoring by sigmoid"),
        ({"custom_routing_function": print}, "a routing function of its own"),
        ({"num_fused_shared_experts": 1}, "fused shared experts"),
        ({"top_k": 6}, "no power of two"),
    )
    with asked(THRESHOLD):
        for given, why in cases:
            refused(lambda given=given: topk(**given), why)  # type: ignore[misc]


def every_layer_that_the_two_would_compute_differently_is_refused_at_start() -> None:
    import torch

    swiglu = {"gemm1_alpha": 1.702, "gemm1_clamp_limit": 7.0}
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"params_dtype": torch.float32}, "weights of torch.float32"),
        ({"with_bias": True}, "biases without"),
        (swiglu, "without biases"),
        ({"no_combine": True, "inplace": False}, "uncombined output"),
        ({"apply_router_weight_on_input": True}, "router weights on the input"),
        ({"top_k": None}, "top_k is not known"),
    )
    with asked(THRESHOLD):
        for given, why in cases:
            refused(lambda given=given: layer(**given), why)  # type: ignore[misc]
        layer(with_bias=True, **swiglu)
        layer(params_dtype=torch.float16, activation="gelu")


def a_quantised_layer_is_refused_at_start() -> None:
    from sglang.srt.layers.quantization.fp8 import Fp8Config  # type: ignore[import-not-found]

    fp8 = Fp8Config(is_checkpoint_fp8_serialized=True, activation_scheme="dynamic")
    with asked(THRESHOLD):
        refused(lambda: layer(quant_config=fp8), "it is quantised (Fp8MoEMethod)")
    with asked(None):
        layer(quant_config=fp8)


def expert_parallelism_is_refused_at_start() -> None:
    from sglang.srt.layers.moe.fused_moe_triton import layer as module

    with asked(THRESHOLD), mock.patch.object(module, "get_moe_expert_parallel_world_size", return_value=2):
        refused(layer, "expert parallelism")


def every_flag_that_rules_it_out_is_refused_at_start() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"quantization": "fp8"}, "--quantization fp8"),
        ({"ep_size": 2}, "--ep-size 2"),
        ({"moe_a2a_backend": "deepep"}, "--moe-a2a-backend deepep"),
        ({"moe_runner_backend": "flashinfer_cutlass"}, "--moe-runner-backend flashinfer_cutlass"),
        ({"enable_lora": True}, "LoRA"),
        ({"lora_paths": ["a"]}, "LoRA"),
        ({"enable_eplb": True}, "--enable-eplb"),
        ({"init_expert_location": "x.json"}, "--init-expert-location x.json"),
        ({"expert_distribution_recorder_mode": "stat"}, "an expert distribution recorder"),
        ({"enable_torch_compile": True}, "--enable-torch-compile"),
        ({"enable_piecewise_cuda_graph": True}, "--enable-piecewise-cuda-graph"),
        ({"enable_deterministic_inference": True}, "--enable-deterministic-inference"),
        ({"device": "cpu"}, "no CUDA device"),
        ({"adaptive_moe_batch_threshold": 0}, "--adaptive-moe-batch-threshold 0"),
    )
    for given, why in cases:
        refused(lambda given=given: taken(**given), why)  # type: ignore[misc]


def a_good_server_is_held_to_triton_unless_sglang_chooses_another() -> None:
    from sglang.srt.adaptive_moe import limits

    args = taken(speculative_algorithm=None)
    assert args.moe_runner_backend == "triton"
    limits.check_server(args)
    args.moe_runner_backend = "flashinfer_mxfp4"
    refused(lambda: limits.check_server(args), "SGLang chose --moe-runner-backend flashinfer_mxfp4")


def sglangs_own_defaults_for_a_whole_server_are_not_refused() -> None:
    from tests.gpu.adaptive_models import MIXTRAL, OSS

    for model in (MIXTRAL, OSS):
        args = served(model)
        # What SGLang sets itself, for trivial locations too.
        assert (args.moe_runner_backend, args.ep_dispatch_algorithm) == ("triton", "static")
    refused(lambda: served(MIXTRAL, ep_dispatch_algorithm="dynamic"), "--ep-dispatch-algorithm dynamic")


def a_host_without_cuda_or_triton_kernels_is_refused_at_start() -> None:
    refused(lambda: taken(cuda=False), "no CUDA device")
    refused(lambda: taken(usable="missing"), "triton_kernels: it is not installed")
    refused(lambda: taken(usable="AttributeError: no constexpr_function"), "triton_kernels: AttributeError")


def serverargs_calls_the_check_before_and_after_it_adjusts_itself() -> None:
    from sglang.srt import server_args
    from sglang.srt.adaptive_moe import limits

    said: list[str] = []
    steps = [name for name in vars(server_args.ServerArgs) if name.startswith("_handle_")]
    with mock.patch.multiple(
        limits, take_server=lambda _: said.append("take"), check_server=lambda _: said.append("check")
    ):
        patches = [mock.patch.object(server_args.ServerArgs, name, return_value=None) for name in steps]
        for one in patches:
            one.start()
        for enabled in (True, False):
            server_args.ServerArgs(model_path="x", enable_adaptive_moe=enabled)
        for one in patches:
            one.stop()
    assert said == ["take", "check"]


CHECKS = (
    every_routing_that_triton_kernels_lacks_is_refused_at_start,
    every_layer_that_the_two_would_compute_differently_is_refused_at_start,
    a_quantised_layer_is_refused_at_start,
    expert_parallelism_is_refused_at_start,
    every_flag_that_rules_it_out_is_refused_at_start,
    a_good_server_is_held_to_triton_unless_sglang_chooses_another,
    sglangs_own_defaults_for_a_whole_server_are_not_refused,
    a_host_without_cuda_or_triton_kernels_is_refused_at_start,
    serverargs_calls_the_check_before_and_after_it_adjusts_itself,
)
