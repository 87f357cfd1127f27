"""Two tables side by side: which trials tell them apart at a batch size, and what they tell. Measures nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from deploy.kernels.table import Config
from deploy.tune.play import replayed
from deploy.tune.problem import Problem, problem_of
from deploy.tune.search import GEMMS, Timings
from deploy.tune.trial import Batch, GemmName, Timing, Trial, config_of

Pair = Mapping[GemmName, Config]
"""What a table takes for both GEMMs."""
ROUNDS, REPLAYS = 7, 3
"""Without a difference one side wins all of seven rounds once in 64 times."""


@dataclass(frozen=True)
class Side:
    """One table at one batch size: seconds of each GEMM and of both, medians of the rounds; spread over the median.
    `failed` says why it could not be measured."""

    gemms: Mapping[GemmName, float]
    seconds: float
    spread: float
    failed: str = ""


@dataclass(frozen=True)
class Compared:
    """A and B at one batch size. `ratio` of B to A is the median of the rounds, `low` and `high` the ends."""

    tokens: int
    a: Side
    b: Side
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Of B against A: only what every round says is a difference."""
        if self.a.failed or self.b.failed:
            return "not comparable"
        if self.low == self.high == 1:
            return "same configurations"
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "no difference beyond the spread"


@dataclass(frozen=True)
class Comparison:
    """What A and B take, by batch size."""

    problem: Problem
    pairs: Mapping[int, tuple[Pair, Pair]]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted(self.pairs))

    def search(self, tokens: int) -> Generator[Batch, Timings, Compared]:
        """The trials of one batch size in turns, and what they tell; a configuration that both take is timed once."""
        trials = tuple(dict.fromkeys(self._turns(tokens)))
        timings = yield Batch(trials)
        return _told(tokens, self.pairs[tokens], dict(zip(trials, timings, strict=True)))

    def _turns(self, tokens: int) -> Iterator[Trial]:
        """Who begins alternates."""
        for number in range(ROUNDS):
            a, b = self.pairs[tokens]
            for gemm in GEMMS:
                for pair in (b, a) if number % 2 else (a, b):
                    yield _trial(tokens, gemm, pair, number)

    def as_json(self) -> dict[str, Any]:
        """For a worker on another machine."""
        pairs = {
            tokens: [{gemm: asdict(config) for gemm, config in pair.items()} for pair in both]
            for tokens, both in self.pairs.items()
        }
        return {"problem": self.problem.as_json(), "pairs": pairs}


def comparison_of(fields: Mapping[str, Any]) -> Comparison:
    """The inverse of `Comparison.as_json`, as JSON leaves it."""
    pairs = {int(tokens): (_pair(both[0]), _pair(both[1])) for tokens, both in fields["pairs"].items()}
    return Comparison(problem_of(fields["problem"]), pairs)


def _pair(fields: Mapping[GemmName, Any]) -> Pair:
    return {gemm: config_of(config) for gemm, config in fields.items()}


def comparisons(comparison: Comparison, known: Mapping[Trial, Timing]) -> Mapping[int, Compared]:
    """What follows from measurements, for each size that has them all."""
    found = {tokens: replayed(comparison.search(tokens), known) for tokens in comparison.sizes}
    return {tokens: one for tokens, one in found.items() if one}


def _trial(tokens: int, gemm: GemmName, pair: Pair, number: int) -> Trial:
    return Trial(tokens, gemm, pair[gemm], "compare", number, REPLAYS)


def _told(tokens: int, both: tuple[Pair, Pair], timings: Mapping[Trial, Timing]) -> Compared:
    rounds = [
        {gemm: [timings[_trial(tokens, gemm, pair, number)] for number in range(ROUNDS)] for gemm in GEMMS}
        for pair in both
    ]
    a, b = map(_side, rounds)
    if a.failed or b.failed:
        return Compared(tokens, a, b, 0.0, 0.0, 0.0)
    first, second = map(_sums, rounds)
    ratios = [theirs / ours for ours, theirs in zip(first, second, strict=True)]
    return Compared(tokens, a, b, median(ratios), min(ratios), max(ratios))


def _sums(rounds: Mapping[GemmName, list[Timing]]) -> list[float]:
    """Seconds of both GEMMs, round by round."""
    return [sum(rounds[gemm][number].median for gemm in GEMMS) for number in range(ROUNDS)]


def _side(rounds: Mapping[GemmName, list[Timing]]) -> Side:
    failed = next((f"{gemm}: {one.failed}" for gemm in GEMMS for one in rounds[gemm] if not one.seconds), "")
    if failed:
        return Side({}, 0.0, 0.0, failed)
    sums = _sums(rounds)
    middle = median(sums)
    gemms = {gemm: median(one.median for one in rounds[gemm]) for gemm in GEMMS}
    return Side(gemms, middle, (max(sums) - min(sums)) / middle)
