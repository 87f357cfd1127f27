"""Small models with real weights, as their checkpoints have them: a Mixtral, a Qwen3-MoE and a gpt-oss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 512
LAYERS = 2
COMMON = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": LAYERS,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MIXTRAL = COMMON | {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_size": 2048,
    "intermediate_size": 3584,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "hidden_act": "silu",
    "rope_theta": 1e6,
    "sliding_window": None,
}
QWEN = COMMON | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 768,
    "moe_intermediate_size": 768,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 32,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "hidden_act": "silu",
    "attention_bias": False,
    "rope_theta": 1e6,
}
OSS = COMMON | {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "hidden_size": 1440,
    "intermediate_size": 1440,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "hidden_act": "silu",
    "swiglu_limit": 7.0,
    "attention_bias": True,
    "attention_dropout": 0.0,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"],
    "rope_theta": 150000,
    "rope_scaling": None,
    "pad_token_id": 0,
}
MODELS = {"mixtral": MIXTRAL, "qwen3-moe": QWEN, "gpt-oss": OSS}
Tensor = tuple[str, tuple[int, ...], float | None]
"""Name, shape and standard deviation of a weight; of a norm None: it is all ones."""


def make(folder: Path, config: dict[str, Any]) -> Path:
    """Write the config and, on the GPU's host, random weights that keep activations of one size."""
    import torch
    from safetensors.torch import save_file  # type: ignore[import-not-found]

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    dice = torch.Generator().manual_seed(1)
    weights = {}
    for name, shape, std in tensors(config):
        weights[name] = torch.ones(shape) if std is None else torch.randn(shape, generator=dice) * std
    save_file({name: one.bfloat16() for name, one in weights.items()}, folder / "model.safetensors")
    return folder


def tensors(config: dict[str, Any]) -> Iterator[Tensor]:
    """Every weight as the model's checkpoint has it."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", (vocabulary, hidden), 1.0
    # Large enough that some tokens are clearly likelier than others.
    yield "lm_head.weight", (vocabulary, hidden), 2 * hidden**-0.5
    yield "model.norm.weight", (hidden,), None
    for at in range(config["num_hidden_layers"]):
        layer = f"model.layers.{at}"
        yield f"{layer}.input_layernorm.weight", (hidden,), None
        yield f"{layer}.post_attention_layernorm.weight", (hidden,), None
        for name, shape, std in (*_attention(config), *_experts(config)):
            yield f"{layer}.{name}", shape, std


def _attention(config: dict[str, Any]) -> Iterator[Tensor]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    wide, narrow = (config["head_dim"] * config[f"num_{kind}_heads"] for kind in ("attention", "key_value"))
    for name, rows, columns in (("q", wide, hidden), ("k", narrow, hidden), ("v", narrow, hidden), ("o", hidden, wide)):
        yield f"self_attn.{name}_proj.weight", (rows, columns), columns**-0.5
        if config.get("attention_bias"):
            yield f"self_attn.{name}_proj.bias", (rows,), 0.1
    if config["model_type"] == "gpt_oss":
        yield "self_attn.sinks", (heads,), 1.0
    if config["model_type"] == "qwen3_moe":
        yield "self_attn.q_norm.weight", (config["head_dim"],), None
        yield "self_attn.k_norm.weight", (config["head_dim"],), None


def _experts(config: dict[str, Any]) -> Iterator[Tensor]:
    if config["model_type"] == "gpt_oss":
        yield from _fused(config)
        return
    mixtral = config["model_type"] == "mixtral"
    block, names = ("block_sparse_moe", "w1 w3 w2") if mixtral else ("mlp", "gate_proj up_proj down_proj")
    experts = config["num_local_experts" if mixtral else "num_experts"]
    hidden, inner = config["hidden_size"], config["intermediate_size" if mixtral else "moe_intermediate_size"]
    yield f"{block}.gate.weight", (experts, hidden), hidden**-0.5
    shapes = ((inner, hidden), (inner, hidden), (hidden, inner))
    for at in range(experts):
        for name, shape in zip(names.split(), shapes, strict=True):
            yield f"{block}.experts.{at}.{name}.weight", shape, shape[1] ** -0.5


def _fused(config: dict[str, Any]) -> Iterator[Tensor]:
    hidden, inner, experts = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    yield "mlp.router.weight", (experts, hidden), hidden**-0.5
    yield "mlp.router.bias", (experts,), 0.1
    yield "mlp.experts.gate_up_proj", (experts, hidden, 2 * inner), hidden**-0.5
    yield "mlp.experts.gate_up_proj_bias", (experts, 2 * inner), 0.1
    yield "mlp.experts.down_proj", (experts, inner, hidden), inner**-0.5
    yield "mlp.experts.down_proj_bias", (experts, hidden), 0.1
