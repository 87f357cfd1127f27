"""Writes weights of the tiny model by which each token has one successor, which the draft mostly knows.

The engine's made-up weights give a model whose draft is never right, and whose answers never end. Here the residual
stream keeps the token's own embedding, since attention and experts add next to nothing, and the head maps it to the
successor. The MTP layer sees the same embedding, but takes some tokens for others: so it is wrong after these. Runs on
the GPU machine alone, as `python3 -m tests.gpu.weights MODEL`: it needs PyTorch and safetensors.
"""

from __future__ import annotations

import json
import random
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRONG = 0.3
"""Share of tokens that the draft takes for another."""
LITTLE = 0.002
SPACES = "ĠĊ"
"""A space and a line's end in a byte-level vocabulary."""


def walk(vocabulary: dict[str, int], size: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Each token's successor, and the token that the draft takes it for.

    The tokens with printable text follow each other in one circle; all others lead into it.
    """
    plain = set(string.printable) | set(SPACES)
    dice = random.Random(seed)
    circle = sorted(number for word, number in vocabulary.items() if set(word) <= plain and not word.startswith("<"))
    dice.shuffle(circle)
    following = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    after = [following.get(token, dice.choice(circle)) for token in range(size)]
    seen = [dice.choice(circle) if dice.random() < WRONG else token for token in range(size)]
    return after, seen


def tensors(config: dict[str, Any], after: list[int], seen: list[int]) -> Iterator[tuple[str, Any]]:
    """Every weight by its name in a checkpoint of GLM-4-MoE."""
    import torch

    torch.manual_seed(0)
    size, width = config["vocab_size"], config["hidden_size"]
    # Rows at right angles, each with the mean square that a norm leaves as it is.
    embedding = torch.linalg.qr(torch.randn(width, size))[0].T * width**0.5
    head = torch.zeros(size, width)
    head.index_add_(0, torch.tensor(after), embedding / width**0.5)
    yield "model.embed_tokens.weight", embedding
    yield "lm_head.weight", head
    yield "model.norm.weight", torch.ones(width)
    for layer in range(config["num_hidden_layers"] + 1):
        prefix = f"model.layers.{layer}."
        sparse = layer >= config["first_k_dense_replace"]
        for name, tensor in (*attention(config), *(experts(config) if sparse else dense(config))):
            yield prefix + name, tensor
    draft = embedding[seen].T @ embedding / width
    yield f"{prefix}eh_proj.weight", torch.cat((draft, torch.zeros(width, width)), dim=1)
    for name in ("enorm", "hnorm", "shared_head.norm"):
        yield f"{prefix}{name}.weight", torch.ones(width)


def attention(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """One layer's attention and norms."""
    import torch

    width, head = config["hidden_size"], config["head_dim"]
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"], "v": config["num_key_value_heads"]}
    for name, count in heads.items():
        yield f"self_attn.{name}_proj.weight", torch.randn(count * head, width) / width**0.5
        yield f"self_attn.{name}_proj.bias", torch.zeros(count * head)
    yield "self_attn.o_proj.weight", torch.randn(width, heads["q"] * head) * LITTLE
    for name, size in (("self_attn.q_norm", head), ("self_attn.k_norm", head)):
        yield f"{name}.weight", torch.ones(size)
    for name in ("input_layernorm", "post_attention_layernorm"):
        yield f"{name}.weight", torch.ones(width)


def feed_forward(prefix: str, width: int, inner: int) -> Iterator[tuple[str, Any]]:
    """One gated block of two layers."""
    import torch

    for name in ("gate_proj", "up_proj"):
        yield f"{prefix}{name}.weight", torch.randn(inner, width) / width**0.5
    yield f"{prefix}down_proj.weight", torch.randn(width, inner) * LITTLE


def dense(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The feed-forward part of a layer without experts."""
    yield from feed_forward("mlp.", config["hidden_size"], config["intermediate_size"])


def experts(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The router, every expert, and the one that all tokens share."""
    import torch

    width, inner = config["hidden_size"], config["moe_intermediate_size"]
    yield "mlp.gate.weight", torch.randn(config["n_routed_experts"], width) / width**0.5
    yield "mlp.gate.e_score_correction_bias", torch.zeros(config["n_routed_experts"])
    for number in range(config["n_routed_experts"]):
        yield from feed_forward(f"mlp.experts.{number}.", width, inner)
    yield from feed_forward("mlp.shared_experts.", width, inner * config["n_shared_experts"])


def main() -> None:
    """Write MODEL/model.safetensors, by MODEL's config and tokenizer."""
    import torch
    from safetensors.torch import save_file  # type: ignore[import-not-found]

    folder = Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    after, seen = walk(vocabulary, config["vocab_size"])
    made = {}
    for name, tensor in tensors(config, after, seen):
        exact = name.endswith("e_score_correction_bias")
        made[name] = tensor.to(torch.float32 if exact else torch.bfloat16).contiguous()
    save_file(made, str(folder / "model.safetensors"), {"format": "pt"})


if __name__ == "__main__":
    main()
