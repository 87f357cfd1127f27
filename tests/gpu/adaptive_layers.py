"""MoE layers of one patched SGLang tree on this GPU: adaptive, and each backend alone in its own layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor
ALPHA, LIMIT = 1.702, 7.0


@dataclass(frozen=True)
class Model:
    """One MoE layer of a model, as one rank holds it; `oss`: biases and gpt-oss's gated activation."""

    name: str
    experts: int
    top_k: int
    hidden: int
    intermediate: int
    oss: bool


MODELS = (
    Model("gpt-oss-120b", 128, 4, 2880, 2880, True),
    Model("Mixtral-8x7B", 8, 2, 4096, 14336, False),
    Model("gpt-oss-120b TP=8", 128, 4, 2880, 360, True),
)


@dataclass(frozen=True)
class Layer:
    """A layer with its routing; called with rows and router logits."""

    moe: Any
    routing: Any

    def __call__(self, rows: Tensor, logits: Tensor) -> Tensor:
        result: Tensor = self.moe(rows, self.routing(rows, logits))
        return result


def build(model: Model, backend: str, threshold: int | str | None = None) -> Layer:
    """An empty layer on the GPU: of `triton` or `triton_kernel` alone, or adaptive where a threshold is given."""
    from sglang.srt.layers.moe import fused_moe_triton, utils  # type: ignore[import-not-found]
    from sglang.srt.layers.moe.topk import TopK, TopKOutputFormat  # type: ignore[import-not-found]
    from sglang.srt.server_args import get_global_server_args  # type: ignore[import-not-found]

    args = get_global_server_args()
    args.enable_adaptive_moe, args.adaptive_moe_batch_threshold = threshold is not None, threshold
    utils.MOE_RUNNER_BACKEND = utils.MoeRunnerBackend(backend)
    swiglu = {"gemm1_alpha": ALPHA, "gemm1_clamp_limit": LIMIT, "with_bias": True} if model.oss else {}
    with torch.device("cuda"):
        moe = fused_moe_triton.FusedMoE(
            model.experts, model.hidden, model.intermediate, layer_id=0, top_k=model.top_k,
            params_dtype=torch.bfloat16, inplace=False, **swiglu,
        )  # fmt: skip
    # What a server with the flag has, or with triton alone; a layer keeps what it was built with.
    utils.MOE_RUNNER_BACKEND = utils.MoeRunnerBackend.TRITON
    form = TopKOutputFormat.TRITON_KERNEL if backend == "triton_kernel" else None
    return Layer(moe, TopK(top_k=model.top_k, output_format=form))


def batch(model: Model, tokens: int) -> tuple[Tensor, Tensor]:
    """Random rows and router logits, the same in every run."""
    dice = torch.Generator("cuda").manual_seed(tokens)
    draw = {"device": "cuda", "dtype": torch.bfloat16, "generator": dice}
    return torch.randn(tokens, model.hidden, **draw), torch.randn(tokens, model.experts, **draw)


def fill(layer: Layer) -> None:
    """Random weights, so that outputs are about as large as the rows."""
    dice = torch.Generator("cuda").manual_seed(1)
    for name in ("w13_weight", "w2_weight"):
        weight = getattr(layer.moe, name).data
        for expert in weight:
            # [K, N], as triton_kernels has them.
            expert.normal_(std=expert.shape[0] ** -0.5, generator=dice)
        bias = getattr(layer.moe, f"{name}_bias", None)
        if bias is not None:
            bias.data.normal_(std=0.1, generator=dice)


def share(source: Layer, target: Layer) -> None:
    """The same storage in both; both are of one layout."""
    for name, value in source.moe.named_parameters():
        getattr(target.moe, name).data = value.data


def transpose(source: Layer, target: Layer) -> None:
    """A copy of the weights in the other layout, expert by expert; biases are shared."""
    for name, value in source.moe.named_parameters():
        place = getattr(target.moe, name)
        if value.dim() < 3:
            place.data = value.data
            continue
        for old, new in zip(value.data, place.data, strict=True):
            new.copy_(old.T)


def bytes_of(layer: Layer) -> int:
    """Of all parameters."""
    return sum(value.untyped_storage().nbytes() for value in layer.moe.parameters())


def reference(model: Model, layer: Layer, rows: Tensor, logits: Tensor) -> Tensor:
    """The same in float32 by plain arithmetic, expert by expert; the weights in SGLang's own layout."""
    scores, chosen = logits.float().topk(model.top_k)
    scores = scores.softmax(-1)
    out = torch.zeros(rows.shape[0], model.hidden, device=rows.device)
    for expert in range(model.experts):
        where, place = (chosen == expert).nonzero(as_tuple=True)
        if where.numel():
            part = _expert(model, layer.moe, expert, rows[where].float())
            out.index_add_(0, where, part * scores[where, place].unsqueeze(1))
    return out


def _expert(model: Model, moe: Any, expert: int, rows: Tensor) -> Tensor:
    up = rows @ moe.w13_weight[expert].float().T
    if not model.oss:
        gate, linear = up.chunk(2, -1)
        return (torch.nn.functional.silu(gate) * linear) @ moe.w2_weight[expert].float().T
    up = up + moe.w13_weight_bias[expert]
    gate, linear = up[:, ::2].clamp(max=LIMIT), up[:, 1::2].clamp(-LIMIT, LIMIT)
    hidden = gate * torch.sigmoid(ALPHA * gate) * (linear + 1)
    return hidden @ moe.w2_weight[expert].float().T + moe.w2_weight_bias[expert]
