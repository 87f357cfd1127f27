"""How a checkpoint's experts are quantised, and which kernel table that asks for. Reads no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FLOATS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
W8A8 = {"w8a8_int8": "int8_w8a8", "w8a8_fp8": "fp8_w8a8"}


@dataclass(frozen=True)
class Quantization:
    """`dtype` as in Shape; `block` for block-wise scales; `remark` where the table is not what one would expect."""

    dtype: str
    block: tuple[int, int] | None = None
    per_channel: bool = False
    remark: str = ""


def quantization(config: Any, torch_dtype: str) -> Quantization:
    """From config.json's quantization_config (or None) and torch_dtype. Raises ValueError where no table applies."""
    if not config:
        return Quantization(FLOATS.get(torch_dtype.removeprefix("torch."), "bf16"))
    method = config.get("quant_method") if isinstance(config, Mapping) else None
    if method == "fp8":
        return Quantization("fp8_w8a8", _block(config.get("weight_block_size")))
    if method == "compressed-tensors":
        return _compressed(config)
    if method in W8A8:
        return Quantization(W8A8[method], per_channel=True)
    if method == "mxfp4":
        return Quantization("bf16", remark="mxfp4 experts meet a table only with --moe-runner-backend triton, as bf16")
    raise ValueError(f"the kernels for {method or 'this'} quantization read no such table, as far as is known here")


def _compressed(config: Mapping[str, Any]) -> Quantization:
    """The first group stands for the experts."""
    groups = config.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping):
        raise ValueError("compressed-tensors without a group of weights")
    kind, bits = weights.get("type"), weights.get("num_bits")
    inputs = group.get("input_activations") if isinstance(group, Mapping) else None
    if bits != 8 or kind not in ("float", "int") or not inputs:
        raise ValueError(
            f"compressed-tensors with {bits}-bit {kind} weights alone is served by Marlin, without a table"
        )
    dtype = "fp8_w8a8" if kind == "float" else "int8_w8a8"
    block = _block(weights.get("block_structure")) if weights.get("strategy") == "block" else None
    return Quantization(dtype, block, per_channel=weights.get("strategy") == "channel")


def _block(value: Any) -> tuple[int, int] | None:
    if not value:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value):
        return value[0], value[1]
    raise ValueError(f"a block of {value!r} is not [N, K]")
