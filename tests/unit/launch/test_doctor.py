"""Every check both ways: four good nodes pass all of them, and each fault fails its own check on its own node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from deploy.cluster.load import load
from deploy.cluster.spec import Cluster
from deploy.errors import HostKeyError, RemoteError
from deploy.launch.doctor import fabric, model
from deploy.launch.doctor.check import FAIL, FIRM, MENDS, PASS, SKIP, WARN, Check
from deploy.launch.doctor.examine import examine
from deploy.launch.doctor.seen import Case, GpuProcess, Seen
from deploy.launch.node import Rdma, RunningRank
from tests.unit.launch.samples import DIGEST, GOLDEN, case

IMAGE = (("ghcr.io/owner/sglang-spark-glm47", DIGEST),)
OTHER_IMAGE = (("ghcr.io/owner/sglang-spark-glm47", "sha256:" + "6d" * 32),)
Change = Callable[[Seen], Seen]


def four(**changes: Any) -> Cluster:
    cluster = load(GOLDEN / "four-sparks" / "cluster.yaml").cluster
    return cluster.model_copy(update=changes)


def rank(state: str, code: int = 0, **more: Any) -> RunningRank:
    return RunningRank("sglang-spark-four-sparks-rank2", 2, "four-sparks", DIGEST, "l", state, "", code, **more)


def facts(**changes: Any) -> Change:
    return lambda node: replace(node, facts=replace(node.facts, **changes))


def snapshot(**changes: Any) -> Change:
    return lambda node: replace(node, model=replace(node.model, **changes))


def memory(**changes: int) -> Change:
    return lambda node: replace(node, memory={**node.memory, **changes})


def port(**changes: Any) -> Change:
    return lambda node: facts(rdma=tuple(replace(one, **changes) for one in node.facts.rdma[:1]))(node)


def without(node: Seen) -> Seen:
    return snapshot(folder="", snapshots=(), config=None, indexed=False, total=0, wanted=frozenset(), shards={})(node)


def found(cluster: Cluster, change: Change | None = None, ranks: tuple[int, ...] = (2,)) -> dict[str, list[Check]]:
    """The checks by id, with `change` done to some of the nodes."""
    whole = case(cluster)
    nodes = {one: change(node) if change and one in ranks else node for one, node in whole.nodes.items()}
    by_id: dict[str, list[Check]] = {}
    for one in examine(replace(whole, nodes=nodes)):
        by_id.setdefault(one.id, []).append(one)
    return by_id


def outcome(checks: Mapping[str, list[Check]], name: str, of: int = 2) -> Check:
    (one,) = [one for one in checks.get(name, []) if of in one.ranks]
    return one


def test_good_nodes_pass_every_check() -> None:
    by_id = found(four(api_key="KEY"), facts(images=IMAGE), (0, 1, 2, 3))
    assert set(by_id) == set(MENDS) - {"bandwidth"}
    assert {one.outcome for checks in by_id.values() for one in checks} == {PASS}


def test_every_check_speaks_of_every_node() -> None:
    for name, checks in found(four()).items():
        spoken = sorted(rank for one in checks for rank in one.ranks)
        assert spoken == ([0] if name in ("port.rendezvous", "api.open") else [0, 1, 2, 3]), name


FAULTS: list[tuple[str, str, Change, str]] = [
    ("clock.skew", WARN, lambda node: replace(node, clock=node.clock + 9), "at least 8.8 s ahead of"),
    ("clock.skew", WARN, lambda node: replace(node, clock=node.clock - 9), "at least 8.8 s behind"),
    ("clock.skew", SKIP, lambda node: replace(node, clock=0.0), "no time"),
    ("clock.skew", SKIP, lambda node: replace(node, span=(0.0, 0.0)), "none heard"),
    ("disk.image", FAIL, facts(disk_free=9 << 20, images=IMAGE), "0.0 GiB free for Docker"),
    ("node.architecture", FAIL, facts(architecture="x86_64"), "is amd64, but image.platform is linux/arm64"),
    ("docker.engine", FAIL, facts(docker="", docker_error="no daemon"), "Docker does not answer: no daemon"),
    ("docker.gpu-runtime", FAIL, facts(gpu_runtime=False), "no NVIDIA container runtime"),
    ("docker.gpu-runtime", SKIP, facts(docker=""), "Docker does not answer"),
    ("gpu.model", FAIL, facts(gpus=()), "has 0 GPUs, but its rank needs 1"),
    ("gpu.model", FAIL, facts(gpus=("NVIDIA H100",)), "GPU NVIDIA H100"),
    ("gpu.driver", FAIL, lambda node: replace(node, drivers=("570.1",)), "driver 570.1"),
    ("gpu.driver", SKIP, lambda node: replace(node, drivers=()), "no driver"),
    (
        "gpu.foreign-memory",
        FAIL,
        lambda node: replace(node, gpu_processes=(GpuProcess(7, 9 << 30, "", "ollama"),)),
        "ollama (pid 7) holds 9.0 GiB",
    ),
    (
        "gpu.foreign-memory",
        FAIL,
        lambda node: replace(node, gpu_processes=(GpuProcess(7, None, "ab", "x"),)),
        "holds unknown memory",
    ),
    (
        "gpu.foreign-memory",
        WARN,
        lambda node: replace(node, gpu_processes=(GpuProcess(7, 9 << 20, "", "desktop"),)),
        "desktop",
    ),
    ("rdma.device", FAIL, facts(rdma=()), "no RDMA device belongs to enp1s0f0np0 (devices: none)"),
    ("rdma.device", FAIL, facts(rdma_devices=("/dev/infiniband/rdma_cm",)), "uverbs"),
    ("rdma.port", FAIL, port(state="DOWN"), "rocep1s0f0:1 is DOWN"),
    ("rdma.port", FAIL, port(rate="100 Gb/sec (4X EDR)"), "ACTIVE at 100 Gb/s"),
    ("rdma.port", SKIP, facts(rdma=()), "no RDMA device"),
    ("rdma.gid", FAIL, port(address="", gid_index=-1), "no RoCE v2 GID carries 192.168.101.13"),
    ("rdma.gid", SKIP, facts(rdma=()), "no RDMA device"),
    ("fabric.address", FAIL, facts(interfaces=(("lo", "127.0.0.1"),)), "has no interface with the fabric address"),
    ("fabric.mtu", FAIL, lambda node: replace(node, mtu={"enp1s0f0np0": 1500}), "MTU 1500"),
    ("fabric.mtu", SKIP, lambda node: replace(node, mtu={}), "no interface"),
    (
        "fabric.reach",
        FAIL,
        lambda node: replace(node, reach={"192.168.101.11": "100% packet loss"}),
        "192.168.101.11: 100% packet loss",
    ),
    ("fabric.reach", SKIP, lambda node: replace(node, reach=None), "iputils-ping"),
    ("nccl.hca", SKIP, facts(rdma=()), "no RDMA port to name"),
    ("memory.available", FAIL, facts(memory_available=3 << 30), "3.0 GiB available"),
    ("memory.available", FAIL, facts(memory_available=100 << 30), "100.0 GiB available"),
    ("memory.available", SKIP, facts(ranks=(rank("running"),)), "runs here"),
    ("memory.killed-container", FAIL, memory(MemFree=9 << 30), "held by no process"),
    ("memory.killed-container", SKIP, memory(AnonPages=0), "/proc/meminfo"),
    ("disk.model", FAIL, lambda node: replace(without(node), model_disk_free=1 << 30), "1.0 GiB free"),
    ("model.snapshot", FAIL, without, "is not there"),
    ("model.snapshot", FAIL, lambda node: snapshot(snapshots=("abc",))(without(node)), "no revision 57a9d1, but abc"),
    ("model.snapshot", FAIL, snapshot(config=None), "no config.json"),
    ("model.snapshot", FAIL, snapshot(shards={"model-00001-of-00002.safetensors": 5}), "missing: model-00002"),
    (
        "model.snapshot",
        FAIL,
        snapshot(shards={"model-00001-of-00002.safetensors": 5, "model-00002-of-00002.safetensors": 0}),
        "empty: model-00002",
    ),
    (
        "model.snapshot",
        FAIL,
        snapshot(shards={"model-00001-of-00002.safetensors": 5, "model-00002-of-00002.safetensors": 5}),
        "shorter than on another node: model-00001",
    ),
    ("model.snapshot", FAIL, snapshot(indexed=False, wanted=frozenset(), shards={}), "no model.safetensors.index.json"),
    ("model.revision", FAIL, snapshot(commit="0ther"), "commit 0ther"),
    ("model.revision", SKIP, snapshot(commit=""), "plain folder"),
    ("port.server", FAIL, facts(listening=frozenset({30000})), "port 30000 (server.port) is in use"),
    ("port.server", SKIP, facts(listening=frozenset({30000}), ranks=(rank("running"),)), "runs here"),
    ("leftovers", WARN, facts(ranks=(rank("exited", 137),)), "sglang-spark-four-sparks-rank2 (exited)"),
    ("leftovers", FAIL, facts(others=(replace(rank("running"), cluster="else"),)), "another cluster runs here"),
    ("image.digest", SKIP, facts(images=()), "does not have the image yet"),
    ("fit.memory", FAIL, facts(memory_available=90 << 30), "leave nothing for the KV cache"),
    ("fit.memory", SKIP, facts(gpus=("NVIDIA H100",)), "memory of their own"),
    ("fit.memory", SKIP, facts(ranks=(rank("running"),)), "run already"),
]


@pytest.mark.parametrize(("name", "wanted", "change", "words"), FAULTS)
def test_each_fault_is_told_by_its_check_on_its_node(name: str, wanted: str, change: Change, words: str) -> None:
    one = outcome(found(four(), change), name)
    assert (one.outcome, words in one.seen) == (wanted, True), one
    if name not in ("fit.memory", "image.digest"):
        assert one.ranks == (2,)
    if wanted in (FAIL, WARN):
        assert one.needed
        assert one.hint


def test_every_id_that_can_fail_is_tried() -> None:
    elsewhere = {
        *("ssh.login", "ssh.host-key", "bandwidth", "fabric.not-management", "nccl.hca"),
        *("port.rendezvous", "image.digest", "api.open"),
    }
    assert {name for name, wanted, *_ in FAULTS if wanted != SKIP} | elsewhere == set(MENDS)


def test_the_rendezvous_port_is_wanted_on_the_head_alone() -> None:
    by_id = found(four(), facts(listening=frozenset({50000})), (0, 1))
    assert [(one.outcome, one.ranks) for one in by_id["port.rendezvous"]] == [(FAIL, (0,))]


def test_a_fabric_address_on_the_management_interface_fails_unless_it_is_an_rdma_port_s() -> None:
    def moved(node: Seen) -> Seen:
        interfaces = (("wlan0", "192.168.101.13"),)
        plain = facts(interfaces=interfaces, rdma=())(node)
        return replace(plain, default_route="wlan0", ssh_address="192.168.1.13")

    assert outcome(found(four(), moved), "fabric.not-management").outcome == FAIL
    by_ssh = outcome(
        found(four(), lambda n: replace(moved(n), default_route="", ssh_address="192.168.101.13")),
        "fabric.not-management",
    )
    assert by_ssh.outcome == FAIL
    away = outcome(found(four(), lambda n: replace(moved(n), default_route="eth0")), "fabric.not-management")
    assert away.outcome == PASS
    both = outcome(found(four(), lambda n: replace(n, default_route="enp1s0f0np0")), "fabric.not-management")
    assert (both.outcome, "RDMA" in both.seen) == (PASS, True)


@pytest.mark.parametrize(
    ("asked", "wanted", "words"),
    [
        ("mlx5_1", FAIL, "matches no device (devices: rocep1s0f0:1, rocep1s0f1:1)"),
        ("=rocep1", FAIL, "matches no device"),
        ("rocep1s0f1", WARN, "none of which carries the fabric address"),
        ("rocep1", PASS, "rocep1s0f0:1"),
        ("=rocep1s0f0:1", PASS, "rocep1s0f0:1"),
        ("rocep1s0f0:2", FAIL, "matches no device"),
        ("^rocep1s0f1", PASS, "rocep1s0f0:1"),
        ("^rocep1", FAIL, "matches no device"),
    ],
)
def test_the_user_s_own_hca_is_held_against_the_devices(asked: str, wanted: str, words: str) -> None:
    one = outcome(found(four(environment={"NCCL_IB_HCA": asked})), "nccl.hca")
    assert (one.outcome, words in one.seen) == (wanted, True), one


def test_nccl_reads_names_by_their_beginning_unless_told_otherwise() -> None:
    one = Rdma("mlx5_10", 1, "ACTIVE", "eth0")
    assert fabric.matches("mlx5_1", one)
    assert not fabric.matches("=mlx5_1", one)
    assert fabric.matches("^=mlx5_1", one)


def test_the_image_s_size_is_held_against_docker_s_disk() -> None:
    whole = case(four())
    small = {one: facts(disk_free=30 << 30)(node) if one == 2 else node for one, node in whole.nodes.items()}
    checks = [one for one in examine(replace(whole, nodes=small, image_size=35 << 30)) if one.id == "disk.image"]
    assert [(one.outcome, one.ranks) for one in checks] == [(PASS, (0, 1, 3)), (FAIL, (2,))]


def test_different_images_are_a_warning_since_up_mends_them() -> None:
    whole = case(four())
    nodes = {one: facts(images=OTHER_IMAGE if one else IMAGE)(node) for one, node in whole.nodes.items()}
    checks = [one for one in examine(replace(whole, nodes=nodes)) if one.id == "image.digest"]
    assert {one.outcome for one in checks} == {WARN}


def test_a_model_on_no_node_is_a_warning_and_what_fits_is_not_known() -> None:
    by_id = found(four(), without, (0, 1, 2, 3))
    assert outcome(by_id, "model.snapshot").outcome == WARN
    assert outcome(by_id, "fit.memory").outcome == SKIP
    assert outcome(by_id, "disk.model").outcome == SKIP


def test_an_index_that_promises_more_than_is_there_is_a_warning() -> None:
    one = outcome(found(four(), snapshot(total=400 << 30), (0, 1, 2, 3)), "model.snapshot")
    assert (one.outcome, "328.0 GiB" in one.seen) == (WARN, True)


def test_an_api_without_a_key_on_a_public_address_is_a_warning() -> None:
    public = facts(interfaces=(("eth0", "8.8.8.8"), ("enp1s0f0np0", "192.168.101.11")))
    assert outcome(found(four(), public, (0,)), "api.open", 0).outcome == WARN
    assert outcome(found(four(api_key="KEY"), public, (0,)), "api.open", 0).outcome == PASS
    private = four(server={"host": "192.168.101.11"})
    assert outcome(found(private, public, (0,)), "api.open", 0).outcome == PASS


def test_a_rank_s_own_gpu_process_is_not_foreign() -> None:
    own = GpuProcess(7, 90 << 30, "c0ffee", "python3")

    def serving(node: Seen) -> Seen:
        return replace(facts(ranks=(rank("running", id="c0ffee"),))(node), gpu_processes=(own,))

    assert outcome(found(four(), serving), "gpu.foreign-memory").outcome == PASS


def test_memory_that_nobody_holds_names_the_container_that_was_killed() -> None:
    def killed(node: Seen) -> Seen:
        return memory(MemFree=9 << 30)(facts(ranks=(rank("exited", 137),))(node))

    assert "sglang-spark-four-sparks-rank2 was killed" in outcome(found(four(), killed), "memory.killed-container").seen


def test_an_allowed_failure_is_a_warning_that_says_so() -> None:
    doctor = four().doctor.model_copy(update={"allow": ["rdma.device", "docker.engine"]})
    one = outcome(found(four(doctor=doctor), facts(rdma=())), "rdma.device")
    assert (one.outcome, "(allowed by doctor.allow)" in one.seen) == (WARN, True)
    assert outcome(found(four(doctor=doctor), facts(docker="")), "docker.engine").outcome == FAIL
    assert set(FIRM) <= set(MENDS)


def test_a_node_that_refused_has_its_login_s_check_alone() -> None:
    whole = case(four())
    nodes = {one: node for one, node in whole.nodes.items() if one not in (1, 2)}
    refused = {1: RemoteError("cannot be reached", "power?"), 2: HostKeyError("its host key is not known")}
    checks = examine(Case(four(), nodes), refused)
    assert [(one.id, one.ranks, one.hint) for one in checks if one.outcome == FAIL] == [
        ("ssh.login", (1,), "power?"),
        ("ssh.host-key", (2,), MENDS["ssh.host-key"]),
    ]
    assert all(set(one.ranks) <= {0, 3} for one in checks if one.outcome != FAIL)


def test_one_node_needs_no_fabric() -> None:
    alone = load(GOLDEN / "one-node" / "cluster.yaml").cluster
    outcomes = {one.id: one.outcome for one in examine(case(alone))}
    assert {outcomes[name] for name in ("fabric.reach", "fabric.address", "rdma.device", "nccl.hca")} == {SKIP}


def test_a_model_is_looked_for_where_the_mounts_put_it() -> None:
    extra = four().mounts.model_copy(update={"extra": ["/data/models:/models:ro", "/fast:/models/fast"]})
    path = {"path": "/models/fast/glm"}
    assert model.place(four()) == "~/.cache/huggingface/hub/models--zai-org--GLM-4.7-FP8"
    assert model.place(four(mounts=extra, model=four().model.model_copy(update=path))) == "/fast/glm"
    assert model.outside(four(mounts=extra), "/models/glm") == "/data/models/glm"
    assert model.outside(four(mounts=extra), "/modelsother") == ""
    assert model.place(four(environment={"HF_HUB_CACHE": "/models"}, mounts=extra)).startswith("/data/models/models--")
