"""A device: what has one binary is timed once, and what the compiler refuses never. No process is started here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune import device as room
from deploy.tune.device import Device
from deploy.tune.problem import Problem
from deploy.tune.trial import Timing, Trial, timing_json

CONFIG = Config(16, 64, 128, 1, 4, 3)
FIRST = Trial(64, "up", CONFIG, "sift")
TWIN = Trial(64, "up", replace(CONFIG, num_stages=4), "sift")
WIDER = Trial(64, "up", replace(CONFIG, block_n=128), "sift")
REFUSED = Trial(64, "up", replace(CONFIG, num_stages=5), "sift")


class Gpu(Device):
    """Without its process: counts what it is asked."""

    asked = 0

    def _asked(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        self.asked += 1
        return timing_json(Timing((1.0 / self.asked,), gpu=0.5))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    def answers(requests: Sequence[Any], setting: Any, workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for at, request in enumerate(requests):
            refused = request["kernel"]["config"]["num_stages"] == 5
            yield at, {"refusal": "OutOfResources"} if refused else {"binary": "same"}

    monkeypatch.setattr(room, "answers", answers)
    made = Gpu(Problem(Shape(160, 384, 5120, 8), GB10), Path("kernels.py"), 121, 1)
    yield made
    made.close()


def test_configurations_of_one_binary_are_timed_once(gpu: Gpu) -> None:
    gpu.prepare([FIRST, TWIN])
    first = gpu.time(FIRST, 0)
    assert gpu.time(TWIN, 0) == replace(first, gpu=0.0)
    assert gpu.asked == 1


@pytest.mark.parametrize("other", [WIDER, replace(TWIN, round=1), replace(TWIN, gemm="down"), replace(TWIN, tokens=65)])
def test_another_grid_round_gemm_or_batch_is_another_measurement(gpu: Gpu, other: Trial) -> None:
    gpu.prepare([FIRST, other])
    assert gpu.time(FIRST, 0) != gpu.time(other, 0)
    assert gpu.asked == 2


def test_what_was_not_prepared_is_timed_all_the_same(gpu: Gpu) -> None:
    assert gpu.time(FIRST, 0) != gpu.time(TWIN, 0)


def test_what_the_compiler_refuses_is_never_timed(gpu: Gpu) -> None:
    gpu.prepare([REFUSED])
    assert gpu.time(REFUSED, 0) == Timing(failed="OutOfResources")
    assert gpu.asked == 0
