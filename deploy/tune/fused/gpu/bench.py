"""One rank's fused MoE layer on this machine's GPU, by each implementation: how far from float32, and how long.

Every call of a CUDA graph takes another routing, and other copies of the weights where the cache could hold them all.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy.tune.fused.gpu import reference
from deploy.tune.fused.gpu.layers import LAYERS, Experts, Layer, Told, Turn
from deploy.tune.fused.gpu.operators import Operators
from deploy.tune.gpu import routing, tensors
from deploy.tune.gpu.ceilings import facts
from deploy.tune.gpu.pace import Chores, replayed
from deploy.tune.problem import Problem

COLD = 4
"""How often what the calls of a graph read would fill the cache."""
MOST_TURNS, LEAST_TURNS, MOST_COPIES = 16, 2, 8
WARM = 2
"""Calls before a graph is captured: kernels are compiled by then, and autotuned."""
OUT = -30.0
"""The logit of an expert that was not drawn."""


class Bench:
    """`folders` may be given until an implementation is first asked: what holds its package, by its name, where that is
    not the installed one."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.shape = problem, problem.shape
        self.folders: dict[str, Path] = {}
        self.operators = Operators()
        torch.manual_seed(0)
        self._layers: dict[str, tuple[Layer, Any]] = {}
        self._graphs: dict[tuple[str, int], torch.cuda.CUDAGraph] = {}
        self._turns: tuple[int, tuple[Turn, ...]] = (0, ())
        self._wanted: Tensor | None = None
        self._recording = self._recorded()

    def _recorded(self) -> routing.Recording | None:
        if not self.problem.recorded:
            return None
        return routing.Recording(Path(self.problem.recorded), self.shape.experts, self.shape.top_k)

    def facts(self) -> dict[str, Any]:
        """The GPU, its software and ceilings, and whose operators stand between the products."""
        return {**facts(tensors.compute_dtype(self.shape)), "operators": self.operators.name, "memory": memory()}

    def layer(self, name: str) -> Layer:
        """An implementation, loaded once."""
        return self._loaded(name)[0]

    def _loaded(self, name: str) -> tuple[Layer, Any]:
        if name not in self._layers:
            told = Told(self.shape, self.problem.filter_expert, self.folders.get(name), self.operators)
            self._layers[name] = LAYERS[name](told)
        return self._layers[name]

    @cached_property
    def copies(self) -> tuple[Experts, ...]:
        """So many layers' weights that the cache does not hold them all."""
        first = self._experts()
        size = first.up.values.nbytes + first.down.values.nbytes
        more = min(-(-COLD * cache_bytes() // size), MOST_COPIES) - 1
        return (first, *(self._experts() for _ in range(more)))

    def _experts(self) -> Experts:
        """16-bit weights are scaled so that no product leaves the range of float16."""
        made = []
        for gemm in self.shape.gemms:
            weights = tensors.weights(self.shape, gemm)
            if weights.scales is None:
                weights.values.mul_(gemm.k**-0.5)
            made.append(weights)
        return Experts(*made)

    def turns(self, tokens: int) -> tuple[Turn, ...]:
        """The calls that take turns at this batch size; those of another size are let go."""
        if self._turns[0] != tokens:
            self._graphs.clear()
            self._wanted = None
            self._turns = (tokens, self._made(tokens))
        return self._turns[1]

    def _made(self, tokens: int) -> tuple[Turn, ...]:
        shape, copies = self.shape, self.copies
        dtype = tensors.compute_dtype(shape)
        hidden = torch.randn(tokens, shape.hidden, device=tensors.DEVICE, dtype=dtype)
        size = copies[0].up.values.nbytes + copies[0].down.values.nbytes
        touched = min(tokens * shape.top_k, shape.experts) / shape.experts * size
        count = min(max(int(-(-COLD * cache_bytes() // touched)), LEAST_TURNS), MOST_TURNS)
        return tuple(Turn(copies[at % len(copies)], hidden, self._logits(tokens).to(dtype)) for at in range(count))

    def _logits(self, tokens: int) -> Tensor:
        """A router's, which chooses the experts that were drawn or recorded."""
        shape = self.shape
        if self._recording:
            drawn = self._recording.draw(tokens).ids
        else:
            drawn = routing.random(tokens, shape.experts, shape.top_k, self.problem.skew).ids
        logits = torch.full((tokens, shape.experts), OUT, device=tensors.DEVICE)
        return logits.scatter_(1, drawn.long(), torch.randn(drawn.shape, device=tensors.DEVICE))

    def error(self, name: str, tokens: int) -> float:
        """The greatest relative error of a token's row against float32, see reference.distance."""
        turn = self.turns(tokens)[0]
        if self._wanted is None:
            self._wanted = reference.expected(self.shape, turn)
        return reference.distance(self.layer(name)(turn), self._wanted)

    def table(self, name: str) -> str:
        """The file of the implementation's own table for this shape and GPU; empty where it takes its default."""
        module = self._loaded(name)[1]
        if module is None:
            return ""
        shape = self.shape
        # vLLM looks for int8_w8a8's tables by the name of those of 16 bits.
        unnamed = ("bf16", "fp16", "int8_w8a8") if name == "vllm" else ("bf16", "fp16")
        key = shape.experts, shape.intermediate, None if shape.dtype in unnamed else shape.dtype
        if not module.get_moe_configs(*key, *(shape.block or (0, 0))):
            return ""
        return str(module.get_config_file_name(*key, list(shape.block) if shape.block else None))

    def time(self, name: str, tokens: int, replays: int) -> list[float]:
        """Seconds a call, one figure for each replay of all turns in one CUDA graph."""
        turns = self.turns(tokens)
        if (name, tokens) not in self._graphs:
            self._graphs[name, tokens] = captured(self.layer(name), turns)
        self._chores.keep_busy()
        return replayed(self._graphs[name, tokens], replays, len(turns))

    @cached_property
    def _chores(self) -> Chores:
        return Chores()


def captured(layer: Layer, turns: tuple[Turn, ...]) -> torch.cuda.CUDAGraph:
    """All calls in one graph. Raises what the layer raises, and where it cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for turn in turns[:1] * WARM + turns:
            layer(turn)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        for turn in turns:
            layer(turn)
    return graph


def cache_bytes() -> int:
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def memory() -> int:
    """Bytes of the GPU."""
    return int(torch.cuda.get_device_properties(0).total_memory)
