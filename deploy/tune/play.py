"""Plays a search on a device. What is known is not measured again, and what is measured is handed on at once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from deploy.tune.search import GEMMS, Timings
from deploy.tune.trial import Batch, GemmName, Timing, Trial

Made = tuple[Trial, Timing]
T = TypeVar("T")


class NoMemoryError(Exception):
    """A trial does not fit into the GPU's memory as it is now. That is no property of its configuration."""


class Times(Protocol):
    """What can make trials."""

    def prepare(self, trials: Iterable[Trial]) -> None:
        """Compile what these need."""
        ...

    def time(self, trial: Trial, limit: float) -> Timing:
        """Make one; a first call that takes longer than `limit` seconds ends it, 0 for none. Raises NoMemoryError."""
        ...


def play(
    asking: Generator[Batch, Timings, T], device: Times, known: Mapping[Trial, Timing]
) -> Generator[Made, None, T]:
    """New measurements as they are made, and the result of who asks. Raises what that raises."""
    batch = next(asking)
    while True:
        timings = yield from _made(batch, device, known)
        try:
            batch = asking.send(timings)
        except StopIteration as end:
            result: T = end.value
            return result


def replayed(asking: Generator[Batch, Timings, T], known: Mapping[Trial, Timing]) -> T | None:
    """The result as it follows from what is known; None where a measurement is missing. Raises what `asking` raises."""
    try:
        next(play(asking, _Nothing(), known))
    except StopIteration as end:
        result: T = end.value
        return result
    except _UnknownError:
        return None
    raise AssertionError("nothing was measured, so nothing can be told")


def _made(batch: Batch, device: Times, known: Mapping[Trial, Timing]) -> Generator[Made, None, list[Timing]]:
    device.prepare([trial for trial in batch.trials if trial not in known])
    best = Fastest()
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
class Fastest:
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


class _UnknownError(Exception):
    """A measurement that is not known."""


class _Nothing:
    """In place of a GPU where everything must be known."""

    def prepare(self, trials: Iterable[Trial]) -> None:
        """There is nothing to compile for."""

    def time(self, trial: Trial, limit: float) -> Timing:  # noqa: ARG002
        raise _UnknownError
