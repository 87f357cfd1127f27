"""What an adaptive layer shows beside both backends alone: right, as fast as the better, one copy of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sglang.srt.adaptive_moe import cache, choice  # type: ignore[import-not-found]

from tests.gpu import adaptive_layers as layers
from tests.gpu.adaptive_layers import Layer, Model, Tensor, batch
from tests.gpu.adaptive_time import captured, host_us, in_turn


@dataclass(frozen=True)
class Scene:
    """Of one model: the adaptive layer, and each backend alone in its own layout; what the profile settled on."""

    model: Model
    adaptive: Layer
    triton: Layer
    triton_kernels: Layer
    thresholds: choice.Thresholds


@torch.inference_mode()
def scene(model: Model) -> tuple[Scene, dict[str, Any]]:
    """The layers; and the memory of the adaptive one, taken while it was alone."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    adaptive = layers.build(model, "triton", "auto")
    layers.fill(adaptive)
    adaptive.moe.quant_method.process_weights_after_loading(adaptive.moe)
    found = choice.THRESHOLDS[(model.experts, model.hidden)]
    memory = _memory(model, adaptive, before)
    alone, other = layers.build(model, "triton"), layers.build(model, "triton_kernel")
    layers.transpose(adaptive, alone)
    layers.share(adaptive, other)
    torch.cuda.empty_cache()
    memory["activations"] = {name: _peak(model, one) for name, one in (("triton", alone), ("triton_kernels", other))}
    settled = {mode: "never" if one >= choice.NEVER else one for mode, one in found._asdict().items()}
    profile = cache.read(cache.key(adaptive.moe.quant_method.adaptive.config, adaptive.moe.w13_weight))
    return Scene(model, adaptive, alone, other, found), {"thresholds": settled, "memory": memory, "profile": profile}


def _memory(model: Model, adaptive: Layer, before: int) -> dict[str, Any]:
    """Bytes: of the weights, held after both backends ran, and at the peak of that."""
    activations = {}
    shape = (model.experts, model.hidden)
    for name, threshold in (("triton", choice.NEVER), ("triton_kernels", 1)):
        choice.THRESHOLDS[shape], old = choice.Thresholds(threshold, threshold), choice.THRESHOLDS[shape]
        activations[name] = _peak(model, adaptive)
        choice.THRESHOLDS[shape] = old
    held = torch.cuda.memory_allocated() - before
    return {"weights": layers.bytes_of(adaptive), "held": held, "adaptive": activations}


def _peak(model: Model, layer: Layer, tokens: int = 8192) -> int:
    """Bytes above what is held before, at the peak of one call."""
    rows, logits = batch(model, tokens)
    layer(rows, logits)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    layer(rows, logits)
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


@torch.inference_mode()
def size(one: Scene, tokens: int) -> dict[str, Any]:
    """Errors, times without a graph and as one, and what the adaptive layer chose there."""
    rows, logits = batch(one.model, tokens)
    wanted = layers.reference(one.model, one.triton, rows, logits)
    ways = {"triton": one.triton, "triton_kernels": one.triton_kernels, "adaptive": one.adaptive}
    calls = {name: (lambda layer=layer: layer(rows, logits)) for name, layer in ways.items()}
    calls["triton on the view"] = lambda: _forced(one, choice.NEVER, rows, logits)
    found = {name: _error(call(), wanted) for name, call in calls.items()}
    # Ways twice: how far two medians of the same thing lie apart. Not the view at the largest sizes, where it is slow.
    again = {f"{name} again": calls[name] for name in ("triton", "triton_kernels")}
    timed = {name: call for name, call in calls.items() if tokens < 4096 or name != "triton on the view"}
    row = {"tokens": tokens, "chosen": _chosen(one.adaptive, rows, logits), "errors": found}
    return row | {"eager": in_turn(timed | again, seconds=1)} | _graphs(timed, again, one, (rows, logits), wanted)


def _forced(one: Scene, threshold: int, rows: Tensor, logits: Tensor) -> Tensor:
    """The adaptive layer with another threshold than its own."""
    shape = (one.model.experts, one.model.hidden)
    choice.THRESHOLDS[shape], old = choice.Thresholds(threshold, threshold), choice.THRESHOLDS[shape]
    try:
        return one.adaptive(rows, logits)
    finally:
        choice.THRESHOLDS[shape] = old


def _error(out: Tensor, wanted: Tensor) -> dict[str, float]:
    """Against the float32 reference: of the norm, and the greatest over the greatest value."""
    difference = out.float() - wanted
    worst = (difference.abs().max() / wanted.abs().max()).item()
    return {"norm": round((difference.norm() / wanted.norm()).item(), 6), "greatest": round(worst, 6)}


def _chosen(layer: Layer, rows: Tensor, logits: Tensor) -> str:
    large = layer.routing(rows, logits).format.is_triton_kernels()
    return str(choice.LARGE if large else choice.SMALL)


def _graphs(calls: Any, again: Any, one: Scene, given: tuple[Tensor, Tensor], wanted: Tensor) -> dict[str, Any]:
    """As CUDA graphs: the times, whether the adaptive one computes right, and whether capture was counted."""
    graphs = {name: captured(call) for name, call in (calls | again).items() if name != "adaptive"}
    counted = dict(choice.CALLS)
    graphs["adaptive"] = captured(calls["adaptive"])
    eager = 2  # captured() calls twice before it captures
    new = {name: choice.CALLS[name] - counted[name] for name in counted}
    graph, out = graphs["adaptive"]
    graph.replay()
    torch.cuda.synchronize()
    places = {"triton": choice.NEVER, "triton_kernels": 1}
    fits = {name: torch.equal(out, _forced(one, place, *given)) for name, place in places.items()}
    times = in_turn({name: graph.replay for name, (graph, _) in graphs.items()})
    shown = {"error": _error(out, wanted), "equals": fits, "counted": new, "eager_calls": eager}
    return {"graph": times, "adaptive_graph": shown}


@torch.inference_mode()
def selection(one: Scene, tokens: int = 8) -> dict[str, Any]:
    """Microseconds of host time: a call with each backend, stock and chosen, and the parts of the choice alone."""
    rows, logits = batch(one.model, tokens)
    shape = (one.model.experts, one.model.hidden)
    found: dict[str, Any] = {}
    for name, threshold in (("triton", choice.NEVER), ("triton_kernels", 1)):
        choice.THRESHOLDS[shape] = choice.Thresholds(threshold, threshold)
        stock = getattr(one, name)
        calls = {"stock": stock, "adaptive": one.adaptive, "stock again": stock}
        found[name] = host_us({way: (lambda layer=layer: layer(rows, logits)) for way, layer in calls.items()}, 20)
    choice.THRESHOLDS[shape] = one.thresholds
    return found | {"parts": _parts(one, rows, logits)}


def _parts(one: Scene, rows: Tensor, logits: Tensor) -> dict[str, float]:
    """What a call does more than stock: look the threshold up, count, and fetch the weights."""
    own = one.adaptive.moe.quant_method.adaptive
    calls = {
        "takes_large": lambda: choice.takes_large(rows, logits),
        "called": lambda: own.log.called(choice.SMALL, rows.shape[0]),
        "weights": lambda: own._weights(one.adaptive.moe),
        "nothing": lambda: None,
    }
    return host_us(calls, 2000)
