"""SGLang's fused-MoE kernel of one tree on this host's GPU: kernel and launcher are real, what quantises is ours."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl

from deploy.tune.gpu import routing
from deploy.tune.gpu.routing import Routing

FP8 = torch.float8_e4m3fn
FP8_MAX = 448.0
Tensor = torch.Tensor


def per_token(tensor: Tensor, scale: Tensor | None = None, *, use_per_token_if_dynamic: bool = True) -> Any:
    """Dynamic fp8 with a scale a row, in place of SGLang's compiled operator."""
    assert scale is None
    assert use_per_token_if_dynamic
    scale = (tensor.abs().amax(-1, keepdim=True).float() / FP8_MAX).clamp(min=1e-12)
    return (tensor.float() / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


def load(tree: Path) -> tuple[types.ModuleType, types.ModuleType]:
    """(kernels, config) of the tree; only what needs the rest of SGLang is stood in for."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
        del sys.modules[name]
    folder = "sglang.srt.layers.moe.fused_moe_triton"
    for at in range(folder.count(".") + 1):
        name = folder.rsplit(".", at)[0]
        sys.modules[name] = package = types.ModuleType(name)
        package.__path__ = [str(tree / name.replace(".", "/"))]
    _stand_in("sglang.srt.layers.quantization")
    _stand_in("sglang.srt.layers.quantization.fp8_kernel", scaled_fp8_quant=per_token)
    _stand_in("sglang.srt.layers.quantization.int8_kernel")
    named = torch.cuda.get_device_name().replace(" ", "_")
    _stand_in("sglang.srt.utils", is_cuda=lambda: True, get_device_name=lambda: named)
    arguments = types.SimpleNamespace(enable_deterministic_inference=False)
    _stand_in("sglang.srt.server_args", get_global_server_args=lambda: arguments)
    modules = (f"{folder}.fused_moe_triton_kernels", f"{folder}.fused_moe_triton_config")
    return importlib.import_module(modules[0]), importlib.import_module(modules[1])


def _stand_in(name: str, **known: Any) -> None:
    """A module in which every other name is a function that says no."""
    module = types.ModuleType(name)
    module.__dict__.update(known)
    module.__getattr__ = lambda _: lambda *_, **__: False  # type: ignore[method-assign, assignment]
    sys.modules[name] = module


@dataclass(frozen=True)
class Weights:
    """Channel-wise fp8: values [E, N, K], scales [E, N, 1]."""

    values: Tensor
    scales: Tensor

    @classmethod
    def random(cls, experts: int, n: int, k: int) -> Weights:
        values = (torch.randn(experts, n, k, device="cuda", dtype=torch.bfloat16) * 64).to(FP8)
        return cls(values, torch.rand(experts, n, 1, device="cuda") * 0.01 + 0.001)


def run(kernels: Any, config: dict[str, Any], rows: Tensor, weights: Weights, batch: Routing) -> Tensor:
    """One GEMM by SGLang's launcher: [M x top_k, N] in bf16. `rows` is [M, K], or [M x top_k, K] for the down GEMM."""
    top_k = batch.ids.shape[1]
    down = rows.shape[0] != batch.ids.shape[0]
    aligned = routing.align(batch.ids, config["BLOCK_SIZE_M"], weights.values.shape[0])
    out = torch.zeros(*batch.ids.shape, weights.values.shape[1], device="cuda", dtype=torch.bfloat16)
    kernels.invoke_fused_moe_kernel(
        rows, weights.values, None, out, None, weights.scales, None, batch.weights, batch.ids,
        aligned.places, aligned.experts, aligned.used,
        down, 1 if down else top_k, dict(config), tl.bfloat16,
        use_fp8_w8a8=True, use_int8_w8a8=False, use_int8_w8a16=False, use_int4_w4a16=False,
        per_channel_quant=True, filter_expert=False,
    )  # fmt: skip
    return out.flatten(0, 1)


def expected(rows: Tensor, weights: Weights, batch: Routing, some: Tensor) -> Tensor:
    """The same by plain arithmetic, for some of the M x top_k rows."""
    top_k = batch.ids.shape[1]
    down = rows.shape[0] != batch.ids.shape[0]
    quantised, scale = per_token(rows)
    source = some if down else some // top_k
    expert = batch.ids.flatten()[some].long()
    left = quantised[source].float() * scale[source]
    right = weights.values[expert].float() * weights.scales[expert]
    out = torch.bmm(right, left.unsqueeze(-1)).squeeze(-1)
    return out * batch.weights.flatten()[some].unsqueeze(-1) if down else out


@contextmanager
def told_gb10(limit: int) -> Iterator[None]:
    """Who asks PyTorch for this GPU's properties is told a GB10's."""
    real = torch.cuda.get_device_properties
    gb10 = types.SimpleNamespace(shared_memory_per_block_optin=limit, major=12, minor=1)
    torch.cuda.get_device_properties = lambda *_: gb10
    try:
        yield
    finally:
        torch.cuda.get_device_properties = real


VERSIONS = {"torch": torch.__version__, "triton": triton.__version__}
