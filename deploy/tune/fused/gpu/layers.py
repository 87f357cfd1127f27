"""The implementations of one fused MoE layer, from router logits to the layer's output. Times and judges nothing.

SGLang's and vLLM's text is loaded as it is, with their own tables; what comes between the products is operators.py's.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from deploy.kernels.shape import Shape
from deploy.tune.fused.gpu.borrowed import Borrowed, load
from deploy.tune.fused.gpu.operators import Operators, quantise
from deploy.tune.gpu.tensors import Quantised

FP8 = torch.float8_e4m3fn


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


def scaled_fp8_quant(rows: Tensor, scale: Tensor | None = None, *, use_per_token_if_dynamic: bool = False) -> Any:
    """Dynamic fp8, with a scale a row or one in all."""
    assert scale is None
    return quantise(rows, FP8, whole=not use_per_token_if_dynamic)


_QUANTISERS: dict[str, Any] = {
    "scaled_fp8_quant": scaled_fp8_quant,
    "per_token_group_quant_fp8": lambda rows, group: quantise(rows, FP8, group),
    "sglang_per_token_group_quant_fp8": lambda rows, group: quantise(rows, FP8, group),
    "per_token_quant_int8": lambda rows: quantise(rows, torch.int8),
    "per_token_group_quant_int8": lambda rows, group: quantise(rows, torch.int8, group),
    "sglang_per_token_group_quant_int8": lambda rows, group: quantise(rows, torch.int8, group),
}


def _no(*_: Any, **__: Any) -> bool:
    return False


def _nothing(*_: Any, **__: Any) -> None:
    return None


_SGLANG = "sglang.srt.layers.moe"
_FUSED = f"{_SGLANG}.fused_moe_triton"
_SGLANG_FILES = (
    f"{_SGLANG}.fused_moe_native",
    *(f"{_FUSED}.{name}" for name in ("fused_moe", "fused_moe_triton_config", "fused_moe_triton_kernels")),
    f"{_FUSED}.moe_align_block_size",
)


def _device_name() -> str:
    return str(torch.cuda.get_device_name())


def borrowed_sglang(folder: Path, operators: Operators) -> Borrowed:
    """SGLang's tree under `folder`, of which only what needs a server is stood in for."""
    sys.modules.setdefault("sgl_kernel", operators)  # type: ignore[arg-type]
    arguments = SimpleNamespace(enable_deterministic_inference=False)
    given = {
        **_QUANTISERS,
        **dict.fromkeys(("is_hip", "is_cpu", "cpu_has_amx_support", "get_bool_env_var"), _no),
        "is_cuda": lambda: True,
        "get_device_name": _device_name,
        "get_global_server_args": lambda: arguments,
        "direct_register_custom_op": _nothing,
        "MoeRunnerConfig": SimpleNamespace,
        "get_config": _nothing,
    }
    return Borrowed(folder, "sglang", _SGLANG_FILES, given)


def sglang(told: Told) -> tuple[Layer, Any]:
    """SGLang's fused MoE, and its module that chooses a configuration."""
    finder = borrowed_sglang(_tree(told, "sglang"), told.operators)
    module = load(finder, f"{_FUSED}.fused_moe")

    def layer(turn: Turn) -> Tensor:
        weights, ids = told.operators.select(turn.logits, told.shape.top_k)
        experts = turn.experts
        found: Tensor = module.fused_experts_impl(
            turn.hidden, experts.up.values, experts.down.values, weights, ids,
            **options(told.shape, experts), filter_expert=told.filter_expert,
        )  # fmt: skip
        return found

    return layer, load(finder, f"{_FUSED}.fused_moe_triton_config")


_VLLM = "vllm.model_executor.layers.fused_moe"
_VLLM_FILES = tuple(f"{_VLLM}.{name}" for name in ("fused_moe", "config", "moe_align_block_size", "utils"))


def borrowed_vllm(folder: Path, operators: Operators) -> Borrowed:
    """vLLM's tree under `folder`; its compiled operators are stood in for by ours."""
    platform = SimpleNamespace(simple_compile_backend="inductor", is_rocm=_no, get_device_name=_device_name)
    given = {
        **_QUANTISERS,
        **dict.fromkeys(("has_triton_kernels", "has_flashinfer_cutlass_fused_moe", "is_torch_equal_or_newer"), _no),
        **dict.fromkeys(("is_rocm_aiter_moe_enabled", "is_deep_gemm_e8m0_used"), _no),
        "VLLM_FUSED_MOE_CHUNK_SIZE": 32 * 1024,
        "VLLM_TUNED_CONFIG_FOLDER": os.environ.get("VLLM_TUNED_CONFIG_FOLDER"),
        "_custom_ops": SimpleNamespace(
            moe_align_block_size=operators.align,
            moe_sum=lambda rows, out: operators.moe_sum_reduce(rows, out, 1.0),
            scaled_fp8_quant=scaled_fp8_quant,
        ),
        "FusedMoEPermuteExpertsUnpermute": object,
        "cdiv": triton.cdiv,
        "current_platform": platform,
        "direct_register_custom_op": _nothing,
        "get_config": _nothing,
        "init_logger": logging.getLogger,
        "tl": tl,
        "triton": triton,
    }
    return Borrowed(folder, "vllm", _VLLM_FILES, given)


def vllm(told: Told) -> tuple[Layer, Any]:
    """vLLM's fused MoE, and its module that chooses a configuration."""
    _register_silu(told.operators)
    module = load(borrowed_vllm(_tree(told, "vllm"), told.operators), f"{_VLLM}.fused_moe")

    def layer(turn: Turn) -> Tensor:
        weights, ids = told.operators.select(turn.logits, told.shape.top_k)
        experts = turn.experts
        found: Tensor = module.fused_experts_impl(
            turn.hidden, experts.up.values, experts.down.values, weights, ids, **options(told.shape, experts)
        )
        return found

    return layer, module


_LIBRARIES: list[Any] = []


def _register_silu(operators: Operators) -> None:
    """vLLM calls it as an operator of PyTorch's, by this name."""
    if hasattr(torch.ops._C, "silu_and_mul"):
        return
    library = torch.library.Library("_C", "FRAGMENT")
    library.define("silu_and_mul(Tensor! out, Tensor rows) -> ()")

    def silu_and_mul(out: Tensor, rows: Tensor) -> None:
        operators.silu_and_mul(rows, out)

    library.impl("silu_and_mul", silu_and_mul, "CompositeExplicitAutograd")
    _LIBRARIES.append(library)


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
    finder = borrowed_sglang(_tree(told, "sglang"), told.operators)
    native = load(finder, f"{_SGLANG}.fused_moe_native").fused_moe_forward_native

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
