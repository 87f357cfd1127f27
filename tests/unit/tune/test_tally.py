"""How far measuring is: an estimate that sizes which have ended make better, and the best so far."""

from __future__ import annotations

import pytest

from deploy.kernels.table import Config
from deploy.tune.comparison import Comparison
from deploy.tune.happening import Finished, Measured
from deploy.tune.tally import Tally, expected
from deploy.tune.task import Task
from deploy.tune.trial import GemmName, Timing, Trial
from tests.unit.tune.test_comparison import PROBLEM, SIDES
from tests.unit.tune.test_task import TASK, played

CONFIG = Config(16, 64, 64, 1, 4, 3)


def made(tokens: int, gemm: GemmName, seconds: float) -> Measured:
    return Measured("a", Trial(tokens, gemm, CONFIG, "sift"), Timing((seconds,), seconds))


def test_the_estimate_of_a_size_is_near_what_a_search_takes() -> None:
    known: dict[Trial, Timing] = {}
    played(known)
    some = sum(trial.tokens == 16 for trial in known)
    assert 0.7 < some / expected(TASK) < 1.5


def test_sizes_that_ended_say_what_the_others_will_take() -> None:
    tally = Tally(TASK, (16, 1), {})
    guess = tally.all
    for _ in range(40):
        tally.take(made(16, "up", 1e-3))
    assert tally.all == guess
    tally.take(Finished("a", 16))
    assert (tally.total(16), tally.total(1), tally.all) == (40, 40, 80)
    assert tally.all_made == 40


def test_the_best_pair_needs_both_gemms() -> None:
    tally = Tally(TASK, (16,), {})
    tally.take(made(16, "up", 2e-3))
    assert tally.pair(16) == float("inf")
    tally.take(made(16, "down", 1e-3))
    assert tally.pair(16) == pytest.approx(3e-3)
    assert tally.pair(1) == float("inf")


def test_time_left_follows_from_what_was_measured_now_and_not_from_what_was_known() -> None:
    known = {made(16, "up", 1e-3).trial: Timing((1e-3,))}
    tally = Tally(TASK, (16, 1), known)
    assert tally.left(10) is None
    assert tally.all_made == 1
    tally.take(made(16, "down", 1e-3))
    assert tally.left(10) == pytest.approx(10 * (tally.all - 2))


def test_a_size_that_takes_more_than_expected_is_never_done_before_its_end() -> None:
    tally = Tally(Task(TASK.problem, (16,), TASK.ceilings, (CONFIG,)), (16,), {})
    for _ in range(2 * expected(tally.work)):
        tally.take(made(16, "up", 1e-3))
    assert tally.all == tally.all_made + 1


def test_a_comparison_counts_its_own_trials_alone() -> None:
    known = {made(8, "up", 1e-3).trial: Timing((1e-3,))}
    tally = Tally(Comparison(PROBLEM, {8: SIDES}), (8,), known)
    assert (tally.all_made, tally.all) == (0, 28)
