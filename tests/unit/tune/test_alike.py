"""Nodes are held to be of a kind before they measure together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.command import Command, Result
from deploy.launch.node import NodeFacts, RunningRank
from deploy.tune.alike import ALIKE, differing, obstacle, told

FREE = NodeFacts(gpus=("NVIDIA GB10",))
RANK = RunningRank("sglang-spark-c-rank0", 0, "c", "sha256:a", "1", "running", "")
FACTS = {name: f"{name} 1" for name in ALIKE}


def result(code: int | None, stderr: str = "") -> Result:
    return Result(Command(("true",)), code, "", stderr)


def test_a_free_node_with_a_gpu_can_measure() -> None:
    assert obstacle(FREE) == ""
    assert obstacle(replace(FREE, ranks=(replace(RANK, state="exited"),))) == ""


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (replace(FREE, gpus=()), "no GPU"),
        (replace(FREE, docker_error="permission denied"), "permission denied"),
        (replace(FREE, ranks=(RANK,)), "in use by sglang-spark-c-rank0: `down` first"),
        (replace(FREE, others=(RANK,)), "in use by sglang-spark-c-rank0"),
    ],
)
def test_what_is_in_the_way_is_named(node: NodeFacts, why: str) -> None:
    assert why in obstacle(node)


def test_the_last_line_that_tells_of_the_gpu_is_taken_and_an_error_is_one() -> None:
    assert told(["WARNING: x", '{"facts": {"device": "a"}, "ray": "2"}'], result(0))[0]["facts"] == {"device": "a"}
    assert told(['{"error": "Ray is not in this image", "hint": "h"}'], result(7))[1] == "Ray is not in this image"


def test_a_node_that_told_nothing_says_how_its_command_ended() -> None:
    assert told(["docker: no such image"], result(125)) == ({}, "exit code 125: docker: no such image")
    assert told([], result(None, "the connection broke"))[1] == "it did not end: the connection broke"


@pytest.mark.parametrize("name", ALIKE)
def test_the_node_that_differs_from_the_others_is_named_with_what(name: str) -> None:
    facts = {rank: dict(FACTS) for rank in range(4)}
    assert differing(facts) == {}
    facts[0][name] = "other"
    assert differing(facts) == {0: f"{name} other, and elsewhere {name} 1"}


def test_what_a_timing_does_not_depend_on_may_differ() -> None:
    assert differing({0: {**FACTS, "bandwidth": 1.0}, 1: {**FACTS, "bandwidth": 2.0}}) == {}
