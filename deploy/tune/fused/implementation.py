"""Which implementations of the layer there are, and which of them apply to a shape and a batch size. Runs none."""

from __future__ import annotations

from deploy.kernels.memory import NARROW
from deploy.kernels.shape import BYTES, Shape

NAMES = ("sglang", "vllm", "triton_kernels", "torch_compile")
TITLES = {
    "sglang": "SGLang",
    "vllm": "vLLM",
    "triton_kernels": "triton_kernels",
    "torch_compile": "torch.compile",
}
PLAIN = ("bf16", "fp16")
"""Data types of weights that are not quantised."""
SHARE = 0.5
"""Of the memory beside the weights, what gathered weights may take: the compiled form keeps parts of them twice."""


def refusal(name: str, shape: Shape) -> str:
    """Why an implementation does not apply to this shape; empty where it does."""
    if name in ("sglang", "vllm") or shape.dtype in PLAIN:
        return ""
    if name == "torch_compile":
        return f"SGLang's form for torch.compile has no {shape.dtype}"
    return f"SGLang calls triton_kernels with 16-bit weights alone, not with {shape.dtype}"


def too_large(name: str, shape: Shape, tokens: int, memory: int) -> str:
    """Why an implementation has no room at this batch size, on a GPU with `memory` bytes; empty where it has."""
    if name != "torch_compile":
        return ""
    needed = tokens * shape.top_k * expert_bytes(shape)
    if needed <= SHARE * (memory - weight_bytes(shape, NAMES)):
        return ""
    return f"gathers every token's experts: {needed / 1e9:.1f} GB of weights at {tokens} tokens"


def expert_bytes(shape: Shape) -> int:
    """One expert's gate, up and down."""
    return 3 * shape.intermediate * shape.hidden * NARROW.get(shape.dtype, BYTES[shape.dtype])


def weight_bytes(shape: Shape, names: tuple[str, ...]) -> int:
    """The layer's weights; triton_kernels has its own copy, transposed as SGLang's loader does it."""
    twice = "triton_kernels" in names and not refusal("triton_kernels", shape)
    return shape.experts * expert_bytes(shape) * (2 if twice else 1)
