"""SGLang's fused-MoE kernel on this machine's GPU, timed as it is served. One shape, any batch size.

Every timed call takes another routing, so that the experts' weights come from memory, as in a model of many layers;
where they are so few that the cache could hold them, other copies of them take turns.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.launcher import StandIns, launch, load
from deploy.kernels.gpu import arch
from deploy.kernels.shape import Gemm
from deploy.tune.gpu import routing, tensors
from deploy.tune.gpu.ceilings import facts, mark
from deploy.tune.gpu.pace import Chores, replayed
from deploy.tune.gpu.tensors import Quantised
from deploy.tune.problem import Problem

COLD = 4
"""How often what the calls of one turn read would fill the cache."""
MOST_TURNS, LEAST_TURNS = 16, 2
LAUNCH = 30e-6
"""Seconds that a single launch may take beyond the kernel's own time."""


@dataclass(frozen=True, eq=False)
class Turn:
    """The data of one call: weights, activations and routing of one batch."""

    weights: Quantised
    rows: Quantised
    routing: routing.Routing
    out: Tensor


class Bench:
    """`source` is SGLang's module of kernel and launcher. Weights are made once."""

    def __init__(self, source: Path, problem: Problem) -> None:
        self.shape, self.skew = problem.shape, problem.skew
        self._source = hashlib.sha256(source.read_bytes()).hexdigest()
        if problem.emulation:
            limit_shared_memory(problem.emulation.shared_memory)
        torch.manual_seed(0)
        number = arch(torch.cuda.get_device_capability())
        self._module: Any = load(source, StandIns(number, ("sglang",), **_GIVEN))
        self._weights: dict[str, list[Quantised]] = {}
        self._recording: routing.Recording | None = None
        if problem.recorded:
            self._recording = routing.Recording(Path(problem.recorded), self.shape.experts, self.shape.top_k)

    @cached_property
    def cache_bytes(self) -> int:
        return int(torch.cuda.get_device_properties(0).L2_cache_size)

    def _copies(self, gemm: Gemm) -> list[Quantised]:
        if gemm.name not in self._weights:
            first = tensors.weights(self.shape, gemm)
            size = first.values.numel() * first.values.element_size()
            more = min(-(-COLD * self.cache_bytes // size), 8) - 1
            self._weights[gemm.name] = [first, *(tensors.weights(self.shape, gemm) for _ in range(more))]
        return self._weights[gemm.name]

    @cache  # noqa: B019 (one bench a process)
    def turns(self, gemm: Gemm, tokens: int) -> tuple[Turn, ...]:
        """The batches that take turns, so many that no call finds its weights in the cache."""
        copies, shape = self._copies(gemm), self.shape
        rows = tokens if gemm.name == "up" else tokens * shape.top_k
        given = tensors.activations(shape, rows, gemm.k)
        out = torch.empty(tokens, shape.top_k, gemm.n, device="cuda", dtype=tensors.compute_dtype(shape))
        touched = min(tokens * shape.top_k, shape.experts) / shape.experts * copies[0].values.nbytes
        count = min(max(int(-(-COLD * self.cache_bytes // touched)), LEAST_TURNS), MOST_TURNS)
        return tuple(Turn(copies[at % len(copies)], given, self._routing(tokens), out) for at in range(count))

    def _routing(self, tokens: int) -> routing.Routing:
        if self._recording:
            return self._recording.draw(tokens)
        return routing.random(tokens, self.shape.experts, self.shape.top_k, self.skew)

    @cache  # noqa: B019
    def _aligned(self, turn: Turn, tile: int) -> routing.Aligned:
        return routing.align(turn.routing.ids, tile, self.shape.experts)

    def arguments(self, kernel: Kernel, turn: Turn) -> dict[str, Any]:
        """What SGLang's launcher is called with, by its names."""
        aligned = self._aligned(turn, kernel.config.block_m)
        rows = turn.rows.values
        rows.scale = turn.rows.scales
        return {
            "A": rows, "B": turn.weights.values, "C": turn.out,
            "A_scale": None if self.shape.dtype in ("bf16", "fp16", "int8_w8a16") else turn.rows.scales,
            "B_scale": turn.weights.scales,
            "topk_weights": turn.routing.weights, "topk_ids": turn.routing.ids,
            "sorted_token_ids": aligned.places, "expert_ids": aligned.experts,
            "num_tokens_post_padded": aligned.used,
        }  # fmt: skip

    def time(self, kernel: Kernel, replays: int, limit: float = 0.0) -> list[float]:
        """Seconds a call, one figure for each replay of all turns.

        Raises HopelessError where the first call takes longer than `limit` seconds, and what Triton and CUDA raise.
        """
        turns = [self.arguments(kernel, turn) for turn in self.turns(kernel.matrices, kernel.tokens)]
        stream, first, second = _side_stream(), mark(), mark()
        with torch.cuda.stream(stream):
            self._load(kernel, turns[0])
            self._chores.keep_busy()  # so that nothing is waited for between the marks
            first.record()
            launch(self._module, kernel, turns[0])
            second.record()
            second.synchronize()
            # A launch by itself takes some microseconds more than one of many.
            seconds = first.elapsed_time(second) / 1000
            if limit and seconds > limit + LAUNCH:
                raise HopelessError(seconds)
            self._chores.keep_busy()
            return replayed(self._captured(kernel, turns), replays, len(turns))

    @cached_property
    def _chores(self) -> Chores:
        return Chores()

    def _load(self, kernel: Kernel, turn: Mapping[str, Any]) -> None:
        """Onto the GPU, without a launch: a slow kernel is launched once, and not to be loaded. Raises as `time`."""
        jit = self._module.fused_moe_kernel
        self._module.fused_moe_kernel = _OnlyLoaded(jit)
        try:
            launch(self._module, kernel, turn)
        finally:
            self._module.fused_moe_kernel = jit

    def _captured(self, kernel: Kernel, turns: Sequence[dict[str, Any]]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            for turn in turns:
                launch(self._module, kernel, turn)
        finally:
            graph.capture_end()
        return graph

    def clock(self) -> float:
        """Seconds, once the GPU has nothing left to do."""
        torch.cuda.synchronize()
        return time.perf_counter()

    def facts(self) -> dict[str, Any]:
        """What a timing depends on, see Journal, and what the GPU was seen to do."""
        found = facts(tensors.compute_dtype(self.shape))
        return {**found, "kernel": self._source, "routing": self._recording.digest if self._recording else ""}

    def error(self, kernel: Kernel) -> float:
        """The greatest difference to float32 arithmetic over the greatest value, of 64 random rows of the result."""
        turn = self.turns(kernel.matrices, kernel.tokens)[0]
        turn.out.fill_(float("nan"))
        launch(self._module, kernel, self.arguments(kernel, turn))
        out = turn.out.flatten(0, 1)
        some = torch.randperm(out.shape[0], device="cuda")[:64]
        wanted = self._expected(kernel, turn, some)
        return float(((out[some].float() - wanted).abs().max() / wanted.abs().max()).item())

    def _expected(self, kernel: Kernel, turn: Turn, some: Tensor) -> Tensor:
        up = kernel.gemm == "up"
        experts = turn.routing.ids.flatten()[some].long()
        left = turn.rows.rows(some // self.shape.top_k if up else some)
        found = torch.stack([turn.weights.rows(e[None])[0] @ row for e, row in zip(experts, left, strict=True)])
        return found if up else found * turn.routing.weights.flatten()[some].unsqueeze(-1)


class _OnlyLoaded:
    """Takes the place of a Triton kernel, and loads where that would launch."""

    def __init__(self, jit: Any) -> None:
        self._jit = jit

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return lambda *given, **named: self._jit.warmup(*given, grid=grid, **named)._init_handles()


class HopelessError(Exception):
    """A call took so long that nothing more need be known of the kernel; its argument is that time in seconds."""


def limit_shared_memory(limit: int) -> None:
    """Let Triton grant no more bytes a block than another GPU does. From Triton 3.5 on."""
    import triton.compiler.compiler as compiler

    compiler.max_shared_mem = lambda _: limit


@cache
def _side_stream() -> torch.cuda.Stream:
    """A graph cannot be captured on the default stream."""
    return torch.cuda.Stream()


def _as_given(rows: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    """In place of SGLang's quantisation: the rows are quantised already."""
    return rows, rows.scale


_GIVEN = dict.fromkeys(
    (
        "scaled_fp8_quant",
        "sglang_per_token_group_quant_fp8",
        "per_token_quant_int8",
        "sglang_per_token_group_quant_int8",
    ),
    _as_given,
)
