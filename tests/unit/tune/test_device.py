"""A device: what has one binary is timed once, and what the compiler refuses never. No process is started here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import TuneError
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune import device as room
from deploy.tune.device import Device
from deploy.tune.play import NoMemoryError
from deploy.tune.problem import Problem
from deploy.tune.trial import Timing, Trial, timing_json

CONFIG = Config(16, 64, 128, 1, 4, 3)
FIRST = Trial(64, "up", CONFIG, "sift")
TWIN = Trial(64, "up", replace(CONFIG, num_stages=4), "sift")
WIDER = Trial(64, "up", replace(CONFIG, block_n=128), "sift")
REFUSED = Trial(64, "up", replace(CONFIG, num_stages=5), "sift")


ENDED = {"error": "the process ended with -9: Killed"}
FAULT = {"failed": "AcceleratorError: CUDA error: an illegal memory access was encountered"}
HANGS = {"error": "no answer in 120 s", "hangs": True}
FULL = {"failed": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"}
WELL = {"device": "NVIDIA GB10", "capability": [12, 1]}


class Gpu(Device):
    """Without its process: counts the trials that it is asked for, and answers `said` before any timing."""

    asked = 0
    said: list[dict[str, Any]]
    well: dict[str, Any]

    def _asked(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        if request.get("facts"):
            return self.well
        self.asked += 1
        if self.said:
            return self.said.pop(0)
        return timing_json(Timing((1.0 / self.asked,), gpu=0.5))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    def answers(requests: Sequence[Any], setting: Any, workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for at, request in enumerate(requests):
            refused = request["kernel"]["config"]["num_stages"] == 5
            yield at, {"refusal": "OutOfResources"} if refused else {"binary": "same"}

    monkeypatch.setattr(room, "answers", answers)
    made = Gpu(Problem(Shape(160, 384, 5120, 8), GB10), Path("kernels.py"), 121, 1)
    made.said, made.well = [], WELL
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


def test_a_compiler_that_was_killed_refuses_nothing(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = {"error": "the process ended with -9: ", "ended": True}
    monkeypatch.setattr(room, "answers", lambda requests, *_: enumerate([ended] * len(requests)))
    gpu.prepare([FIRST])
    assert gpu.time(FIRST, 0).seconds


def test_what_the_compiler_refuses_is_never_timed(gpu: Gpu) -> None:
    gpu.prepare([REFUSED])
    assert gpu.time(REFUSED, 0) == Timing(failed="OutOfResources")
    assert gpu.asked == 0


@pytest.mark.parametrize("said", [ENDED, FAULT, FULL])
def test_a_trial_whose_process_ended_is_made_once_more_in_another(gpu: Gpu, said: dict[str, Any]) -> None:
    gpu.said = [said]
    assert gpu.time(FIRST, 0) == Timing((0.5,), gpu=0.5)
    assert gpu.asked == 2


@pytest.mark.parametrize("said", [ENDED, FAULT])
def test_a_trial_that_ends_its_process_twice_has_failed(gpu: Gpu, said: dict[str, Any]) -> None:
    gpu.said = [said, said]
    assert gpu.time(FIRST, 0) == Timing(failed=str(said.get("error") or said["failed"]))
    assert gpu.time(TWIN, 0).seconds
    assert gpu.asked == 3


def test_a_trial_that_hangs_is_not_waited_for_twice(gpu: Gpu) -> None:
    gpu.said = [HANGS]
    assert gpu.time(FIRST, 0) == Timing(failed="no answer in 120 s")
    assert gpu.asked == 1


def test_what_the_worker_refuses_is_an_answer(gpu: Gpu) -> None:
    refused = Timing(failed="OutOfResources: out of resource: shared memory, Required: 147456")
    gpu.said = [timing_json(refused)]
    assert gpu.time(FIRST, 0) == refused
    assert gpu.asked == 1


def test_a_want_of_memory_is_no_failure_of_a_configuration(gpu: Gpu) -> None:
    gpu.said = [FULL, FULL]
    with pytest.raises(NoMemoryError, match="Tried to allocate"):
        gpu.time(FIRST, 0)


def test_a_gpu_that_is_gone_ends_the_run_and_fails_no_configuration(gpu: Gpu) -> None:
    gpu.said, gpu.well = [ENDED, ENDED], {"error": "the process ended with 1: No CUDA GPUs are available"}
    with pytest.raises(TuneError, match="No CUDA GPUs are available"):
        gpu.time(FIRST, 0)
