"""The stand-ins for GPU and compiler answer as the real processes do, and the same everywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.lab.standin.compiler import answer
from deploy.lab.standin.timer import facts, timing
from deploy.tune.device import stood_in
from deploy.tune.journal import IDENTITY
from deploy.tune.problem import Problem
from deploy.tune.roofline import Ceilings, bound
from deploy.tune.search import TOLERANCE
from deploy.tune.trial import Timing, Trial, timing_of, trial_json

SHAPE = Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True)
TRIAL = Trial(64, "up", Config(32, 64, 128, 1, 4, 4), "sift", replays=3)


def made(trial: Trial, limit: float = 0.0) -> Timing:
    told = json.loads(json.dumps([Problem(SHAPE, GB10).as_json()["shape"], trial_json(trial)]))
    return timing_of(json.loads(json.dumps(timing(*told, limit))))


def test_a_trial_has_one_timing_with_a_figure_a_replay() -> None:
    assert made(TRIAL) == made(TRIAL)
    assert len(made(TRIAL).seconds) == 3
    assert made(TRIAL).gpu > 0


def test_another_round_of_the_same_differs_by_a_little_noise() -> None:
    ratio = made(replace(TRIAL, round=1)).median / made(TRIAL).median
    assert ratio != 1
    assert ratio == pytest.approx(1, abs=0.02)


def test_no_timing_beats_the_bound_of_its_own_ceilings() -> None:
    found = facts(Path(__file__))
    ceilings = Ceilings.of(found)
    problem = Problem(SHAPE, GB10)
    for tokens in (1, 64, 4096):
        for gemm in SHAPE.gemms:
            least = bound(SHAPE, gemm, tokens, ceilings)
            for config in problem.candidates["up"][::7]:
                trial = Trial(tokens, gemm.name, config, "sift")  # type: ignore[arg-type]
                assert made(trial).median > least


def test_a_hopeless_first_call_ends_the_trial_and_a_check_has_an_error_alone() -> None:
    slow = made(TRIAL, made(TRIAL).median / 3)
    assert slow.slow
    assert (slow.seconds, slow.first > 0) == ((), True)
    checked = made(replace(TRIAL, stage="check", replays=0))
    assert checked.error is not None
    assert checked.error < TOLERANCE
    assert checked.seconds == ()


def test_its_facts_are_those_that_a_journal_asks_for_and_say_stand_in() -> None:
    found = facts(Path(__file__))
    assert set(IDENTITY) <= set(found)
    assert "stand-in" in found["device"]
    assert stood_in({"device": "NVIDIA GB10"}) == {"device": "stand-in for NVIDIA GB10", "stand_in": True}
    assert stood_in(found) == found


def test_the_compiler_refuses_what_is_larger_than_the_limit() -> None:
    kernel = Kernel(TRIAL.config, SHAPE, "up", 64)
    request = json.loads(json.dumps({"kernel": kernel.as_json(), "lowering": "", "only_shared": False}))
    assert answer(request, GB10.shared_memory)["refusal"] == ""
    assert "out of resource" in answer(request, 1000)["refusal"]
