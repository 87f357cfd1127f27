"""Finds a layer's thresholds by timing both backends on its own weights. What was found before, cache.py keeps."""

import logging
from typing import Any, Callable, Dict, List, Tuple

import torch

from sglang.srt.adaptive_moe import cache
from sglang.srt.adaptive_moe.choice import LARGE, NEVER, SMALL, Thresholds, told, unseen

logger = logging.getLogger(__name__)

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 8192)
ROUNDS, CALLS = 7, 4
"""Rounds a size, of which the median counts, and calls in a row a round."""
Rows = Dict[int, Dict[str, float]]
"""Milliseconds a call, by number of tokens and backend."""


def thresholds(layer: Any, config: Any) -> Thresholds:
    """In tokens; the first rank measures or remembers, and all ranks of its group take what it found."""
    from sglang.srt.distributed import get_tp_group

    key = cache.key(config, layer.w13_weight)
    name = cache.name(key)
    if name not in _AGREED:
        # Every rank meets the same shapes in the same order, so all of them are here together.
        group = get_tp_group()
        found = _found(key, layer, config) if group.rank_in_group == 0 else None
        _AGREED[name] = Thresholds(*(group.broadcast_object(found, src=0) if group.world_size > 1 else found))
        logger.info("Adaptive MoE %s: thresholds %s", name, told(_AGREED[name]))
    return _AGREED[name]


_AGREED: Dict[str, Thresholds] = {}
"""By shape and all else that counts: mostly all layers of a model have one."""


def _found(key: cache.Key, layer: Any, config: Any) -> Thresholds:
    times, where = cache.read(key), "from its cache"
    if not times:
        times, where = measured(layer, config), "measured now"
        cache.write(key, times)
    for mode, rows in times.items():
        row = ", ".join(f"{m}: {one[SMALL]:.3f}/{one[LARGE]:.3f}" for m, one in sorted(rows.items()))
        logger.info("Adaptive MoE, %s, milliseconds of %s/%s by tokens, %s: %s", mode, SMALL, LARGE, where, row)
    return Thresholds(**{mode: least_regret(rows) for mode, rows in times.items()})


def least_regret(times: Rows) -> int:
    """The threshold whose worst loss against the better backend, over all sizes, is least; of equals the largest."""
    sizes = sorted(times)
    places = [*sizes, NEVER]

    def regret(place: int) -> Tuple[float, float]:
        losses = [times[m][LARGE if m >= place else SMALL] / min(times[m].values()) - 1 for m in sizes]
        return max(losses), sum(losses)

    best = min(reversed(places), key=regret)
    # Below the smallest size that was measured nothing is known, and the first size is as good as one token.
    return 1 if best == sizes[0] else best


def measured(layer: Any, config: Any) -> cache.Times:
    """Both backends in turn, routing and experts together: eager calls that follow each other, and replayed graphs."""
    from sglang.srt.layers.moe.topk import TopK, TopKOutputFormat

    formats = {SMALL: TopKOutputFormat.STANDARD, LARGE: TopKOutputFormat.TRITON_KERNEL}
    routings = {name: TopK(top_k=config.top_k, output_format=one) for name, one in formats.items()}
    times: cache.Times = {mode: {} for mode in cache.MODES}
    with torch.inference_mode(), unseen():
        for tokens in SIZES:
            rows, logits = _batch(layer, config, tokens)
            calls = {name: _call(layer, routing, rows, logits) for name, routing in routings.items()}
            times["eager"][tokens], times["graph"][tokens] = in_turn(calls), replayed(calls)
    torch.cuda.empty_cache()
    return times


def _batch(layer: Any, config: Any, tokens: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Random rows and router logits; the same in every run."""
    weight = layer.w13_weight
    dice = torch.Generator(weight.device).manual_seed(tokens)
    draw = {"device": weight.device, "dtype": weight.dtype, "generator": dice}
    return torch.randn(tokens, config.hidden_size, **draw), torch.randn(tokens, config.num_experts, **draw)


def _call(layer: Any, routing: Any, rows: torch.Tensor, logits: torch.Tensor) -> Callable[[], Any]:
    # The rows are copied, since SGLang's runner may write into them.
    return lambda: layer.quant_method.apply(
        layer, layer.dispatcher.dispatch(hidden_states=rows.clone(), topk_output=routing(rows, logits))
    )


def replayed(calls: Dict[str, Callable[[], Any]]) -> Dict[str, float]:
    """As in_turn, of calls that were made before; the memory of their graphs is free again after it."""
    graphs = {name: captured(call) for name, call in calls.items()}
    return in_turn({name: graph.replay for name, graph in graphs.items()})


def captured(call: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    """A call that was made before, as a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        call()
    return graph


def in_turn(calls: Dict[str, Callable[[], Any]]) -> Dict[str, float]:
    """Median milliseconds a call; the backends take turns, so that a clock that drifts meets all of them."""
    rounds: Dict[str, List[float]] = {name: [] for name in calls}
    for call in (*calls.values(), *calls.values()):
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rounds[name].append(_timed(call))
    return {name: sorted(found)[len(found) // 2] for name, found in rounds.items()}


def _timed(call: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    call()
    start.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS

