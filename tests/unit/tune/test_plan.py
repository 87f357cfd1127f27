"""The commands of a tuning run on a cluster's nodes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy import container
from deploy.cluster.load import load
from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.tune.plan import PORTS, TUNE, Launch, Tries, removal
from deploy.tune.problem import Problem, problem_of
from tests.unit.launch.samples import DIGEST, GOLDEN

IMAGE = f"ghcr.io/owner/sglang-spark-glm47@{DIGEST}"
PROBLEM = Problem(Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True), GB10)
TOKEN = "5e" * 32


def four() -> Cluster:
    return load(GOLDEN / "four-sparks" / "cluster.yaml").cluster


def launch(**problem: object) -> Launch:
    return Launch(four(), dict.fromkeys(range(4), IMAGE), replace(PROBLEM, **problem), TOKEN)  # type: ignore[arg-type]


def commands() -> dict[str, Command]:
    one = launch()
    return {"facts": one.facts(2), "head": one.head(0, 1, 121, {"sizes": [1]}), "join": one.join(2, 1, head=0)}


@pytest.mark.parametrize("role", ["facts", "head", "join"])
def test_what_runs_on_a_node_ends_with_its_input_and_leaves_no_container(role: str) -> None:
    command = commands()[role]
    assert command.held
    assert command.loose
    assert {"--rm", "--init", "--interactive"} <= set(command.argv)
    assert "--detach" not in command.argv


@pytest.mark.parametrize("role", ["facts", "head", "join"])
def test_a_tuning_container_is_none_of_a_ranks(role: str) -> None:
    argv = commands()[role].argv
    assert f"{TUNE}={four().name}" in argv
    assert not any(word.startswith((f"{container.CLUSTER}=", f"{container.RANK}=")) for word in argv)


@pytest.mark.parametrize("role", ["facts", "head", "join"])
def test_the_token_is_in_no_argument_and_the_rights_are_few(role: str) -> None:
    command = commands()[role]
    assert TOKEN not in " ".join(command.argv)
    assert command.argv[command.argv.index("--cap-drop") + 1] == "ALL"


def test_the_token_and_the_job_go_over_the_input_as_one_line() -> None:
    told = commands()["head"].stdin
    assert told.endswith("\n")
    assert json.loads(told) == {"sizes": [1], "token": TOKEN}
    assert json.loads(commands()["join"].stdin) == {"token": TOKEN}
    assert TOKEN not in repr(commands()["head"])
    assert TOKEN not in repr(launch())


def test_ray_speaks_on_the_fabric() -> None:
    cluster, argv = four(), commands()["join"].argv
    argv = argv[argv.index(IMAGE) :]
    assert argv[argv.index("--address") + 1] == cluster.nodes[2].fabric
    assert argv[argv.index("--head") + 1] == f"{cluster.nodes[0].fabric}:{PORTS}"
    assert argv[argv.index("--name") + 1] == cluster.nodes[2].host


def test_the_problem_arrives_as_it_is() -> None:
    assert problem_of(json.loads(commands()["facts"].argv[-1])) == PROBLEM


def test_recorded_expert_ids_are_mounted_where_they_are() -> None:
    assert "/data/ids:/data/ids:ro" in launch(recorded="/data/ids").facts(0).argv
    assert "--volume" not in commands()["facts"].argv


def test_kernels_are_compiled_as_the_ranks_compile_them() -> None:
    told = four().model_copy(update={"environment": {"TRITON_PTXAS_PATH": "/ptxas"}})
    native = told.model_copy(update={"kernels": told.kernels.model_copy(update={"native_fp8": True})})
    argv = replace(launch(), cluster=native).facts(0).argv
    assert {"TRITON_PTXAS_PATH=/ptxas", "TRITON_OVERRIDE_ARCH=sm120"} <= set(argv)


def test_a_removal_is_of_this_clusters_tuning_alone() -> None:
    assert removal("c").argv[-2:] == (TUNE, "c")


def test_what_is_begun_again_in_vain_is_given_up_and_a_fruit_counts_anew() -> None:
    tries = Tries(2)
    assert [tries.again("a") for _ in range(3)] == [True, True, False]
    assert tries.again("b")
    tries.fruitful("a")
    assert tries.again("a")
