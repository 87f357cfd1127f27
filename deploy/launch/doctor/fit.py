"""What fits: weights, KV cache and reserves of a rank against its free memory. Pure arithmetic on flags and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.cluster.spec import Cluster
from deploy.launch.doctor.check import Check, bad, good, skipped
from deploy.launch.doctor.seen import Case, Seen, Snapshot
from deploy.launch.node import gib
from deploy.launch.sglang import server_flags

MIB = 1 << 20
BYTES = {"fp8_e5m2": 1.0, "fp8_e4m3": 1.0, "bf16": 2.0, "bfloat16": 2.0, "float16": 2.0, "float32": 4.0}
CHUNK, GRAPHS = 8192, (256, 512)
"""SGLang's defaults for a GPU of 60 to 160 GB: tokens of a prefill; batch of the largest graph, below tp 4 and not."""
LEAST_RESERVE, DRAFT_RESERVE = 10240, 2048


class UnknownFitError(ValueError):
    """Flags or a model whose memory this arithmetic does not cover."""


@dataclass(frozen=True)
class Fit:
    """One rank's memory, in bytes; `tokens` is what its KV cache holds, for all requests together.

    `largest_context` is for as many requests as the flags allow at once, `largest_requests` for their context.
    """

    available: int
    weights: int
    reserve: int
    kv_per_token: int
    tokens: int
    context: int
    requests: int

    @property
    def largest_context(self) -> int:
        return max(0, self.tokens // self.requests)

    @property
    def largest_requests(self) -> int:
        return max(0, self.tokens // self.context)


def fits(cluster: Cluster, model: Snapshot, available: int, total: int) -> Fit:
    """What fits into `available` of `total` bytes of a rank's memory. Raises UnknownFitError."""
    flags = _plain(cluster)
    ranks = _int(flags, 1, "tp") * _int(flags, 1, "pp-size")
    config = _text(model.config or {})
    weights, per_token = model.size // ranks, kv_per_token(flags, config)
    fraction = flags.get("mem-fraction-static") or round(1 - reserve(flags) * MIB / total, 3)
    tokens = int((available * float(fraction) - weights) // per_token)
    capped = min(tokens, _int(flags, tokens, "max-total-tokens"))
    context = _int(flags, _int(config, 0, "max_position_embeddings"), "context-length")
    if not context:
        raise UnknownFitError("no context length is known")
    requests = _int(flags, 48, "max-running-requests")
    kept = int(available * (1 - float(fraction)))
    return Fit(available, weights, kept, per_token, max(0, capped), context, requests)


def _plain(cluster: Cluster) -> Mapping[str, Any]:
    flags = server_flags(cluster)
    strange = [name for name in ("dp-size", "enable-dp-attention", "quantization", "cpu-offload-gb") if name in flags]
    if strange:
        raise UnknownFitError(f"not reckoned with {', '.join(strange)}")
    return flags


def reserve(flags: Mapping[str, Any]) -> float:
    """MiB that SGLang 0.5.4 leaves to activations, graphs and the draft on a GPU of more than 60 GB."""
    tp, pp = _int(flags, 1, "tp"), _int(flags, 1, "pp-size")
    chunk = max(_int(flags, CHUNK, "chunked-prefill-size"), 2048)
    graphs = _int(flags, GRAPHS[tp >= 4], "cuda-graph-max-bs")
    kept = max(512 + 1.5 * chunk + 2 * graphs + tp * pp / 8 * 1024, LEAST_RESERVE)
    return kept + (DRAFT_RESERVE if flags.get("speculative-algorithm") else 0)


def kv_per_token(flags: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Bytes a token and rank: keys and values of every layer, the draft's layers among them. Raises UnknownFitError."""
    if "kv_lora_rank" in config:
        raise UnknownFitError("a model with latent attention is not reckoned")
    layers, heads = _int(config, 0, "num_hidden_layers"), _int(config, 0, "num_attention_heads")
    shared = _int(config, heads, "num_key_value_heads")
    width = _int(config, _int(config, 0, "hidden_size") // heads if heads else 0, "head_dim")
    if not (layers and shared and width):
        raise UnknownFitError("config.json does not tell layers, KV heads and their size")
    drafted = str(flags.get("speculative-algorithm", "")) in ("EAGLE", "NEXTN")
    layers += _int(config, 1, "num_nextn_predict_layers") if drafted else 0
    here = max(1, shared // _int(flags, 1, "tp"))
    return int(2 * here * width * _width(flags, config) * layers // _int(flags, 1, "pp-size"))


def _width(flags: Mapping[str, Any], config: Mapping[str, Any]) -> float:
    asked = str(flags.get("kv-cache-dtype", "auto"))
    kind = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16") if asked == "auto" else asked
    if kind not in BYTES:
        raise UnknownFitError(f"the size of {kind} in the KV cache is not known here")
    return BYTES[kind]


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a larger configuration."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def _int(values: Mapping[str, Any], default: int, name: str) -> int:
    found = values.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else default


def fit_of(case: Case) -> Fit:
    """The rank with the least memory decides, as in SGLang. Raises UnknownFitError that says why nothing is known."""
    if any(node.busy for node in case.nodes.values()):
        raise UnknownFitError("ranks of this cluster run already, and use the memory")
    models = [node.model for node in case.nodes.values() if node.model.folder and not node.model.flaws]
    if not models:
        raise UnknownFitError("no node has the whole model, so its size is not known")
    each = _per_node(case.cluster)
    least = min(case.nodes.values(), key=lambda node: node.facts.memory_available)
    total = least.memory.get("MemTotal") or least.facts.memory_available
    return fits(case.cluster, models[0], least.facts.memory_available // each, total // each)


def _per_node(cluster: Cluster) -> int:
    flags = server_flags(cluster)
    return max(1, _int(flags, 1, "tp") * _int(flags, 1, "pp-size") // len(cluster.nodes))


def memory(case: Case) -> Iterator[Check]:
    shared = all(_unified(node) for node in case.nodes.values())
    for rank in case.nodes:
        try:
            if not shared:
                raise UnknownFitError("the GPUs have memory of their own, which is not reckoned")
            yield _judged(rank, fit_of(case))
        except UnknownFitError as error:
            yield skipped("fit.memory", rank, str(error))


def _unified(node: Seen) -> bool:
    """A GB10 shares the machine's memory."""
    return all("GB10" in name for name in node.facts.gpus)


def _judged(rank: int, fit: Fit) -> Check:
    parts = f"{gib(fit.weights)} weights and {gib(fit.reserve)} reserve of {gib(fit.available)} a rank"
    if not fit.tokens:
        least = gib(fit.weights + fit.reserve + fit.kv_per_token * fit.context)
        return bad("fit.memory", rank, f"{parts} leave nothing for the KV cache", f"{least} for one full context")
    seen = f"{parts} leave {fit.tokens:,} tokens of KV cache at {fit.kv_per_token:,} bytes: {_largest(fit)}"
    if fit.tokens < fit.context:
        return bad("fit.memory", rank, seen, f"{fit.context:,} tokens for one request (context-length)")
    return good("fit.memory", rank, seen)


def _largest(fit: Fit) -> str:
    requests, context = min(fit.largest_requests, fit.requests), min(fit.largest_context, fit.context)
    if fit.tokens >= fit.context * fit.requests:
        return f"all {fit.requests} requests with the whole context of {fit.context:,}"
    return f"{requests} requests of {fit.context:,} tokens at once, or {fit.requests} of {context:,}; the others wait"
