"""Plays a search on a device. What is known is not measured again, and what is measured is handed on at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from deploy.tune.search import GEMMS, Asking, Found
from deploy.tune.trial import Batch, GemmName, Timing, Trial

Made = tuple[Trial, Timing]


class Times(Protocol):
    """What can make trials."""

    def prepare(self, trials: Iterable[Trial]) -> None:
        """Compile what these need."""
        ...

    def time(self, trial: Trial, limit: float) -> Timing:
        """Make one; a first call that takes longer than `limit` seconds ends it, 0 for none."""
        ...


def play(asking: Asking, device: Times, known: Mapping[Trial, Timing]) -> Generator[Made, None, Found]:
    """New measurements as they are made, and the search's result. Raises what the search raises."""
    batch = next(asking)
    while True:
        timings = yield from _made(batch, device, known)
        try:
            batch = asking.send(timings)
        except StopIteration as end:
            found: Found = end.value
            return found


def _made(batch: Batch, device: Times, known: Mapping[Trial, Timing]) -> Generator[Made, None, list[Timing]]:
    device.prepare([trial for trial in batch.trials if trial not in known])
    best = _Best()
    timings = []
    for trial in batch.trials:
        timing = Timing() if best.pair <= batch.enough else known.get(trial)
        if timing is None:
            timing = device.time(trial, best.of.get(trial.gemm, 0.0) * batch.hopeless)
            yield trial, timing
        best.take(trial, timing)
        timings.append(timing)
    return timings


@dataclass
class _Best:
    """The least seconds of each GEMM, and of a pair of them with one BLOCK_SIZE_M."""

    of: dict[GemmName, float] = field(default_factory=dict)
    rows: dict[int, dict[GemmName, float]] = field(default_factory=dict)
    pair: float = float("inf")

    def take(self, trial: Trial, timing: Timing) -> None:
        if not timing.seconds:
            return
        row = self.rows.setdefault(trial.config.block_m, {})
        for least in (self.of, row):
            least[trial.gemm] = min(least.get(trial.gemm, float("inf")), timing.median)
        if len(row) == len(GEMMS):
            self.pair = min(self.pair, sum(row.values()))
