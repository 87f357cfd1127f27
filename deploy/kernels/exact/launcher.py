"""SGLang's real launcher of its fused-MoE kernel, on tensors that have a shape and no memory. Compiles nothing itself.

The module that holds kernel and launcher is executed as SGLang wrote it. What it imports from torch and from the rest
of SGLang is stood in for here; Triton is the real one, so its JIT sees what a server would show it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.shape import Gemm, Shape

FP8, INT8, FLOAT, INT = "float8_e4m3fn", "int8", "float32", "int32"
WEIGHTS = {
    "fp8_w8a8": FP8,
    "int8_w8a8": INT8,
    "int8_w8a16": INT8,
    "bf16": "bfloat16",
    "fp16": "float16",
}
"""What the experts' weights are, by SGLang's name of the data type."""
ALIGNED = 1 << 20
"""An address as PyTorch's allocator gives them: a multiple of 512."""


class Dtype(str):
    """A stand-in for a torch.dtype: Triton's JIT asks for its name, a tensor descriptor for its bytes."""

    @property
    def itemsize(self) -> int:
        return int(re.search(r"\d+", self)[0]) // 8  # type: ignore[index]


class ShapeOnly:
    """A stand-in for a contiguous CUDA tensor: Triton's JIT asks for the data type and the address, no more."""

    def __init__(self, dtype: str, *shape: int) -> None:
        self.dtype = Dtype(f"torch.{dtype}")
        self.shape = shape
        self.ndim = len(shape)
        self.device = "cuda:0"

    def stride(self, dim: int | None = None) -> Any:
        strides = tuple(math.prod(self.shape[axis + 1 :]) for axis in range(self.ndim))
        return strides if dim is None else strides[dim]

    def numel(self) -> int:
        return math.prod(self.shape)

    def data_ptr(self) -> int:
        return ALIGNED


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves every `sglang` module, and `torch` unless the real one is here; a name that nobody gave may be imported,
    and says so when called."""

    def __init__(self, arch: int, roots: tuple[str, ...] = ("torch", "sglang"), **given: Any) -> None:
        self.roots = roots
        self.names = {**_SGLANG, "is_sm90_supported": lambda *_: arch // 10 == 9, **given}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] not in self.roots:
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self.names if module.__name__.startswith("sglang") else {})


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(f"{self.__name__}.{name}")


class _Anything:
    """What a module may import and never use on the way to the kernel; using it in an answer is an error."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(f"{self.name}.{name}")

    def __bool__(self) -> bool:
        raise TypeError(f"{self.name} has no stand-in")

    def __call__(self, *args: Any, **_kwargs: Any) -> Any:
        if len(args) == 1 and inspect.isfunction(args[0]):
            return args[0]  # a decorator
        raise TypeError(f"{self.name} has no stand-in")


def scaled_fp8_quant(a: ShapeOnly, scale: ShapeOnly | None = None, *_: Any, **given: Any) -> tuple[ShapeOnly, ...]:
    """Activations in FP8: one scale a token, one in all, or the static one."""
    dynamic = ShapeOnly(FLOAT, a.shape[0], 1) if given.get("use_per_token_if_dynamic") else ShapeOnly(FLOAT, 1)
    return ShapeOnly(FP8, *a.shape), scale or dynamic


def group_quant_fp8(a: ShapeOnly, group: int, *_: Any, **__: Any) -> tuple[ShapeOnly, ...]:
    """Activations in FP8 with a scale for every `group` columns."""
    return ShapeOnly(FP8, *a.shape), ShapeOnly(FLOAT, a.shape[0], a.shape[1] // group)


def token_quant_int8(a: ShapeOnly) -> tuple[ShapeOnly, ...]:
    """Activations in INT8 with a scale a token."""
    return ShapeOnly(INT8, *a.shape), ShapeOnly(FLOAT, a.shape[0], 1)


def group_quant_int8(a: ShapeOnly, group: int, *_: Any, **__: Any) -> tuple[ShapeOnly, ...]:
    """Activations in INT8 with a scale for every `group` columns."""
    return ShapeOnly(INT8, *a.shape), ShapeOnly(FLOAT, a.shape[0], a.shape[1] // group)


def _no(*_: Any, **__: Any) -> bool:
    return False


_SGLANG: dict[str, Any] = {
    "is_cuda": lambda: True,
    **dict.fromkeys(("is_hip", "is_cpu", "cpu_has_amx_support", "get_bool_env_var"), _no),
    "is_batch_invariant_mode_enabled": _no,
    "get_moe_padding_size": lambda *_: 0,
    "scaled_fp8_quant": scaled_fp8_quant,
    "sglang_per_token_group_quant_fp8": group_quant_fp8,
    "per_token_quant_int8": token_quant_int8,
    "sglang_per_token_group_quant_int8": group_quant_int8,
}


def load(source: Path, finder: StandIns) -> ModuleType:
    """Execute SGLang's module of kernel and launcher, with these stand-ins."""
    sys.meta_path.insert(0, finder)
    try:
        spec = importlib.util.spec_from_file_location("fused_moe_triton_kernels", source)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # Triton looks a kernel's globals up by its module's name
        spec.loader.exec_module(module)
    finally:
        sys.meta_path.remove(finder)
    return module


def launch(module: ModuleType, kernel: Kernel, tensors: Mapping[str, Any] | None = None) -> None:
    """Call the real `invoke_fused_moe_kernel` as `fused_experts_impl` does for this GEMM. ValueError for int4.

    `tensors` by the launcher's names: A, B, C, their scales and the routing; without them those have a shape alone.
    """
    if kernel.shape.dtype not in WEIGHTS:
        raise ValueError(f"{kernel.shape.dtype} is served by another kernel, which is not compiled here")
    given = {**_matrices(kernel), **_routing(kernel)} if tensors is None else tensors
    module.invoke_fused_moe_kernel(**given, **_options(kernel), compute_type=_compute_type(module, kernel.shape))


def _compute_type(module: ModuleType, shape: Shape) -> Any:
    return module.tl.float16 if shape.dtype == "fp16" else module.tl.bfloat16


def _options(kernel: Kernel) -> dict[str, Any]:
    """All arguments that are no tensors."""
    shape, config = kernel.shape, kernel.config.as_json()
    up = kernel.gemm == "up"
    tma = not up and bool(config.pop("USE_TMA", False))  # left in an up table, it is an argument nobody knows
    return {
        "bias": None,
        "B_zp": None,
        "mul_routed_weight": not up,
        "top_k": shape.top_k if up else 1,
        "config": config,
        **{f"use_{dtype}": shape.dtype == dtype for dtype in ("fp8_w8a8", "int8_w8a8", "int8_w8a16", "int4_w4a16")},
        "per_channel_quant": shape.per_channel,
        "block_shape": list(shape.block) if shape.block else None,
        "a_use_tma": tma,
        "b_use_tma": tma,
        "c_sorted": False,
        "filter_expert": kernel.filter_expert,
    }


def _matrices(kernel: Kernel) -> dict[str, Any]:
    """A, B and C, with the scales of B; those of A are made by the launcher."""
    shape, gemm = kernel.shape, kernel.matrices
    rows = kernel.tokens * shape.top_k
    activations = "float16" if shape.dtype == "fp16" else "bfloat16"
    weights = WEIGHTS[shape.dtype]
    output = (rows, gemm.n) if kernel.gemm == "up" else (kernel.tokens, shape.top_k, gemm.n)
    return {
        "A": ShapeOnly(activations, kernel.tokens if kernel.gemm == "up" else rows, gemm.k),
        "B": ShapeOnly(weights, shape.experts, gemm.n, gemm.k),
        "C": ShapeOnly(activations, *output),
        "A_scale": None,
        "B_scale": ShapeOnly(FLOAT, *_scales(shape, gemm)) if weights != activations else None,
    }


def _scales(shape: Shape, gemm: Gemm) -> Sequence[int]:
    if shape.block:
        return shape.experts, -(-gemm.n // shape.block[0]), -(-gemm.k // shape.block[1])
    if shape.dtype == "int8_w8a16":
        return shape.experts, gemm.n
    return (shape.experts, gemm.n, 1) if shape.per_channel else (shape.experts,)


def _routing(kernel: Kernel) -> dict[str, ShapeOnly]:
    """Tokens sorted by expert and padded to whole tiles, as `moe_align_block_size` makes them."""
    shape, tile = kernel.shape, kernel.config.block_m
    padded = kernel.tokens * shape.top_k + (shape.experts + 1) * (tile - 1)
    return {
        "topk_weights": ShapeOnly(FLOAT, kernel.tokens, shape.top_k),
        "topk_ids": ShapeOnly(INT, kernel.tokens, shape.top_k),
        "sorted_token_ids": ShapeOnly(INT, padded),
        "expert_ids": ShapeOnly(INT, -(-padded // tile)),
        "num_tokens_post_padded": ShapeOnly(INT, 1),
    }
