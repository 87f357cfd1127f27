"""The search of one batch size, on timings of a real GPU played back with noise."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deploy.kernels.exact.space import GROUPS
from deploy.kernels.table import Config
from deploy.tune.search import GEMMS, Found, NothingRunsError, search
from deploy.tune.trial import Batch, GemmName, Timing, Trial

RECORDED = json.loads((Path(__file__).parents[2] / "golden" / "tune" / "h100-glm.json").read_text())
CONFIGS = [Config(m, n, k, 1, warps, stages) for m, n, k, warps, stages in RECORDED["configs"]]
SGLANG_CALLS = 151
SIZES = sorted(map(int, RECORDED["times"]["down"]))


@dataclass
class Playback:
    """A stand-in for a GPU: recorded medians, noise as it was seen, and an invented gain for another tile order."""

    tokens: int
    noise: float = 0.003
    wrong: frozenset[Config] = frozenset()
    refused: frozenset[Config] = frozenset()
    calls: float = 0.0
    seconds: float = 0.0
    asked: list[Trial] = field(default_factory=list)

    def truth(self, gemm: GemmName, config: Config) -> float:
        order = 1 - 0.01 * GROUPS.index(config.group_m) * (config.block_n % 3 - 1)
        return self.base(gemm)[replace(config, group_m=1)] * order

    def base(self, gemm: GemmName) -> dict[Config, float]:
        times = RECORDED["times"][gemm][str(self.tokens)]
        return {config: time / 1e6 for config, time in zip(CONFIGS, times, strict=True) if time is not None}

    def answer(self, batch: Batch) -> list[Timing]:
        best: dict[GemmName, float] = {}
        timings = []
        for trial in batch.trials:
            timings.append(self.timing(trial, best.get(trial.gemm, 0.0) * batch.hopeless))
            best[trial.gemm] = min(best.get(trial.gemm, float("inf")), timings[-1].median)
        return timings

    def timing(self, trial: Trial, limit: float) -> Timing:
        self.asked.append(trial)
        if trial.config in self.refused:
            return Timing(failed="OutOfResources: out of resource: shared memory")
        if not trial.replays:
            return Timing(error=0.3 if trial.config in self.wrong else 0.003)
        true, dice = self.truth(trial.gemm, trial.config), random.Random(repr(trial))
        if 0 < limit < true:
            self.calls, self.seconds = self.calls + 1, self.seconds + true
            return Timing(gpu=true, slow=True)
        calls = 2 * (trial.replays + 2)
        self.calls, self.seconds = self.calls + calls, self.seconds + calls * true
        return Timing(tuple(true * dice.gauss(1, self.noise) for _ in range(trial.replays)), calls * true)

    def play(self) -> Found:
        asking = search(self.tokens, {gemm: list(self.base(gemm)) for gemm in GEMMS})
        batch = next(asking)
        while True:
            try:
                batch = asking.send(self.answer(batch))
            except StopIteration as end:
                return end.value

    def best_pair(self) -> float:
        every = {gemm: [replace(c, group_m=g) for c in self.base(gemm) for g in GROUPS] for gemm in GEMMS}
        rows = {config.block_m for config in every["up"]}
        return min(
            sum(min(self.truth(gemm, c) for c in every[gemm] if c.block_m == row) for gemm in GEMMS) for row in rows
        )


@pytest.mark.parametrize("tokens", SIZES)
def test_the_best_pair_is_found_within_two_percent_for_a_fiftieth_of_the_time(tokens: int) -> None:
    gpu = Playback(tokens)
    found = gpu.play()
    chosen = sum(gpu.truth(gemm, found.best[gemm].config) for gemm in GEMMS)
    assert chosen <= gpu.best_pair() * 1.02
    assert len({one.config.block_m for one in found.best.values()}) == 1
    exhaustive = sum(
        gpu.truth(gemm, replace(config, group_m=group)) * SGLANG_CALLS
        for gemm in GEMMS
        for config in gpu.base(gemm)
        for group in GROUPS
    )
    assert gpu.seconds < exhaustive / 50


def test_a_wrong_kernel_is_dropped_with_a_note_and_the_next_best_taken() -> None:
    first = Playback(64).play()
    best = first.best["up"].config
    again = Playback(64, wrong=frozenset([best])).play()
    assert again.best["up"].config != best
    assert any(config == best and "wrong" in why for _, config, why in again.dropped)


def test_a_refused_kernel_is_dropped_with_its_reason() -> None:
    refused = Playback(64).play().best["down"].config
    plain = replace(refused, group_m=1)
    found = Playback(64, refused=frozenset([plain, refused])).play()
    assert found.best["down"].config not in (plain, refused)
    assert any(config == plain and "OutOfResources" in why for _, config, why in found.dropped)


def test_where_nothing_runs_it_says_so() -> None:
    gpu = Playback(64, refused=frozenset(CONFIGS))
    with pytest.raises(NothingRunsError, match="up GEMM ran for 64 tokens: OutOfResources"):
        gpu.play()


def test_what_is_asked_depends_on_the_answers_alone() -> None:
    first, second = Playback(512), Playback(512)
    assert first.play() == second.play()
    assert first.asked == second.asked
    assert len(set(first.asked)) == len(first.asked)
