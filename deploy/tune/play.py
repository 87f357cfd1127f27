"""Plays a search on a device: what the journal has is not measured again, and what is measured goes there first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from deploy.tune.journal import Journal
from deploy.tune.search import Asking, Found
from deploy.tune.trial import Batch, GemmName, Timing, Trial

Watch = Callable[[Trial, Timing], None]


class Times(Protocol):
    """What can make trials."""

    def prepare(self, trials: Iterable[Trial]) -> None: ...

    def time(self, trial: Trial, limit: float) -> Timing: ...


def play(asking: Asking, device: Times, journal: Journal, watch: Watch | None = None) -> Found:
    """The search's result. Raises what the search raises."""
    batch = next(asking)
    while True:
        timings = _made(batch, device, journal, watch)
        try:
            batch = asking.send(timings)
        except StopIteration as end:
            found: Found = end.value
            return found


def _made(batch: Batch, device: Times, journal: Journal, watch: Watch | None) -> list[Timing]:
    device.prepare([trial for trial in batch.trials if journal.known(trial) is None])
    best: dict[GemmName, float] = {}
    timings = []
    for trial in batch.trials:
        timing = journal.known(trial)
        if timing is None:
            timing = device.time(trial, best.get(trial.gemm, 0.0) * batch.hopeless)
            journal.add(trial, timing)
        best[trial.gemm] = min(best.get(trial.gemm, float("inf")), timing.median)
        timings.append(timing)
        if watch:
            watch(trial, timing)
    return timings
