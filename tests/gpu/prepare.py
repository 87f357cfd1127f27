"""Unpacks the real SGLang and makes a tiny GLM-4-MoE with an MTP layer; its weights are made up by the engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from hashlib import sha512
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>",
    "<|user|>",
    "<|assistant|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
)
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
CONFIG = {
    "architectures": ["Glm4MoeForCausalLM"],
    "model_type": "glm4_moe",
    "vocab_size": 512,
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "moe_intermediate_size": 512,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 1,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "attention_bias": True,
    "attention_dropout": 0.0,
    "use_qk_norm": True,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "num_experts_per_tok": 4,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "partial_rotary_factor": 0.5,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def unpack(archive: Path, site: Path) -> None:
    """Lay the archive out as a folder for PYTHONPATH."""
    site.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-C", str(site), "-xJf", str(archive)], check=True)
    # The machine's own tokenizers may be newer than this transformers admits; it works.
    check = site / "transformers" / "dependency_versions_check.py"
    check.write_text("def dep_version_check(*names, **hints):\n    return None\n")


def make_model(folder: Path, tokenizer: Callable[[], Any] | None = None) -> None:
    """Write the config, a tokenizer (by default a byte-level one) and a chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    (tokenizer or make_tokenizer)().save(str(folder / "tokenizer.json"))
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[0], "pad_token": SPECIAL[0]}
    files = {
        "config.json": CONFIG,
        "generation_config.json": {"eos_token_id": 0},
        "tokenizer_config.json": tokens | {"chat_template": TEMPLATE},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))


def make_tokenizer(texts: Sequence[str] = ("hello world, four sparks make one server",) * 50, size: int = 400) -> Any:
    """A tokenizer of 256 bytes, the special tokens of GLM-4.7 and what can be merged in these texts."""
    # on the GPU machine only
    from tokenizers import (  # type: ignore[import-not-found]
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def make_words() -> Any:
    """A tokenizer whose every token is a long word: whatever a model without sense says is text, and no tool call.

    Such a model soon says one token, or a few, over and over; it is not the text that is put to the test with it.
    """
    # on the GPU machine only
    from tokenizers import Tokenizer, models, pre_tokenizers

    size = int(str(CONFIG["vocab_size"]))
    words = [SPECIAL[0], "<|unknown|>", *(sha512(bytes([n % 256, n // 256])).hexdigest() for n in range(2, size))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([words[0]])
    return tokenizer
