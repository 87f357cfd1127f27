"""A task's searches: the same wherever they are played, so that results follow from the journal alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune.happening import Began, Finished, Happening, Lost, Measured, heard, line
from deploy.tune.local import measured
from deploy.tune.problem import Problem
from deploy.tune.roofline import Ceilings
from deploy.tune.task import Task, longest_first, results, task_of
from deploy.tune.trial import Timing, Trial
from tests.unit.tune.test_play import Device

TASK = Task(Problem(Shape(8, 64, 128, 2, "fp8_w8a8"), GB10), (16, 1), Ceilings(2.7e11, 1e14))


def played(known: dict[Trial, Timing], stop: int = 10**6) -> list[Happening]:
    said: list[Happening] = []
    for happening in measured(TASK, TASK.sizes, Device(), known, "spark-1"):
        said.append(happening)
        if isinstance(happening, Measured):
            known[happening.trial] = happening.timing
        if len(said) == stop:
            break
    return said


def test_results_follow_from_what_is_known() -> None:
    known: dict[Trial, Timing] = {}
    said = played(known)
    assert said[0] == Began("spark-1", 16)
    assert said[-1] == Finished("spark-1", 1)
    made = results(TASK, known)
    assert sorted(made.found) == [1, 16]
    assert not made.failed
    assert results(TASK, json_round(known)) == made


def test_of_a_run_that_was_cut_off_only_whole_sizes_are_told() -> None:
    known: dict[Trial, Timing] = {}
    half = len(played(dict(known))) - 5
    played(known, half)
    assert sorted(results(TASK, known).found) == [16]
    assert results(TASK, {}).found == {}


def test_where_nothing_runs_the_reason_is_told() -> None:
    class Refusing(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            return Timing(failed="OutOfResources")

    known: dict[Trial, Timing] = {}
    said = list(measured(TASK, [16], Refusing(), known))
    for one in said:
        if isinstance(one, Measured):
            known[one.trial] = one.timing
    assert isinstance(said[-1], Finished)
    assert "OutOfResources" in said[-1].failed
    assert results(TASK, known).failed == {16: said[-1].failed}


def test_a_bound_of_uniform_routing_ends_no_search_of_another_one() -> None:
    skewed = replace(TASK, problem=replace(TASK.problem, skew=1.0), ceilings=Ceilings(1.0, 1.0))
    uniform = replace(TASK, ceilings=skewed.ceilings)
    assert uniform.bounded
    assert not skewed.bounded
    assert next(uniform.search(16)).enough > 1
    assert next(skewed.search(16)).enough == 0


def test_a_search_can_be_narrowed() -> None:
    some = tuple(Config(16, 64, 64, group, 4, 3) for group in (1, 16)) + (Config(128, 256, 256, 1, 8, 5),)
    narrow = replace(TASK, only=some)
    assert {gemm: list(found) for gemm, found in narrow.candidates.items()} == {
        gemm: [some[0]] for gemm in ("up", "down")
    }
    assert task_of(json.loads(json.dumps(narrow.as_json()))) == narrow


def test_a_task_goes_to_another_machine_as_it_is() -> None:
    assert task_of(json.loads(json.dumps(TASK.as_json()))) == TASK
    assert longest_first([1, 4096, 64]) == (4096, 64, 1)


@pytest.mark.parametrize("happening", [*played({}, 3), Finished("a", 4, "why"), Lost("a", "the node is gone", 64)])
def test_what_happens_is_one_line(happening: Happening) -> None:
    said = line(happening)
    assert "\n" not in said
    assert heard(said) == happening


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind":"other"}', "nonsense"])
def test_what_is_no_happening_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        heard(text)


def json_round(known: dict[Trial, Timing]) -> dict[Trial, Timing]:
    lines = [line(Measured("", trial, timing)) for trial, timing in known.items()]
    made = [heard(one) for one in lines]
    return {one.trial: one.timing for one in made if isinstance(one, Measured)}
