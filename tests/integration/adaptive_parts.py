"""Small parts of a real, patched SGLang tree for the checks of adaptive-moe; what they stand in for, they say."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

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


@contextmanager
def capturing(tree_says: bool = False) -> Iterator[None]:
    """As if a graph were captured; or as if SGLang's runner made the calls that come before that."""
    import torch
    from sglang.srt.model_executor import cuda_graph_runner  # type: ignore[import-not-found]

    if tree_says:
        with cuda_graph_runner.model_capture_mode():
            yield
    else:
        with mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=True):
            yield


def rows(*given: tuple[int, float, float]) -> Any:
    """Times as the profile keeps them: tokens, and milliseconds of both backends."""
    return {tokens: {"triton": small, "triton_kernels": large} for tokens, small, large in given}


def routed(routing: Any, tokens: int, **given: Any) -> str:
    """What this routing gives a batch; the routing kernels are stood in for."""
    import torch
    from sglang.srt.layers.moe import topk as module

    standard = module.StandardTopKOutput(None, None, None)
    with (
        mock.patch.object(module, "routing", return_value=(None, None, None), create=True),
        mock.patch.object(module, "select_experts", return_value=standard),
    ):
        rows, logits = torch.zeros(tokens, SHAPE[1]), torch.zeros(tokens, SHAPE[0])
        return str(routing.forward_cuda(rows, logits, **given).format.name)


def parser() -> argparse.ArgumentParser:
    from sglang.srt.server_args import ServerArgs

    made = argparse.ArgumentParser(exit_on_error=False)
    ServerArgs.add_cli_args(made)
    return made


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


def taken(*, cuda: bool = True, usable: str = "", **given: Any) -> Any:
    """Server arguments that passed the first check on a host with CUDA and triton_kernels."""
    from sglang.srt.adaptive_moe import limits  # type: ignore[import-not-found]
    from sglang.srt.server_args import ServerArgs

    args = ServerArgs(model_path="dummy", enable_adaptive_moe=True, **given)
    with on_a_host(cuda, usable):
        limits.take_server(args)
    return args


@contextmanager
def on_a_host(cuda: bool = True, usable: str = "") -> Iterator[None]:
    """As if there were CUDA, and a triton_kernels that imports."""
    from sglang.srt import utils  # type: ignore[import-not-found]
    from sglang.srt.adaptive_moe import limits

    with (
        mock.patch.object(utils, "is_cuda", return_value=cuda),
        mock.patch.object(utils, "is_triton_kernels_available", return_value=usable != "missing"),
        mock.patch.object(limits, "_unusable", return_value=usable),
    ):
        yield


def served(model: Mapping[str, Any], **given: Any) -> Any:
    """Server arguments that SGLang adjusted to a real model on a GPU of 80 GB, all its own defaults with them."""
    from sglang.srt import server_args

    with (
        tempfile.TemporaryDirectory() as folder,
        on_a_host(),
        mock.patch.object(server_args, "is_cuda", return_value=True),
        mock.patch.object(server_args, "get_device_memory_capacity", return_value=81559),
    ):
        Path(folder, "config.json").write_text(json.dumps(model))
        return server_args.ServerArgs(
            model_path=folder, device="cuda", attention_backend="triton", enable_adaptive_moe=True, **given
        )


def settled() -> tuple[int, int]:
    """What `auto` comes to, eager and in graphs, with two layers of one shape, in a process that knows nothing yet."""
    with asked("auto") as choice:
        for one in (layer(), layer()):
            one.quant_method.process_weights_after_loading(one)
        found = choice.THRESHOLDS[SHAPE]
        return found.eager, found.graph


@contextmanager
def kept_in(folder: str) -> Iterator[None]:
    """A cache folder, and a device with a name."""
    import torch

    with (
        mock.patch.dict(os.environ, {"SGLANG_ADAPTIVE_MOE_CACHE": folder}),
        mock.patch.object(torch.cuda, "get_device_name", return_value="a GPU"),
    ):
        yield
