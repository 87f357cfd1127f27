"""SGLang's fused-MoE kernel on this machine's GPU, timed as it is served. One shape, any batch size.

Every timed call takes another routing, so that the experts' weights come from memory, as in a model of many layers;
where they are so few that the cache could hold them, other copies of them take turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch

from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.launcher import StandIns, launch, load
from deploy.kernels.shape import Gemm, Shape
from deploy.tune.gpu import routing, tensors
from deploy.tune.gpu.tensors import Quantised

COLD = 4
"""How often what the calls of one turn read would fill the cache."""
MOST_TURNS, LEAST_TURNS = 16, 2


@dataclass(frozen=True, eq=False)
class Turn:
    """The data of one call: weights, activations and routing of one batch."""

    weights: Quantised
    rows: Quantised
    routing: routing.Routing
    out: torch.Tensor


class Bench:
    """`source` is SGLang's module of kernel and launcher. Weights are made once."""

    def __init__(self, source: Path, shape: Shape, skew: float = 0.0) -> None:
        self.shape, self.skew = shape, skew
        major, minor = torch.cuda.get_device_capability()
        self._module = load(source, StandIns(10 * major + minor, ("sglang",), **_GIVEN))
        self._jit = self._module.fused_moe_kernel
        self._weights: dict[str, list[Quantised]] = {}

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
        return tuple(
            Turn(copies[at % len(copies)], given, routing.random(tokens, shape.experts, shape.top_k, self.skew), out)
            for at in range(count)
        )

    @cache  # noqa: B019
    def _aligned(self, turn: Turn, tile: int) -> routing.Aligned:
        return routing.align(turn.routing.ids, tile, self.shape.experts)

    def arguments(self, kernel: Kernel, turn: Turn) -> dict[str, Any]:
        """What SGLang's launcher is called with, by its names."""
        aligned = self._aligned(turn, kernel.config.block_m)
        rows = turn.rows.values
        rows.scale = turn.rows.scales  # type: ignore[attr-defined]
        return {
            "A": rows, "B": turn.weights.values, "C": turn.out,
            "A_scale": None if self.shape.dtype in ("bf16", "fp16", "int8_w8a16") else turn.rows.scales,
            "B_scale": turn.weights.scales,
            "topk_weights": turn.routing.weights, "topk_ids": turn.routing.ids,
            "sorted_token_ids": aligned.places, "expert_ids": aligned.experts,
            "num_tokens_post_padded": aligned.used,
        }  # fmt: skip

    def compile(self, kernels: Iterable[Kernel], threads: int) -> dict[Kernel, str]:
        """Compile into Triton's cache without a launch; why a kernel did not compile, or an empty string."""
        self._module.fused_moe_kernel = _OnlyCompiled(self._jit)
        try:
            with ThreadPoolExecutor(threads) as pool:
                return dict(pool.map(lambda kernel: (kernel, self._compiled(kernel)), kernels))
        finally:
            self._module.fused_moe_kernel = self._jit

    def _compiled(self, kernel: Kernel) -> str:
        try:
            launch(self._module, kernel, self.arguments(kernel, self.turns(kernel.matrices, kernel.tokens)[0]))
        except Exception as error:  # whatever the compiler says: the candidate is out
            return f"{type(error).__name__}: {error}"[:300]
        return ""

    def time(self, kernel: Kernel, replays: int, warm: int = 1) -> list[float]:
        """Seconds a call, one figure for each replay of all turns. Raises what Triton and CUDA raise."""
        turns = [self.arguments(kernel, turn) for turn in self.turns(kernel.matrices, kernel.tokens)]
        launch(self._module, kernel, turns[0])
        torch.cuda.synchronize()
        graph, stream = torch.cuda.CUDAGraph(), _side_stream()
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            for turn in turns:
                launch(self._module, kernel, turn)
            graph.capture_end()
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(replays + 1)]
            for _ in range(warm):
                graph.replay()
            marks[0].record()
            for mark in marks[1:]:
                graph.replay()
                mark.record()
        marks[-1].synchronize()
        return [first.elapsed_time(second) / 1000 / len(turns) for first, second in zip(marks, marks[1:], strict=False)]

    def error(self, kernel: Kernel) -> float:
        """The greatest difference to float32 arithmetic over the greatest value, of 64 random rows of the result."""
        turn = self.turns(kernel.matrices, kernel.tokens)[0]
        turn.out.fill_(float("nan"))
        launch(self._module, kernel, self.arguments(kernel, turn))
        out = turn.out.flatten(0, 1)
        some = torch.randperm(out.shape[0], device="cuda")[:64]
        wanted = self._expected(kernel, turn, some)
        return float(((out[some].float() - wanted).abs().max() / wanted.abs().max()).item())

    def _expected(self, kernel: Kernel, turn: Turn, some: torch.Tensor) -> torch.Tensor:
        up = kernel.gemm == "up"
        experts = turn.routing.ids.flatten()[some].long()
        left = turn.rows.rows(some // self.shape.top_k if up else some)
        found = torch.stack([turn.weights.rows(e[None])[0] @ row for e, row in zip(experts, left, strict=True)])
        return found if up else found * turn.routing.weights.flatten()[some].unsqueeze(-1)


class _OnlyCompiled:
    """Takes the place of a Triton kernel, and compiles where that would launch."""

    def __init__(self, jit: Any) -> None:
        self._jit = jit

    def __getitem__(self, grid: Any) -> Any:
        return lambda *given, **named: self._jit.warmup(*given, grid=grid, **named)


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
