"""What a real, patched SGLang tree is to show without a GPU, with real PyTorch; run by its own process, a tree each.

    python3 -m tests.integration.adaptive_inside TREE OUT

Stand-ins: sgl_kernel, which needs a CUDA driver; the kernels themselves, whose numbers a GPU shows; is_cuda.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

Check = Callable[[], None]
SHAPE = (8, 64)
THRESHOLD = 16


def layer(**given: Any) -> Any:
    """A small MoE layer of the tree, on the CPU."""
    import torch
    from sglang.srt.layers.moe.fused_moe_triton.layer import FusedMoE  # type: ignore[import-not-found]

    words = {"layer_id": 0, "top_k": 2, "params_dtype": torch.bfloat16, **given}
    return FusedMoE(SHAPE[0], SHAPE[1], 32, **words)


def topk(**given: Any) -> Any:
    from sglang.srt.layers.moe.topk import TopK  # type: ignore[import-not-found]

    return TopK(**{"top_k": 2, **given})


@contextmanager
def asked(threshold: int | str | None) -> Iterator[Any]:
    """As if the server had been started with the flags, or without them; nothing is settled or counted yet."""
    import torch
    from sglang.srt.adaptive_moe import choice, profile  # type: ignore[import-not-found]
    from sglang.srt.server_args import get_global_server_args  # type: ignore[import-not-found]

    args = get_global_server_args()
    args.enable_adaptive_moe, args.adaptive_moe_batch_threshold = threshold is not None, threshold
    choice.THRESHOLDS.clear()
    choice.CALLS.update(dict.fromkeys(choice.CALLS, 0))
    profile._AGREED.clear()
    with mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=False):
        yield choice


def refused(make: Callable[[], Any], why: str) -> None:
    """It raises ValueError and says why, and how to start all the same."""
    said = ""
    try:
        make()
    except ValueError as error:
        said = str(error)
    assert why in said, said or f"not refused: {why}"
    assert "Start without --enable-adaptive-moe" in said


def routed(routing: Any, tokens: int) -> str:
    """What this routing gives a batch; the routing kernels are stood in for."""
    import torch
    from sglang.srt.layers.moe import topk as module

    standard = module.StandardTopKOutput(None, None, None)
    with (
        mock.patch.object(module, "routing", return_value=(None, None, None), create=True),
        mock.patch.object(module, "select_experts", return_value=standard),
    ):
        return str(routing.forward_cuda(torch.zeros(tokens, SHAPE[1]), torch.zeros(tokens, SHAPE[0])).format.name)


def parser() -> argparse.ArgumentParser:
    from sglang.srt.server_args import ServerArgs

    made = argparse.ArgumentParser(exit_on_error=False)
    ServerArgs.add_cli_args(made)
    return made


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
        views = adaptive._views(one)
        for view, weight in ((views.w13_weight, one.w13_weight), (views.w2_weight, one.w2_weight)):
            assert weight.is_contiguous()
            assert (view.data_ptr(), view.shape) == (weight.data_ptr(), weight.transpose(1, 2).shape)
        assert adaptive._views(one) is views
        one.w13_weight.data = one.w13_weight.data.clone()
        assert adaptive._views(one).w13_weight.data_ptr() == one.w13_weight.data_ptr()


def a_loaded_layer_views_as_sglangs_own_has_its_weights() -> None:
    import torch

    dice = torch.Generator().manual_seed(0)
    with asked(None):
        stock = layer()
    with asked(THRESHOLD):
        one = layer()
    for name, shard, shape in (("w13", "w1", (32, 64)), ("w13", "w3", (32, 64)), ("w2", "w2", (64, 32))):
        loaded = torch.randn(shape, generator=dice).bfloat16()
        for each in (stock, one):
            each.weight_loader(getattr(each, f"{name}_weight"), loaded, f"{name}_weight", shard, 3)
    views = one.quant_method.adaptive._views(one)
    assert torch.equal(views.w13_weight[3], stock.w13_weight[3])
    assert torch.equal(views.w2_weight[3], stock.w2_weight[3])


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


def while_a_graph_is_captured_the_choice_is_the_same_and_nothing_is_counted() -> None:
    import torch

    with asked(THRESHOLD) as choice, mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=True):
        one = layer()
        for tokens, backend in ((THRESHOLD - 1, "small"), (THRESHOLD, "large")):
            assert ran(one, tokens) == backend
        assert choice.CALLS == {"triton": 0, "triton_kernels": 0}


def a_compiled_graph_takes_triton_for_every_size() -> None:
    import torch

    with asked(THRESHOLD), mock.patch.object(torch.compiler, "is_compiling", return_value=True):
        layer()
        assert routed(topk(), THRESHOLD) == "STANDARD"


def the_runner_follows_the_form_of_the_routing_and_is_counted() -> None:
    with asked(THRESHOLD) as choice:
        one = layer()
        assert [ran(one, tokens) for tokens in (1, THRESHOLD, 1)] == ["small", "large", "small"]
        assert choice.CALLS == {"triton": 2, "triton_kernels": 1}


def ran(one: Any, tokens: int) -> str:
    """Which runner a batch came to, through routing, dispatch and the layer's method; it is given what it expects."""
    import torch
    from sglang.srt.layers.moe import topk as module

    forms = {"STANDARD": module.StandardTopKOutput, "TRITON_KERNEL": module.TritonKernelTopKOutput}
    output = forms[routed(topk(), tokens)](None, None, None)
    method, took = one.quant_method, []
    for name, kind in (("small", "TritonMoeQuantInfo"), ("large", "TritonKernelsQuantInfo")):

        def run(_: Any, info: Any, name: str = name, kind: str = kind) -> Any:
            assert type(info).__name__ == kind
            took.append(name)

        getattr(method.adaptive, name).run = run
    method.forward_cuda(one, one.dispatcher.dispatch(hidden_states=torch.zeros(tokens, 64), topk_output=output))
    return str(took[0])


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


def taken(*, cuda: bool = True, usable: str = "", **given: Any) -> Any:
    """Server arguments that passed the first check on a host with CUDA and triton_kernels."""
    from sglang.srt import utils  # type: ignore[import-not-found]
    from sglang.srt.adaptive_moe import limits
    from sglang.srt.server_args import ServerArgs

    args = ServerArgs(model_path="dummy", enable_adaptive_moe=True, **given)
    with (
        mock.patch.object(utils, "is_cuda", return_value=cuda),
        mock.patch.object(utils, "is_triton_kernels_available", return_value=usable != "missing"),
        mock.patch.object(limits, "_unusable", return_value=usable),
    ):
        limits.take_server(args)
    return args


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


def the_profile_takes_the_threshold_that_loses_least() -> None:
    from sglang.srt.adaptive_moe.choice import NEVER
    from sglang.srt.adaptive_moe.profile import least_regret

    def times(*rows: tuple[int, float, float]) -> Any:
        return {m: {"triton": small, "triton_kernels": large} for m, small, large in rows}

    assert least_regret(times((8, 1, 2), (64, 2, 2.5), (512, 5, 3), (4096, 9, 4))) == 512
    assert least_regret(times((8, 1, 2), (64, 2, 3))) == NEVER
    assert least_regret(times((8, 2, 1), (64, 3, 2))) == 1
    # Where no threshold is right everywhere, the greatest loss counts: 10 % here against 50 %.
    assert least_regret(times((8, 1.1, 1), (64, 2, 3), (512, 5, 3))) == 512


def a_threshold_is_measured_once_kept_and_measured_anew_where_it_cannot_be_read() -> None:
    from sglang.srt.adaptive_moe import cache, profile

    rows = {8: {"triton": 1.0, "triton_kernels": 2.0}, 256: {"triton": 3.0, "triton_kernels": 2.0}}
    measured = mock.Mock(return_value=rows)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(profile, "measured", measured), kept_in(folder):
        for calls, damage in ((1, None), (1, None), (2, "{"), (3, '{"key": 1}')):
            for file in Path(folder).iterdir() if damage else ():
                file.write_text(damage or "")
            assert settled() == 256
            assert measured.call_count == calls, damage
        assert [file.suffix for file in Path(folder).iterdir()] == [".json"]
        with mock.patch.object(cache, "_version", lambda name: f"{name} of tomorrow"):
            settled()
        assert measured.call_count == 4


def settled() -> int:
    """What `auto` comes to with two layers of one shape, in a process that knows nothing yet."""
    with asked("auto") as choice:
        for one in (layer(), layer()):
            assert SHAPE not in choice.THRESHOLDS or choice.THRESHOLDS[SHAPE]
            one.quant_method.process_weights_after_loading(one)
        return int(choice.THRESHOLDS[SHAPE])


@contextmanager
def kept_in(folder: str) -> Iterator[None]:
    """A cache folder, and a device with a name."""
    import torch

    with (
        mock.patch.dict(os.environ, {"SGLANG_ADAPTIVE_MOE_CACHE": folder}),
        mock.patch.object(torch.cuda, "get_device_name", return_value="a GPU"),
    ):
        yield


def a_cache_that_cannot_be_written_costs_a_warning() -> None:
    from sglang.srt.adaptive_moe import profile

    rows = {8: {"triton": 2.0, "triton_kernels": 1.0}}
    with kept_in("/proc/nowhere"), mock.patch.object(profile, "measured", return_value=rows):
        assert settled() == 1


def the_ranks_of_a_gang_take_what_the_first_one_found() -> None:
    import sglang.srt.distributed as module  # type: ignore[import-not-found]
    from sglang.srt.adaptive_moe import profile

    told: list[Any] = []

    def broadcast(found: Any, src: int) -> Any:
        told.append((found, src))
        return 77 if found is None else found

    measured = mock.Mock(
        return_value={8: {"triton": 1.0, "triton_kernels": 2.0}, 32: {"triton": 2.0, "triton_kernels": 1.0}}
    )
    for rank, threshold in ((0, 32), (1, 77)):
        group = SimpleNamespace(rank_in_group=rank, world_size=2, broadcast_object=broadcast)
        with (
            tempfile.TemporaryDirectory() as folder,
            kept_in(folder),
            mock.patch.object(module, "get_tp_group", lambda group=group: group),
            mock.patch.object(profile, "measured", measured),
        ):
            assert settled() == threshold
    assert told == [(32, 0), (None, 0)]
    assert measured.call_count == 1


def the_calls_are_a_counter_of_sglangs_metrics() -> None:
    from prometheus_client import REGISTRY
    from sglang.srt.adaptive_moe.counts import AdaptiveMoeCalls

    name, labels = "sglang:adaptive_moe_layer_calls_total", {"model_name": "m"}
    with asked(THRESHOLD) as choice:
        counter = AdaptiveMoeCalls(labels)
        counter.publish()
        assert counter.counter is None
        for calls in (3, 5):
            choice.CALLS["triton_kernels"] = calls
            counter.publish()
            counter.publish()
            assert REGISTRY.get_sample_value(name, {**labels, "backend": "triton_kernels"}) == calls
    source = Path(sys.modules["sglang.srt.adaptive_moe.counts"].__file__ or "").parents[1] / "metrics" / "collector.py"
    assert source.read_text().count("self.adaptive_moe_calls") == 2


CHECKS: tuple[Check, ...] = (
    the_flags_are_off_and_1536_by_default,
    the_threshold_is_a_number_of_tokens_or_auto,
    both_runners_are_made_over_one_storage,
    a_loaded_layer_views_as_sglangs_own_has_its_weights,
    only_a_transposed_view_of_whole_weights_passes_sglangs_assertion,
    without_the_flag_a_layer_is_sglangs_own,
    the_choice_is_right_at_the_threshold_one_below_and_one_above,
    a_shape_without_an_adaptive_layer_is_routed_as_before,
    while_a_graph_is_captured_the_choice_is_the_same_and_nothing_is_counted,
    a_compiled_graph_takes_triton_for_every_size,
    the_runner_follows_the_form_of_the_routing_and_is_counted,
    every_routing_that_triton_kernels_lacks_is_refused_at_start,
    every_layer_that_the_two_would_compute_differently_is_refused_at_start,
    a_quantised_layer_is_refused_at_start,
    expert_parallelism_is_refused_at_start,
    every_flag_that_rules_it_out_is_refused_at_start,
    a_good_server_is_held_to_triton_unless_sglang_chooses_another,
    a_host_without_cuda_or_triton_kernels_is_refused_at_start,
    serverargs_calls_the_check_before_and_after_it_adjusts_itself,
    the_profile_takes_the_threshold_that_loses_least,
    a_threshold_is_measured_once_kept_and_measured_anew_where_it_cannot_be_read,
    a_cache_that_cannot_be_written_costs_a_warning,
    the_ranks_of_a_gang_take_what_the_first_one_found,
    the_calls_are_a_counter_of_sglangs_metrics,
)


def main(tree: Path, out: Path) -> None:
    """Every check's traceback by name, empty where it passed."""
    from tests.gpu import adaptive_tree

    sys.modules["sgl_kernel"] = adaptive_tree.StandIn("sgl_kernel")
    adaptive_tree.reach(tree, tree)
    adaptive_tree.start(f"file://{out}.rendezvous", "gloo")
    found = {}
    for check in CHECKS:
        try:
            check()
            found[check.__name__] = ""
        except BaseException:
            found[check.__name__] = traceback.format_exc()
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
