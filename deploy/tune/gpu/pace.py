"""The pace at which a GPU is measured: its clocks kept up, and replays of a graph timed one by one. Chooses nothing."""

from __future__ import annotations

from itertools import pairwise

import torch

from deploy.tune.gpu.ceilings import best_of, mark

BUSY = 2e-3
"""Seconds of other work before a measurement, so that the clocks are a working GPU's."""


class Chores:
    """Work for the GPU while this side prepares: one that waits for much of the time lowers its clocks, and a server's
    does not wait."""

    def __init__(self) -> None:
        self._data = torch.zeros(1 << 26, device="cuda", dtype=torch.float32)
        self._times = max(int(BUSY / best_of(lambda: self._data.add_(1))), 1)

    def keep_busy(self) -> None:
        """For some BUSY seconds; does not wait for them."""
        for _ in range(self._times):
            self._data.add_(1)


def replayed(graph: torch.cuda.CUDAGraph, replays: int, calls: int) -> list[float]:
    """Seconds a call, one figure for each replay of a graph of `calls`, after one replay that does not count."""
    marks = [mark() for _ in range(replays + 1)]
    graph.replay()
    marks[0].record()
    for one in marks[1:]:
        graph.replay()
        one.record()
    marks[-1].synchronize()
    return [begun.elapsed_time(done) / 1000 / calls for begun, done in pairwise(marks)]
