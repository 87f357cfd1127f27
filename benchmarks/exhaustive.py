"""SGLang's method of tuning, measured: every candidate that fits, at its number of calls; two passes, for the noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deploy.kernels.exact.space import GROUPS
from deploy.kernels.table import Config
from deploy.tune.device import Device
from deploy.tune.journal import Journal
from deploy.tune.problem import Problem
from deploy.tune.search import GEMMS
from deploy.tune.trial import GemmName, Timing, Trial

SGLANG_CALLS = 151
"""Of each candidate: one to compile, ten in a graph that is played five times to warm up and ten to measure."""
PASSES, REPLAYS, HOPELESS = 2, 3, 6.0


@dataclass
class Truth:
    """Every candidate of one GEMM and batch size, seconds a call, in two passes; of a hopeless one its first call."""

    passes: list[dict[Config, float]] = field(default_factory=list)
    refused: dict[Config, str] = field(default_factory=dict)

    def best(self, at: int) -> Config:
        return min(self.passes[at], key=self.passes[at].__getitem__)

    @property
    def sglang_seconds(self) -> float:
        """GPU seconds that SGLang's number of calls takes."""
        return SGLANG_CALLS * sum(self.passes[0].values())


def candidates(problem: Problem, gemm: GemmName) -> list[Config]:
    return [replace(one, group_m=group) for one in problem.candidates[gemm] for group in GROUPS]


def truth_trials(problem: Problem, tokens: int, gemm: GemmName, number: int) -> list[Trial]:
    """One pass over everything that fits."""
    return [Trial(tokens, gemm, one, "truth", number, REPLAYS) for one in candidates(problem, gemm)]


def measure_all(device: Device, journal: Journal, problem: Problem, tokens: int) -> None:
    """Two passes over everything that fits, of both GEMMs. All is compiled before the first is timed."""
    passes = [truth_trials(problem, tokens, gemm, number) for gemm in GEMMS for number in range(PASSES)]
    device.prepare(trial for trials in passes for trial in trials if trial not in journal.known)
    for trials in passes:
        best = float("inf")
        for trial in trials:
            if trial not in journal.known:
                limit = best * HOPELESS if best < float("inf") else 0.0
                journal.add(trial, device.time(trial, limit))
            best = min(best, journal.known[trial].median)


def truth(problem: Problem, known: Mapping[Trial, Timing], tokens: int, gemm: GemmName) -> Truth | None:
    """What the passes say; None where they are not whole."""
    found = Truth()
    for number in range(PASSES):
        trials = truth_trials(problem, tokens, gemm, number)
        if any(trial not in known for trial in trials):
            return None
        times = {trial.config: known[trial] for trial in trials}
        found.refused |= {config: one.failed for config, one in times.items() if one.failed}
        ran = {config: one for config, one in times.items() if not one.failed}
        found.passes.append({config: one.first if one.slow else one.median for config, one in ran.items()})
    return found


def estimated(tokens: int, known: Mapping[Trial, Timing]) -> float:
    """What SGLang's number of calls would take, from one call of every candidate with one GROUP_SIZE_M."""
    calls = [timing for trial, timing in known.items() if trial.tokens == tokens and trial.stage == "sift"]
    seconds = sum(one.first if one.slow else one.median for one in calls if one.slow or one.seconds)
    return SGLANG_CALLS * len(GROUPS) * seconds
