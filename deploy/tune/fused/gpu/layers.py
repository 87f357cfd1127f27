"""The implementations of one fused MoE layer, from router logits to the layer's output. Times and judges nothing.

SGLang's and vLLM's text is loaded as it is, with their own tables; what comes between the products is operators.py's.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy.kernels.shape import Shape
from deploy.tune.fused.gpu.borrowed import load
from deploy.tune.fused.gpu.operators import Operators
from deploy.tune.fused.gpu.trees import FUSED, SGLANG, VLLM, register_silu, sglang_tree, vllm_tree
from deploy.tune.gpu.tensors import Quantised


@dataclass(frozen=True, eq=False)
class Experts:
    """One layer's weights: up [E, 2N, K], gate first, and down [E, K, N]."""

    up: Quantised
    down: Quantised

    @cached_property
    def transposed(self) -> tuple[Tensor, Tensor]:
        """[E, K, 2N] and [E, N, K], contiguous, as SGLang's loader makes them for triton_kernels."""
        return self.up.values.transpose(1, 2).contiguous(), self.down.values.transpose(1, 2).contiguous()


@dataclass(frozen=True, eq=False)
class Turn:
    """The data of one call: a layer's weights, hidden states [M, K] and router logits [M, E]."""

    experts: Experts
    hidden: Tensor
    logits: Tensor


Layer = Callable[[Turn], Tensor]


@dataclass(frozen=True)
class Told:
    """What an implementation is made for. `folder` holds its package, where it is not the installed one."""

    shape: Shape
    filter_expert: bool
    folder: Path | None
    operators: Operators


def options(shape: Shape, experts: Experts) -> dict[str, Any]:
    """What both `fused_experts_impl` are told of quantisation, by their names."""
    kinds = ("fp8_w8a8", "int8_w8a8", "int8_w8a16")
    return {
        **{f"use_{kind}": shape.dtype == kind for kind in kinds},
        "per_channel_quant": shape.per_channel,
        "block_shape": list(shape.block) if shape.block else None,
        "w1_scale": experts.up.scales,
        "w2_scale": experts.down.scales,
    }


def sglang(told: Told) -> tuple[Layer, Any]:
    """SGLang's fused MoE, and its module that chooses a configuration."""
    finder = sglang_tree(_tree(told, "sglang"), told.operators)
    module = load(finder, f"{FUSED}.fused_moe")

    def layer(turn: Turn) -> Tensor:
        weights, ids = told.operators.select(turn.logits, told.shape.top_k)
        experts = turn.experts
        found: Tensor = module.fused_experts_impl(
            turn.hidden, experts.up.values, experts.down.values, weights, ids,
            **options(told.shape, experts), filter_expert=told.filter_expert,
        )  # fmt: skip
        return found

    return layer, load(finder, f"{FUSED}.fused_moe_triton_config")


def vllm(told: Told) -> tuple[Layer, Any]:
    """vLLM's fused MoE, and its module that chooses a configuration."""
    register_silu(told.operators)
    module = load(vllm_tree(_tree(told, "vllm"), told.operators), f"{VLLM}.fused_moe")

    def layer(turn: Turn) -> Tensor:
        weights, ids = told.operators.select(turn.logits, told.shape.top_k)
        experts = turn.experts
        found: Tensor = module.fused_experts_impl(
            turn.hidden, experts.up.values, experts.down.values, weights, ids, **options(told.shape, experts)
        )
        return found

    return layer, module


def triton_kernels(told: Told) -> tuple[Layer, None]:
    """OpenAI's matmul_ogs, as SGLang calls it: both products, its own routing, and the same activation between them."""
    if told.folder:
        sys.path.insert(0, str(told.folder))
    from triton_kernels.matmul_ogs import matmul_ogs

    route = _routing()

    def layer(turn: Turn) -> Tensor:
        up, down = turn.experts.transposed
        data, gather, scatter = route(turn.logits, told.shape.top_k)
        rows = matmul_ogs(turn.hidden, up, None, data, gather_indx=gather)
        rows = rows.view(-1, rows.shape[-1])
        middle = torch.empty(rows.shape[0], rows.shape[1] // 2, device=rows.device, dtype=rows.dtype)
        told.operators.silu_and_mul(rows, middle)
        found: Tensor = matmul_ogs(middle, down, None, data, scatter_indx=scatter, gammas=data.gate_scal)
        return found

    return layer, None


def _routing() -> Callable[[Tensor, int], tuple[Any, Any, Any]]:
    """Its own function; from Triton 3.6's version on it is put together of parts."""
    if importlib.util.find_spec("triton_kernels.routing"):
        from triton_kernels.routing import routing

        return routing  # type: ignore[no-any-return]
    from triton_kernels.matmul_ogs import GatherIndx, RoutingData, ScatterIndx
    from triton_kernels.tensor import make_ragged_tensor_metadata
    from triton_kernels.topk import topk

    def parts(logits: Tensor, top_k: int) -> tuple[Any, Any, Any]:
        chosen = topk(logits, top_k, apply_softmax=True)
        there, back = chosen.mask_metadata.row_sorted_indx, chosen.mask_metadata.col_sorted_indx
        ragged = make_ragged_tensor_metadata(chosen.mask_metadata.col_sum, there.shape[0])
        scales = chosen.vals.flatten()[back]
        data = RoutingData(scales, ragged.slice_sizes, logits.shape[-1], top_k, ragged)
        return data, GatherIndx(back, there), ScatterIndx(there, back)

    return parts


class _Native:
    """What SGLang's native form reads of a layer."""

    class Runner:
        apply_router_weight_on_input = False
        activation = "silu"

    moe_runner_config = Runner()

    def __init__(self, up: Tensor, down: Tensor) -> None:
        self.w13_weight, self.w2_weight = up, down


def torch_compile(told: Told) -> tuple[Layer, None]:
    """SGLang's form for torch.compile, which gathers the weights of every token."""
    finder = sglang_tree(_tree(told, "sglang"), told.operators)
    native = load(finder, f"{SGLANG}.fused_moe_native").fused_moe_forward_native

    def plain(hidden: Tensor, logits: Tensor, up: Tensor, down: Tensor) -> Tensor:
        values, ids = torch.topk(logits, told.shape.top_k)
        found: Tensor = native(_Native(up, down), (hidden, (torch.softmax(values, -1), ids, None)))
        return found

    compiled = torch.compile(plain)

    def layer(turn: Turn) -> Tensor:
        found: Tensor = compiled(turn.hidden, turn.logits, turn.experts.up.values, turn.experts.down.values)
        return found

    return layer, None


def _tree(told: Told, package: str) -> Path:
    assert told.folder, f"no folder with {package}"
    return told.folder


LAYERS: dict[str, Callable[[Told], tuple[Layer, Any]]] = {
    "sglang": sglang,
    "vllm": vllm,
    "triton_kernels": triton_kernels,
    "torch_compile": torch_compile,
}
