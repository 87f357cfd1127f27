"""SGLang's and vLLM's trees as they are loaded: which files are real, and what stands beside them. Calls none."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from deploy.tune.fused.gpu.borrowed import Borrowed
from deploy.tune.fused.gpu.operators import Operators, quantise

FP8 = torch.float8_e4m3fn


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


SGLANG = "sglang.srt.layers.moe"
FUSED = f"{SGLANG}.fused_moe_triton"
_SGLANG_FILES = (
    f"{SGLANG}.fused_moe_native",
    *(f"{FUSED}.{name}" for name in ("fused_moe", "fused_moe_triton_config", "fused_moe_triton_kernels")),
    f"{FUSED}.moe_align_block_size",
)


def _device_name() -> str:
    return str(torch.cuda.get_device_name())


def sglang_tree(folder: Path, operators: Operators) -> Borrowed:
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


VLLM = "vllm.model_executor.layers.fused_moe"
_VLLM_FILES = tuple(f"{VLLM}.{name}" for name in ("fused_moe", "config", "moe_align_block_size", "utils"))


def vllm_tree(folder: Path, operators: Operators) -> Borrowed:
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


_LIBRARIES: list[Any] = []


def register_silu(operators: Operators) -> None:
    """vLLM calls its activation as an operator of PyTorch's, by this name."""
    if hasattr(torch.ops._C, "silu_and_mul"):
        return
    library = torch.library.Library("_C", "FRAGMENT")
    library.define("silu_and_mul(Tensor! out, Tensor rows) -> ()")

    def silu_and_mul(out: Tensor, rows: Tensor) -> None:
        operators.silu_and_mul(rows, out)

    library.impl("silu_and_mul", silu_and_mul, "CompositeExplicitAutograd")
    _LIBRARIES.append(library)
