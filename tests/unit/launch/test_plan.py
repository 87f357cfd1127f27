"""Plans: golden cases, and what a second `up` would do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import container
from deploy.cluster.load import load, parse
from deploy.cluster.spec import Cluster
from deploy.launch import plan
from deploy.launch.node import NodeFacts, RunningRank
from deploy.launch.takedown import takedown
from tests.unit.launch.samples import DIGEST, GOLDEN, sparks

IMAGE = f"ghcr.io/owner/sglang-spark-glm47@{DIGEST}"
MARK = "hunter2-never-shown"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/cluster.yaml"))


def four() -> Cluster:
    return load(GOLDEN / "four-sparks" / "cluster.yaml").cluster


def running(cluster: Cluster, facts: list[NodeFacts], **changes: str) -> list[NodeFacts]:
    """The facts after a successful `up` of this cluster."""
    after = []
    for rank, node in enumerate(facts):
        labels = plan.rank_container(cluster, rank, IMAGE, node).labels
        found = RunningRank(
            plan.rank_name(cluster, rank), rank, cluster.name, labels[container.DIGEST], labels[container.LAUNCH],
            "running", "2026-01-01T00:00:00Z",
        )  # fmt: skip
        after.append(replace(node, ranks=(replace(found, **changes) if rank == 1 else found,)))
    return after


@pytest.mark.parametrize("case", CASES)
def test_the_plan_is_the_recorded_one(case: str, pytestconfig: pytest.Config) -> None:
    cluster = load(GOLDEN / case / "cluster.yaml").cluster
    found = plan.as_json(plan.up(cluster, IMAGE, sparks(cluster), {"HF_TOKEN": MARK}), cluster) + "\n"
    file: Path = GOLDEN / case / "plan.json"
    if pytestconfig.getoption("--golden-update"):
        file.write_text(found)
    assert json.loads(found) == json.loads(file.read_text())
    assert MARK not in found


def test_every_step_reaches_every_node_that_needs_it() -> None:
    cluster = four()
    facts = sparks(cluster)
    facts[1] = replace(facts[1], images=(("ghcr.io/other/name", DIGEST),))
    facts[2] = replace(facts[2], images=(("ghcr.io/owner/sglang-spark-glm47", DIGEST),))
    steps = {step.title: sorted(step.commands) for step in plan.up(cluster, IMAGE, facts, {}).steps}
    assert steps == {"pull": [0, 1, 3], **{key: [0, 1, 2, 3] for key in ("self-test", "prepare", "start")}}


def test_an_image_proves_itself_once_on_each_node_and_before_anything_is_removed() -> None:
    cluster = four()
    facts = running(cluster, sparks(cluster), launch="other")
    image = ("ghcr.io/owner/sglang-spark-glm47", DIGEST)
    facts[1] = replace(facts[1], images=(image,), proven=(image,))
    facts[2] = replace(facts[2], images=(image,))
    facts[3] = replace(facts[3], images=(image,), proven=((image[0], "sha256:other"),))
    steps = plan.up(cluster, IMAGE, facts, {}).steps
    assert [step.title for step in steps] == ["pull", "self-test", "remove", "prepare", "start"]
    assert sorted(steps[0].commands) == [0]
    assert sorted(steps[1].commands) == [0, 2, 3]


def test_the_self_test_gets_neither_gpu_nor_network_nor_secret() -> None:
    cluster = load(GOLDEN / "two-nodes" / "cluster.yaml").cluster
    step = next(
        one for one in plan.up(cluster, IMAGE, sparks(cluster), {"HF_TOKEN": MARK}).steps if one.title == "self-test"
    )
    command = step.commands[0]
    assert command.argv[-2:] == (IMAGE, "ghcr.io/owner/sglang-spark-glm47:self-tested")
    assert "--network none" in str(command)
    assert not any(word in str(command) for word in ("--gpus", "--env", "--volume", "HF_TOKEN"))
    assert command.stdin == ""


def test_a_single_node_gets_no_rendezvous() -> None:
    cluster = load(GOLDEN / "one-node" / "cluster.yaml").cluster
    argv = plan.rank_container(cluster, 0, IMAGE, sparks(cluster)[0]).argv
    assert not {"--nnodes", "--node-rank", "--dist-init-addr"} & set(argv)


def test_a_second_up_has_nothing_to_do() -> None:
    cluster = four()
    todo = plan.up(cluster, IMAGE, running(cluster, sparks(cluster)), {})
    assert todo.steps == ()
    assert todo.why == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"launch": "other"}, "rank 1 runs with other settings"),
        ({"launch": "other", "digest": "sha256:00"}, "rank 1 runs with other image"),
        ({"state": "exited"}, "rank 1 is exited"),
        (
            {"container": "sglang-spark-four-sparks-rank7"},
            "rank 1 does not run; sglang-spark-four",
        ),
    ],
)
def test_one_rank_that_differs_recreates_the_gang(changes: dict[str, str], why: str) -> None:
    cluster = four()
    todo = plan.up(cluster, IMAGE, running(cluster, sparks(cluster), **changes), {})
    assert todo.why.startswith(why)
    removed = next(step for step in todo.steps if step.title == "remove")
    assert sorted(removed.commands) == [0, 1, 2, 3]
    assert sorted(todo.steps[-1].commands) == [0, 1, 2, 3]


def test_any_change_of_the_file_changes_every_rank() -> None:
    text = (GOLDEN / "four-sparks" / "cluster.yaml").read_text()
    cluster, changed = four(), parse("c", text + "server: {context-length: 4096}\n").cluster
    todo = plan.up(changed, IMAGE, running(cluster, sparks(cluster)), {})
    assert todo.why == "; ".join(f"rank {rank} runs with other settings" for rank in range(4))


def test_secrets_travel_as_input_and_never_as_arguments() -> None:
    cluster = load(GOLDEN / "two-nodes" / "cluster.yaml").cluster
    todo = plan.up(cluster, IMAGE, sparks(cluster), {"HF_TOKEN": MARK})
    prepare = next(step for step in todo.steps if step.title == "prepare").commands[0]
    assert MARK in prepare.stdin
    assert MARK not in repr(todo)
    assert MARK not in plan.describe(todo, cluster)


def test_what_prepare_writes_is_what_down_forgets() -> None:
    cluster = load(GOLDEN / "two-nodes" / "cluster.yaml").cluster
    facts = sparks(cluster)
    written = next(one for one in plan.up(cluster, IMAGE, facts, {"HF_TOKEN": MARK}).steps if one.title == "prepare")
    assert f"{facts[0].home}/{takedown(cluster.name, 0).argv[-1]}" in written.commands[0].argv


def test_the_user_s_environment_wins_over_what_was_found() -> None:
    cluster = load(GOLDEN / "two-nodes" / "cluster.yaml").cluster
    found = plan.rank_container(cluster, 1, IMAGE, sparks(cluster)[1]).environment
    assert found["NCCL_IB_HCA"] == "=rocep1s0f0:1,roceP2p1s0f0:1"
    assert found["SGLANG_HOST_IP"] == "192.168.101.12"


def test_native_fp8_is_set_for_every_rank_only_where_it_is_asked_for() -> None:
    text = (GOLDEN / "four-sparks" / "cluster.yaml").read_text()
    plain, native = four(), parse("c", text + "kernels: {native_fp8: true}\n").cluster
    for rank, facts in enumerate(sparks(plain)):
        assert "TRITON_OVERRIDE_ARCH" not in plan.rank_container(plain, rank, IMAGE, facts).environment
        assert plan.rank_container(native, rank, IMAGE, facts).environment["TRITON_OVERRIDE_ARCH"] == "sm120"


def test_without_rdma_no_device_is_asked_for() -> None:
    cluster = four()
    facts = [replace(node, rdma=()) for node in sparks(cluster)]
    one = plan.rank_container(cluster, 0, IMAGE, facts[0])
    assert one.devices == ()
    assert "NCCL_IB_HCA" not in one.environment
    assert one.environment["NCCL_SOCKET_IFNAME"] == "=enp1s0f0np0"


def test_commands_survive_a_shell_to_the_letter() -> None:
    import shlex

    cluster = load(GOLDEN / "two-nodes" / "cluster.yaml").cluster
    for command in plan.up(cluster, IMAGE, sparks(cluster), {"HF_TOKEN": MARK}).steps[-1].commands.values():
        assert tuple(shlex.split(str(command))) == command.argv
