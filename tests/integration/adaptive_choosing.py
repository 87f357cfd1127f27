"""Flags, both runners and the choice in a real, patched SGLang tree."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from unittest import mock

from tests.integration.adaptive_parts import (
    SHAPE,
    THRESHOLD,
    asked,
    capturing,
    layer,
    parser,
    ran,
    routed,
    topk,
)


def the_flags_are_off_and_1536_by_default() -> None:
    from sglang.srt.server_args import ServerArgs

    args = parser().parse_args(["--model-path", "dummy"])
    assert (args.enable_adaptive_moe, args.adaptive_moe_batch_threshold) == (False, 1536)
    made = ServerArgs.from_cli_args(args)
    assert (made.enable_adaptive_moe, made.adaptive_moe_batch_threshold) == (False, 1536)


def the_threshold_is_a_number_of_tokens_or_auto() -> None:
    words = ["--model-path", "dummy", "--enable-adaptive-moe", "--adaptive-moe-batch-threshold"]
    for text, value in (("2048", 2048), ("1", 1), ("auto", "auto")):
        args = parser().parse_args([*words, text])
        assert (args.enable_adaptive_moe, args.adaptive_moe_batch_threshold) == (True, value)
    for text in ("0", "-1", "often", "1.5"):
        try:
            parser().parse_args([*words[:-1], f"{words[-1]}={text}"])
        except argparse.ArgumentError:
            continue
        raise AssertionError(f"taken: {text}")


def both_runners_are_made_over_one_storage() -> None:
    with asked(THRESHOLD):
        one = layer()
        adaptive = one.quant_method.adaptive
        backends = [runner.runner_backend.value for runner in (adaptive.small, adaptive.large)]
        assert backends == ["triton", "triton_kernel"]
        kept = adaptive._weights(one)
        views, whole = kept
        assert (whole.w13_weight is one.w13_weight, whole.w2_weight is one.w2_weight) == (True, True)
        for view, weight in ((views.w13_weight, one.w13_weight), (views.w2_weight, one.w2_weight)):
            assert weight.is_contiguous()
            assert (view.data_ptr(), view.shape) == (weight.data_ptr(), weight.transpose(1, 2).shape)
        assert adaptive._weights(one) is kept
        one.w13_weight.data = one.w13_weight.data.clone()
        assert adaptive._weights(one)[0].w13_weight.data_ptr() == one.w13_weight.data_ptr()


def only_a_transposed_view_of_whole_weights_passes_sglangs_assertion() -> None:
    import torch
    from sglang.srt.layers.moe.fused_moe_triton import fused_moe

    whole = torch.zeros(8, 64, 64)
    for weight, passes in ((whole, True), (whole.mT, True), (torch.zeros(8, 64, 128)[:, :, ::2], False)):
        said = ""
        try:
            fused_moe.fused_experts_impl(torch.zeros(1, 64), weight, weight, torch.zeros(1, 2), torch.zeros(1, 2))
        except Exception as error:  # a kernel cannot run here: what counts is how far it comes
            said = str(error)
        assert ("must be contiguous" in said) != passes, said


def without_the_flag_a_layer_is_sglangs_own() -> None:
    with asked(None) as choice:
        assert layer().quant_method.adaptive is None
        assert topk(use_grouped_topk=True, num_expert_group=1, topk_group=1).adaptive_moe is False
        assert choice.THRESHOLDS == {}


def the_choice_is_right_at_the_threshold_one_below_and_one_above() -> None:
    with asked(THRESHOLD):
        layer()
        found = [routed(topk(), THRESHOLD + more) for more in (-1, 0, 1)]
        assert found == ["STANDARD", "TRITON_KERNEL", "TRITON_KERNEL"], found


def a_shape_without_an_adaptive_layer_is_routed_as_before() -> None:
    with asked(THRESHOLD):
        assert routed(topk(), 10 * THRESHOLD) == "STANDARD"


def where_a_model_gives_places_of_experts_the_choice_is_the_same() -> None:
    """As Qwen3-MoE does: SGLang makes them for trivial places too."""
    with asked(THRESHOLD):
        layer()
        found = [routed(topk(), THRESHOLD + more, expert_location_dispatch_info=object()) for more in (-1, 0)]
        assert found == ["STANDARD", "TRITON_KERNEL"], found


def with_two_thresholds_each_serves_its_own_calls() -> None:
    for eager, graph in ((THRESHOLD, 4 * THRESHOLD), (4 * THRESHOLD, THRESHOLD)):
        with asked(THRESHOLD) as choice:
            choice.THRESHOLDS[SHAPE] = choice.Thresholds(eager, graph)
            for place, where in ((eager, nullcontext()), (graph, capturing()), (graph, capturing(tree_says=True))):
                with where:
                    found = [routed(topk(), place + more) for more in (-1, 0, 1)]
                assert found == ["STANDARD", "TRITON_KERNEL", "TRITON_KERNEL"], (place, found)


def a_threshold_that_was_given_serves_graphs_too() -> None:
    with asked(THRESHOLD) as choice:
        layer()
        assert choice.THRESHOLDS[SHAPE] == choice.Thresholds(THRESHOLD, THRESHOLD)


def of_layers_of_one_shape_the_larger_threshold_of_each_kind_serves_all() -> None:
    with asked(THRESHOLD) as choice:
        for found in ((16, 4), (8, 32)):
            choice.settled(SHAPE, choice.Thresholds(*found))
        assert choice.THRESHOLDS[SHAPE] == choice.Thresholds(16, 32)
        assert choice.told(choice.Thresholds(16, choice.NEVER)) == "16, in graphs never"


def a_default_tile_with_short_rows_is_widened_and_no_other() -> None:
    from sglang.srt.adaptive_moe.tiles import over_a_view
    from sglang.srt.layers.moe.fused_moe_triton.fused_moe_triton_config import get_default_config

    small, large = (get_default_config(m, 8, 32, 64, 2, None, False) for m in (8, 9))
    wide = over_a_view(small)
    assert {**wide, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 64} == small
    assert wide["BLOCK_SIZE_N"] * 2 >= 128
    # Triton's three stages of both tiles, in bytes.
    assert (wide["BLOCK_SIZE_M"] + wide["BLOCK_SIZE_N"]) * wide["BLOCK_SIZE_K"] * 2 * 3 < 48 * 1024
    assert over_a_view(wide) == wide
    assert over_a_view(large) == large
    for more in ({"num_warps": 4}, {"num_stages": 3}):
        assert over_a_view({**small, **more}) == {**small, **more}


def only_over_a_view_sglangs_kernel_gets_the_wide_tile() -> None:
    import torch
    from sglang.srt.adaptive_moe.tiles import over_a_view
    from sglang.srt.layers.moe.fused_moe_triton import fused_moe
    from sglang.srt.layers.moe.fused_moe_triton.fused_moe_triton_config import get_default_config

    small = get_default_config(1, 8, 32, 64, 2, None, False)
    whole, found = torch.zeros(8, 64, 64), []
    with (
        mock.patch.object(fused_moe, "try_get_optimal_moe_config", return_value=(small, (None, None))),
        mock.patch.object(fused_moe, "_down_moe_use_tma", return_value=False),
        mock.patch.object(fused_moe, "moe_align_block_size", return_value=(None, None, None)),
        mock.patch.object(fused_moe, "invoke_fused_moe_kernel", side_effect=RuntimeError) as kernel,
    ):
        for weight in (whole, whole.mT):
            try:
                fused_moe.fused_experts_impl(torch.zeros(1, 64), weight, weight, torch.zeros(1, 2), torch.zeros(1, 2))
            except RuntimeError:
                found += [one for one in kernel.call_args.args if isinstance(one, dict)]
    assert found == [small, over_a_view(small)], found


def while_a_graph_is_captured_nothing_is_counted() -> None:
    with asked(THRESHOLD) as choice, capturing():
        one = layer()
        for tokens, backend in ((THRESHOLD - 1, "small"), (THRESHOLD, "large")):
            assert ran(one, tokens) == backend
        assert choice.CALLS == {"triton": 0, "triton_kernels": 0}


def the_runner_follows_the_form_of_the_routing_and_is_counted() -> None:
    with asked(THRESHOLD) as choice:
        one = layer()
        assert [ran(one, tokens) for tokens in (1, THRESHOLD, 1)] == ["small", "large", "small"]
        assert choice.CALLS == {"triton": 2, "triton_kernels": 1}


CHECKS = (
    the_flags_are_off_and_1536_by_default,
    the_threshold_is_a_number_of_tokens_or_auto,
    both_runners_are_made_over_one_storage,
    only_a_transposed_view_of_whole_weights_passes_sglangs_assertion,
    without_the_flag_a_layer_is_sglangs_own,
    the_choice_is_right_at_the_threshold_one_below_and_one_above,
    a_shape_without_an_adaptive_layer_is_routed_as_before,
    with_two_thresholds_each_serves_its_own_calls,
    a_threshold_that_was_given_serves_graphs_too,
    of_layers_of_one_shape_the_larger_threshold_of_each_kind_serves_all,
    a_default_tile_with_short_rows_is_widened_and_no_other,
    only_over_a_view_sglangs_kernel_gets_the_wide_tile,
    while_a_graph_is_captured_nothing_is_counted,
    where_a_model_gives_places_of_experts_the_choice_is_the_same,
    the_runner_follows_the_form_of_the_routing_and_is_counted,
)
