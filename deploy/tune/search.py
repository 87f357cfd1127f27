"""The search of one batch size: which trials to make next, given those that were made. Measures nothing itself.

Every candidate that fits is called a few times; those near the best are timed again, with the order of tiles varied;
the last few are timed in turns, and their results checked. A candidate is dropped for being slow, never by a rule about
its numbers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from deploy.kernels.exact.space import GROUPS
from deploy.kernels.table import Config
from deploy.tune.trial import GemmName, Timing, Trial

Asking = Generator[Trial, Timing, "Found"]
GEMMS: tuple[GemmName, ...] = ("up", "down")
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

    def within(self, share: float, among: Iterable[Config] | None = None) -> list[Config]:
        """The candidates within a share of the best, the best first."""
        pool = self.medians if among is None else [one for one in among if one in self.medians]
        ordered = sorted(pool, key=self.medians.__getitem__)
        return [one for one in ordered if self.medians[one] <= self.medians[ordered[0]] * (1 + share)]


def search(
    tokens: int,
    candidates: Mapping[GemmName, Sequence[Config]],
    first: Sequence[Config] = (),
    effort: Effort = Effort(),  # noqa: B008 (immutable)
) -> Asking:
    """Ask for trials, be told their timings, and find the best pair with one BLOCK_SIZE_M.

    `candidates` by GEMM, all with one GROUP_SIZE_M; `first` are those to begin with, such as a neighbour's best, so
    that what is slow is known early. Raises NothingRunsError.
    """
    times = {gemm: _Times() for gemm in candidates}
    for gemm, known in times.items():
        yield from _sifted(tokens, gemm, _ordered(candidates[gemm], first), known, effort)
    rows = _rows(times, effort.tile)
    for gemm, known in times.items():
        for row in rows:
            yield from _varied(tokens, gemm, row, known, effort)
    return (yield from _decided(tokens, times, effort))


def _ordered(candidates: Sequence[Config], first: Sequence[Config]) -> list[Config]:
    """Those that are like the first ones lead."""
    leaders = [one for one in dict.fromkeys(_plain(one) for one in first) if one in set(candidates)]
    return [*leaders, *(one for one in candidates if one not in set(leaders))]


def _plain(config: Config) -> Config:
    return replace(config, group_m=GROUPS[0])


def _sifted(
    tokens: int, gemm: GemmName, candidates: Sequence[Config], known: _Times, effort: Effort
) -> Generator[Trial, Timing, None]:
    """One look at every candidate."""
    for config in candidates:
        best = min(known.medians.values(), default=0.0)
        timing = yield Trial(tokens, gemm, config, "sift", 0, effort.sift, best * effort.hopeless)
        known.take(config, timing)
    if not known.medians:
        what = next(iter(known.dropped.values()), "there is no candidate")
        raise NothingRunsError(f"no configuration of the {gemm} GEMM ran for {tokens} tokens: {what}")


def _rows(times: Mapping[GemmName, _Times], share: float) -> list[int]:
    """The BLOCK_SIZE_Ms that both GEMMs have, whose best pair is near the best of all."""
    sums: dict[int, float] = {}
    for row in set.intersection(*({config.block_m for config in known.medians} for known in times.values())):
        sums[row] = sum(min(_of(known, row).values()) for known in times.values())
    if not sums:
        raise NothingRunsError("no BLOCK_SIZE_M runs in both GEMMs")
    return [
        row for row, total in sorted(sums.items(), key=lambda one: one[1]) if total <= min(sums.values()) * (1 + share)
    ]


def _of(known: _Times, row: int) -> dict[Config, float]:
    return {config: seconds for config, seconds in known.medians.items() if config.block_m == row}


def _varied(tokens: int, gemm: GemmName, row: int, known: _Times, effort: Effort) -> Generator[Trial, Timing, None]:
    """Those near the best are timed again, and the best of these in every order of tiles."""
    for config in known.within(effort.near, _of(known, row)):
        known.take(config, (yield Trial(tokens, gemm, config, "again", 0, effort.again)))
    for config in known.within(effort.close, _of(known, row))[: effort.varied]:
        for group in GROUPS[1:]:
            other = replace(config, group_m=group)
            known.take(other, (yield Trial(tokens, gemm, other, "order", 0, effort.again)))


def _decided(tokens: int, times: Mapping[GemmName, _Times], effort: Effort) -> Asking:
    """The finalists of every tile take turns; the best pair wins whose results are right."""
    rows = _rows(times, effort.tile / 2)
    found: dict[int, dict[GemmName, Best]] = {}
    for row in rows:
        pair: dict[GemmName, Best] = {}
        for gemm, known in times.items():
            best = yield from _final(tokens, gemm, row, known, effort)
            if best:
                pair[gemm] = best
        if len(pair) == len(times):
            found[row] = pair
    if not found:
        raise NothingRunsError(f"every finalist for {tokens} tokens gave a wrong result")
    winner = min(found.values(), key=lambda pair: sum(one.seconds for one in pair.values()))
    dropped = tuple((gemm, config, why) for gemm, known in times.items() for config, why in known.dropped.items())
    return Found(tokens, winner, dropped)


def _final(
    tokens: int, gemm: GemmName, row: int, known: _Times, effort: Effort
) -> Generator[Trial, Timing, Best | None]:
    finalists = known.within(effort.close, _of(known, row))[: effort.finalists]
    rounds: dict[Config, list[float]] = {config: [] for config in finalists}
    for number in range(effort.rounds):
        for config in finalists:
            timing = yield Trial(tokens, gemm, config, "final", number, effort.replays)
            known.take(config, timing)
            rounds[config] += [timing.median] if timing.seconds else []
    for config in sorted((one for one in finalists if rounds[one]), key=lambda one: median(rounds[one])):
        checked = yield Trial(tokens, gemm, config, "check", 0, 0)
        if checked.error is not None and checked.error <= TOLERANCE:
            middle = median(rounds[config])
            spread = (max(rounds[config]) - min(rounds[config])) / middle
            return Best(config, middle, spread, checked.error)
        known.dropped[config] = checked.failed or f"wrong: off by {checked.error} of the greatest value"
        known.medians.pop(config, None)
    return None
