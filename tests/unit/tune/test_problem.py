"""What is tuned for: what fits, what travels to a worker, and the bound that no kernel can beat."""

from __future__ import annotations

import json
from dataclasses import replace

from deploy.kernels.gpu import GB10
from deploy.kernels.memory import shared_memory
from deploy.kernels.shape import Shape
from deploy.tune.problem import Emulation, Problem, problem_of
from deploy.tune.roofline import Ceilings, bound

GLM = Problem(Shape(160, 384, 5120, 8, per_channel=True), GB10)
BLOCKS = Problem(Shape(128, 384, 2048, 8, block=(128, 128)), GB10, 1.2, "/ids", True, Emulation("sm121", 101_376))


def test_a_problem_travels_as_json() -> None:
    for one in (GLM, BLOCKS):
        assert problem_of(json.loads(json.dumps(one.as_json()))) == one


def test_candidates_are_sglangs_space_less_what_does_not_fit() -> None:
    up, _ = GLM.shape.gemms
    assert len(GLM.candidates["up"]) == len(GLM.candidates["down"]) == 364
    assert all(shared_memory(one, up, GB10) <= GB10.shared_memory for one in GLM.candidates["up"])
    assert len(BLOCKS.candidates["down"]) == 282
    assert {one.block_k for one in BLOCKS.candidates["down"]} == {64, 128}
    assert {one.group_m for one in GLM.candidates["up"]} == {1}


def test_one_token_reads_the_weights_of_its_experts_and_many_read_all_or_compute() -> None:
    up = GLM.shape.gemms[0]
    ceilings = Ceilings(bandwidth=1e12, operations=1e15)
    weights = up.n * up.k
    assert abs(bound(GLM.shape, up, 1, ceilings) * 1e12 - 8 * weights) < 0.01 * 8 * weights
    assert bound(GLM.shape, up, 512, ceilings) * 1e12 > 0.99 * 160 * weights
    many = 1 << 16
    # Eight bits may go twice as fast as the sixteen that the ceiling was measured with.
    assert bound(GLM.shape, up, many, ceilings) == many * 8 * weights / 1e15
    plain = replace(GLM.shape, dtype="bf16")
    assert bound(plain, plain.gemms[0], many, ceilings) == 2 * many * 8 * weights / 1e15
