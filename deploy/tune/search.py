"""The search of one batch size: which trials to make next, given those that were made. Measures nothing itself.

Every candidate that fits is called a few times; those near the best are timed again, with the order of tiles varied;
the last few are timed in turns, and their results checked. A candidate is dropped for being slow, never by a rule about
its numbers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from statistics import median

from deploy.kernels.exact.space import GROUPS
from deploy.kernels.table import Config
from deploy.tune.trial import Batch, GemmName, Timing, Trial

Timings = Sequence[Timing]
Asking = Generator[Batch, Timings, "Found"]
GEMMS: tuple[GemmName, ...] = ("up", "down")
STAGES = ("sift", "again", "order", "final", "check")
"""Names of what a search asks for, in order."""
TOLERANCE = 0.02
"""The greatest error of a right result: eight-bit products summed in float32 and rounded to bfloat16 were off by less
than a quarter of that."""


@dataclass(frozen=True)
class Effort:
    """How much is measured. Shares are of the best time: a candidate within `near` of it is timed again, one within
    `close` has its tile order varied, and the last `finalists` take turns for `rounds` rounds."""

    sift: int = 1
    hopeless: float = 3.0
    near: float = 0.10
    again: int = 3
    close: float = 0.03
    varied: int = 8
    finalists: int = 4
    rounds: int = 5
    replays: int = 5
    tile: float = 0.08
    """Tiles (BLOCK_SIZE_M) whose best pair of GEMMs is within this share of the best pair stay in the race."""


USUAL = Effort()


@dataclass(frozen=True)
class Best:
    """One GEMM's choice: seconds a call, spread of the rounds over their median, and the greatest error seen."""

    config: Config
    seconds: float
    spread: float
    error: float


@dataclass(frozen=True)
class Found:
    """The choice for one batch size; `dropped` names candidates that were wrong or could not run, and why."""

    tokens: int
    best: Mapping[GemmName, Best]
    dropped: tuple[tuple[GemmName, Config, str], ...] = ()

    @property
    def seconds(self) -> float:
        """Both GEMMs together."""
        return sum(one.seconds for one in self.best.values())


class NothingRunsError(Exception):
    """No candidate could be measured; the message says what the first one met."""


@dataclass
class _Times:
    """What is known of one GEMM's candidates, by stage."""

    medians: dict[Config, float] = field(default_factory=dict)
    dropped: dict[Config, str] = field(default_factory=dict)

    def take(self, config: Config, timing: Timing) -> None:
        if timing.failed:
            self.dropped[config] = timing.failed
            self.medians.pop(config, None)
        elif timing.seconds:
            self.medians[config] = timing.median

    def near(self, row: int, share: float) -> list[Config]:
        """The candidates with this BLOCK_SIZE_M within a share of their best, the best first."""
        pool = [config for config in self.medians if config.block_m == row]
        ordered = sorted(pool, key=self.medians.__getitem__)
        return [one for one in ordered if self.medians[one] <= self.medians[ordered[0]] * (1 + share)]


def search(
    tokens: int,
    candidates: Mapping[GemmName, Sequence[Config]],
    first: Sequence[Config] = (),
    enough: float = 0.0,
    effort: Effort = USUAL,
) -> Asking:
    """Ask for trials, be told their timings, and find the best pair with one BLOCK_SIZE_M.

    `candidates` by GEMM, all with one GROUP_SIZE_M; `first` are those to begin with, such as SGLang's default, so that
    what is slow is known early. `enough`: seconds of a pair that is so near to what the GPU can do that no more
    candidates are looked at; 0 for all. Raises NothingRunsError.
    """
    times = {gemm: _Times() for gemm in candidates}
    queues = [[(gemm, config) for config in _ordered(candidates[gemm], first)] for gemm in candidates]
    ordered = [one for turn in zip_longest(*queues) for one in turn if one]
    sift = (Trial(tokens, gemm, config, "sift", 0, effort.sift) for gemm, config in ordered)
    yield from _timed(times, Batch(tuple(sift), effort.hopeless, enough))
    _see_that_some_run(tokens, times)
    rows = _rows(times, effort.tile)
    again = [
        Trial(tokens, gemm, config, "again", 0, effort.again)
        for gemm, known in times.items()
        for row in rows
        for config in known.near(row, effort.near)
    ]
    yield from _timed(times, Batch(tuple(again)))
    orders = [
        Trial(tokens, gemm, replace(config, group_m=group), "order", 0, effort.again)
        for gemm, known in times.items()
        for row in rows
        for config in known.near(row, effort.close)[: effort.varied]
        for group in GROUPS[1:]
    ]
    yield from _timed(times, Batch(tuple(orders)))
    return (yield from _decided(tokens, times, effort))


def _ordered(candidates: Sequence[Config], first: Sequence[Config]) -> list[Config]:
    """Those that are like the first ones lead."""
    leaders = [one for one in dict.fromkeys(_plain(one) for one in first) if one in set(candidates)]
    return [*leaders, *(one for one in candidates if one not in set(leaders))]


def _plain(config: Config) -> Config:
    return replace(config, group_m=GROUPS[0])


def _timed(times: Mapping[GemmName, _Times], batch: Batch) -> Generator[Batch, Timings, None]:
    """Time configurations, and keep what came of it."""
    for trial, timing in zip(batch.trials, (yield batch), strict=True):
        times[trial.gemm].take(trial.config, timing)


def _see_that_some_run(tokens: int, times: Mapping[GemmName, _Times]) -> None:
    for gemm, known in times.items():
        if not known.medians:
            what = next(iter(known.dropped.values()), "there is no candidate")
            raise NothingRunsError(f"no configuration of the {gemm} GEMM ran for {tokens} tokens: {what}")


def _rows(times: Mapping[GemmName, _Times], share: float) -> list[int]:
    """The BLOCK_SIZE_Ms that both GEMMs have, whose best pair is near the best of all."""
    sums: dict[int, float] = {}
    for row in set.intersection(*({config.block_m for config in known.medians} for known in times.values())):
        sums[row] = sum(known.medians[known.near(row, 0)[0]] for known in times.values())
    if not sums:
        raise NothingRunsError("no BLOCK_SIZE_M runs in both GEMMs")
    return [
        row for row, total in sorted(sums.items(), key=lambda one: one[1]) if total <= min(sums.values()) * (1 + share)
    ]


def _decided(tokens: int, times: Mapping[GemmName, _Times], effort: Effort) -> Asking:
    """The finalists of every tile take turns; the best pair wins whose results are right."""
    rows = _rows(times, effort.tile / 2)
    finalists = [
        (gemm, config)
        for gemm, known in times.items()
        for row in rows
        for config in known.near(row, effort.close)[: effort.finalists]
    ]
    trials = [
        Trial(tokens, gemm, config, "final", number, effort.replays)
        for number in range(effort.rounds)
        for gemm, config in finalists
    ]
    checks = [Trial(tokens, gemm, config, "check", 0, 0) for gemm, config in finalists]
    timings = yield Batch((*trials, *checks))
    rounds: dict[tuple[GemmName, Config], list[Timing]] = {one: [] for one in finalists}
    for trial, timing in zip((*trials, *checks), timings, strict=True):
        rounds[trial.gemm, trial.config].append(timing)
    best: dict[tuple[GemmName, int], Best] = {}
    for (gemm, config), seen in rounds.items():
        found = _judged(config, seen)
        if isinstance(found, str):
            times[gemm].dropped[config] = found
        elif (key := (gemm, config.block_m)) not in best or found.seconds < best[key].seconds:
            best[key] = found
    pairs = [{gemm: best[gemm, row] for gemm in times} for row in rows if all((gemm, row) in best for gemm in times)]
    if not pairs:
        raise NothingRunsError(f"every finalist for {tokens} tokens gave a wrong result")
    dropped = tuple((gemm, config, why) for gemm, known in times.items() for config, why in known.dropped.items())
    return Found(tokens, min(pairs, key=lambda pair: sum(one.seconds for one in pair.values())), dropped)


def _judged(config: Config, seen: Sequence[Timing]) -> Best | str:
    """A finalist by its rounds and, last of them, its check; or why it is out."""
    rounds = [timing.median for timing in seen if timing.seconds]
    failed = next((timing.failed for timing in seen if timing.failed), "")
    error = seen[-1].error
    if failed or error is None or not rounds:
        return failed or "it was not measured"
    if error > TOLERANCE:
        return f"wrong: off by {error:.3f} of the greatest value"
    middle = median(rounds)
    return Best(config, middle, (max(rounds) - min(rounds)) / middle, error)
