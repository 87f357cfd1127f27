"""Times of several ways to do one thing on this GPU, taken in turn; and what a choice costs on the host."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.gpu.orders import orders

Calls = dict[str, Callable[[], Any]]
IN_A_ROW = 5
MOST = 10
"""So often at most all orders of the ways are taken."""


def in_turn(calls: Calls, seconds: float = 0) -> dict[str, dict[str, float]]:
    """Milliseconds a call: median and quartiles over rounds, each of several calls that follow each other.

    A call's time is the longer one of what the host and what the GPU need, as in a forward pass without a graph. All
    orders of the ways are taken once, and again while `seconds` last: a host is unsteadier than a GPU.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in (*calls.values(), *calls.values()):
        call()
    names, begun = list(calls), time.perf_counter()
    for at in range(MOST):
        if at and time.perf_counter() - begun > seconds:
            break
        for order in orders(len(names)):
            for way in order:
                found[names[way]].append(_row(calls[names[way]]))
    return {name: _summary(values) for name, values in found.items()}


def _row(call: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    call()
    start.record()
    for _ in range(IN_A_ROW):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / IN_A_ROW


def _summary(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"ms": round(middle, 5), "low": round(low, 5), "high": round(high, 5), "rounds": len(values)}


def captured(call: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """The call as a CUDA graph, and what it wrote."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    return graph, out


def host_us(calls: Calls, times: int = 100, rounds: int = 11) -> dict[str, float]:
    """Microseconds of host time a call takes to enqueue: medians over rounds in turn, the GPU idle before each."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            torch.cuda.synchronize()
            begun = time.perf_counter()
            for _ in range(times):
                call()
            found[name].append((time.perf_counter() - begun) / times * 1e6)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}
