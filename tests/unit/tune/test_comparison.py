"""Two tables in turns: who begins alternates, and only what every round says is a difference."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune.comparison import ROUNDS, Comparison, comparisons
from deploy.tune.happening import Finished, Measured
from deploy.tune.local import measured
from deploy.tune.problem import Problem
from deploy.tune.task import task_of
from deploy.tune.trial import Timing, Trial
from tests.unit.tune.test_play import Device

PROBLEM = Problem(Shape(8, 64, 128, 2, "fp8_w8a8"), GB10)
SLOW, FAST = Config(16, 32, 64, 1, 4, 3), Config(16, 128, 64, 1, 4, 3)
SIDES = {"up": SLOW, "down": SLOW}, {"up": FAST, "down": SLOW}


class Noisy(Device):
    """A stand-in whose calls of one configuration differ by what is said of each round."""

    def __init__(self, factors: dict[Config, list[float]]) -> None:
        super().__init__()
        self.factors = factors

    def time(self, trial: Trial, limit: float) -> Timing:
        self.made.append((trial, limit))
        return Timing((self.factors[trial.config][trial.round],) * trial.replays, 1.0)


def timed(comparison: Comparison, device: Device) -> dict[Trial, Timing]:
    known: dict[Trial, Timing] = {}
    for one in measured(comparison, comparison.sizes, device, known):
        if isinstance(one, Measured):
            known[one.trial] = one.timing
    return known


def test_the_sides_take_turns_and_who_begins_alternates() -> None:
    device = Device()
    timed(Comparison(PROBLEM, {8: SIDES}), device)
    ups = [(trial.round, trial.config) for trial, _ in device.made if trial.gemm == "up"]
    assert ups[:4] == [(0, SLOW), (0, FAST), (1, FAST), (1, SLOW)]
    assert len(ups) == 2 * ROUNDS


def test_what_both_sides_take_is_timed_once_a_round() -> None:
    device = Device()
    known = timed(Comparison(PROBLEM, {8: SIDES}), device)
    assert len(device.made) == len(known) == 3 * ROUNDS


def test_a_difference_that_every_round_shows_is_told() -> None:
    comparison = Comparison(PROBLEM, {8: SIDES, 16: (SIDES[1], SIDES[0])})
    found = comparisons(comparison, timed(comparison, Device()))
    assert found[8].verdict == "faster"
    assert found[8].b.seconds < found[8].a.seconds
    assert found[8].ratio == pytest.approx(found[8].b.seconds / found[8].a.seconds)
    assert found[16].verdict == "slower"


def test_where_rounds_disagree_there_is_no_difference() -> None:
    factors = {SLOW: [1.0] * ROUNDS, FAST: [0.9] * (ROUNDS - 1) + [1.05]}
    comparison = Comparison(PROBLEM, {8: SIDES})
    found = comparisons(comparison, timed(comparison, Noisy(factors)))[8]
    assert found.verdict == "no difference beyond the spread"
    assert found.ratio == pytest.approx(0.95)
    assert found.low < 1 < found.high


def test_a_drift_that_both_sides_share_hides_no_difference() -> None:
    drift = [1.0 + 0.1 * number for number in range(ROUNDS)]
    comparison = Comparison(PROBLEM, {8: SIDES})
    found = comparisons(comparison, timed(comparison, Noisy({SLOW: drift, FAST: [0.98 * one for one in drift]})))[8]
    assert found.verdict == "faster"
    assert found.a.spread > 0.3


def test_the_same_configurations_are_said_to_be_the_same() -> None:
    comparison = Comparison(PROBLEM, {8: (SIDES[0], SIDES[0])})
    assert comparisons(comparison, timed(comparison, Device()))[8].verdict == "same configurations"


def test_a_side_that_cannot_run_is_told_and_no_ratio_is() -> None:
    class Refusing(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            return Timing(failed="OutOfResources") if trial.config == SLOW else super().time(trial, limit)

    comparison = Comparison(PROBLEM, {8: SIDES})
    known = timed(comparison, Refusing())
    found = comparisons(comparison, known)[8]
    assert found.verdict == "not comparable"
    assert found.a.failed == "up: OutOfResources"
    assert found.ratio == 0


def test_what_is_not_measured_to_its_end_is_not_told() -> None:
    comparison = Comparison(PROBLEM, {8: SIDES})
    known = timed(comparison, Device())
    known.popitem()
    assert comparisons(comparison, known) == {}


def test_a_comparison_goes_to_another_machine_as_it_is() -> None:
    odd = {"up": replace(FAST, options=(("num_ctas", 1),)), "down": SLOW}
    comparison = Comparison(PROBLEM, {8: SIDES, 16: (SIDES[0], odd)})
    assert task_of(json.loads(json.dumps(comparison.as_json()))) == comparison


def test_the_device_says_when_a_size_is_done() -> None:
    said = list(measured(Comparison(PROBLEM, {8: SIDES}), [8], Device(), {}, "spark-1"))
    assert said[-1] == Finished("spark-1", 8)
