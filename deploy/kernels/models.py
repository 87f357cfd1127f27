"""From a Hugging Face config.json to the shape of one rank's experts. Reads no file and downloads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.kernels.quantization import Quantization, quantization
from deploy.kernels.rules import Rules
from deploy.kernels.shape import Shape


class ModelError(ValueError):
    """A model whose shape is not known from its configuration; `hint` says what to pass by hand."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or BY_HAND


BY_HAND = "pass the shape by hand: --experts E --intermediate N --hidden K --top-k T [--dtype ...]"


@dataclass(frozen=True)
class Family:
    """Where an architecture's config.json says it; the first name that is there is taken. Dots go down a level."""

    experts: tuple[str, ...]
    intermediate: tuple[str, ...] = ("moe_intermediate_size",)
    top_k: tuple[str, ...] = ("num_experts_per_tok",)
    hidden: tuple[str, ...] = ("hidden_size",)
    section: str = ""
    """Where the language model's part of a larger configuration is."""


_DEEPSEEK = Family(("n_routed_experts",))
_QWEN = Family(("num_experts",))
_MIXTRAL = Family(("num_local_experts",), ("intermediate_size",))
FAMILIES = {
    "MixtralForCausalLM": _MIXTRAL,
    "MiniMaxM2ForCausalLM": _MIXTRAL,
    "Qwen2MoeForCausalLM": _QWEN,
    "Qwen3MoeForCausalLM": _QWEN,
    "Qwen3NextForCausalLM": _QWEN,
    "Qwen3VLMoeForConditionalGeneration": replace(_QWEN, section="text_config"),
    "Qwen3OmniMoeForConditionalGeneration": replace(_QWEN, section="thinker_config.text_config"),
    "DeepseekV2ForCausalLM": _DEEPSEEK,
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": _DEEPSEEK,
    "Glm4MoeForCausalLM": _DEEPSEEK,
    "Glm4vMoeForConditionalGeneration": replace(_DEEPSEEK, section="text_config"),
    "Llama4ForCausalLM": _MIXTRAL,
    "Llama4ForConditionalGeneration": replace(_MIXTRAL, section="text_config"),
    "DbrxForCausalLM": Family(
        ("ffn_config.moe_num_experts",), ("ffn_config.ffn_hidden_size",), ("ffn_config.moe_top_k",), ("d_model",)
    ),
    "JambaForCausalLM": Family(("num_experts",), ("intermediate_size",)),
    "Grok1ForCausalLM": Family(("num_local_experts",), ("moe_intermediate_size", "intermediate_size")),
    "Grok1ModelForCausalLM": Family(("num_local_experts",), ("moe_intermediate_size", "intermediate_size")),
    "BailingMoeForCausalLM": _QWEN,
    "BailingMoeV2ForCausalLM": _QWEN,
    "GptOssForCausalLM": replace(_MIXTRAL, top_k=("num_experts_per_tok", "experts_per_token")),
}


@dataclass(frozen=True)
class Split:
    """How a server spreads the experts: `tp` ranks, of which `ep` share them out whole."""

    tp: int = 1
    ep: int = 1
    fuse_shared: bool = True
    """False with --disable-shared-experts-fusion."""


@dataclass(frozen=True)
class Model:
    """What a config.json says of a model's experts, before they are split."""

    architecture: str
    experts: int
    intermediate: int
    hidden: int
    top_k: int
    shared: int
    quantization: Quantization

    def shape(self, split: Split, rules: Rules) -> Shape:
        """One rank's share, as this SGLang serves it. Raises ModelError where it cannot be split so."""
        fused = self.shared if self._fuses(split, rules) else 0
        if split.tp % split.ep or self.experts % split.ep:
            raise ModelError(f"{self.experts} experts on {split.tp} ranks cannot be shared out {split.ep} ways")
        parts = split.tp // split.ep
        if self.intermediate % parts:
            raise ModelError(f"an intermediate size of {self.intermediate} cannot be cut into {parts} equal parts")
        kind = self.quantization
        experts, size = self.experts // split.ep + fused, self.intermediate // parts
        return Shape(experts, size, self.hidden, self.top_k + fused, kind.dtype, kind.block, kind.per_channel)

    def _fuses(self, split: Split, rules: Rules) -> bool:
        """One shared expert of the routed ones' size becomes one more of them; SGLang does so under TP alone."""
        if not split.fuse_shared or split.ep > 1 or self.shared != 1:
            return False
        if self.architecture == "DeepseekV3ForCausalLM" and self.experts != 256:
            return False
        return self.architecture in rules.fused_shared_experts


def model(config: Mapping[str, Any]) -> Model:
    """The experts that a config.json describes. Raises ModelError, naming what is unknown or missing."""
    architecture = _architecture(config)
    family = FAMILIES.get(architecture)
    if family is None and "expert" not in str(config):
        raise ModelError(f"{architecture}: this model has no experts, so no kernel table serves it")
    if family is None:
        raise ModelError(f"the architecture {architecture} is not known here")
    part = _down(config, family.section) if family.section else config
    if not isinstance(part, Mapping):
        raise ModelError(f"{architecture}: the configuration has no {family.section}")
    shared = part.get("n_shared_experts")
    plain = config.get("quantization_config") or part.get("quantization_config")
    try:
        kind = quantization(plain, _torch_dtype(part, config))
    except ValueError as error:
        raise ModelError(str(error), "pass --dtype, and --block N,K or --per-channel") from None
    return Model(
        architecture,
        experts=_number(part, family.experts, architecture),
        intermediate=_number(part, family.intermediate, architecture),
        hidden=_number(part, family.hidden, architecture),
        top_k=_number(part, family.top_k, architecture),
        shared=shared if isinstance(shared, int) else 0,
        quantization=kind,
    )


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise ModelError("the configuration names no architecture")
    return names[0]


def _torch_dtype(part: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Newer files call it dtype."""
    named = (one.get(key) for one in (part, config) for key in ("torch_dtype", "dtype"))
    return str(next(filter(None, named), "bfloat16"))


def _number(part: Mapping[str, Any], names: tuple[str, ...], architecture: str) -> int:
    for name in names:
        found = _down(part, name)
        if isinstance(found, int) and not isinstance(found, bool) and found > 0:
            return found
    raise ModelError(f"{architecture}: the configuration has no {' or '.join(names)}")


def _down(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
