"""Facts: from what the script prints to what is known of a node."""

from __future__ import annotations

import json

from deploy.launch.node import Rdma, RunningRank, lent_name
from deploy.remote.facts import command, read
from tests.unit.launch.samples import spark

RATE = "200 Gb/sec (4X HDR)"
CONTAINER = {
    "name": "/sglang-spark-lab-rank2",
    "labels": {
        "io.sglang-spark.cluster": "lab",
        "io.sglang-spark.rank": "2",
        "io.sglang-spark.digest": "sha256:aa",
        "io.sglang-spark.launch": "bb",
    },
    "state": {
        "Status": "exited",
        "StartedAt": "2026-01-01T00:00:00Z",
        "FinishedAt": "2026-01-01T00:01:00Z",
        "ExitCode": 137,
        "OOMKilled": True,
        "Error": "",
    },
}


def test_the_fabric_address_leads_to_device_port_and_roce_v2_index() -> None:
    node = spark("192.168.101.12")
    assert node.interface("192.168.101.12") == "enp1s0f0np0"
    assert node.rdma_for("192.168.101.12") == (
        Rdma("rocep1s0f0", 1, "ACTIVE", "enp1s0f0np0", 3, "192.168.101.12", RATE),
    )
    assert node.rdma_for("192.168.101.13") == ()


def test_a_port_that_is_down_is_known_but_not_used() -> None:
    assert Rdma("rocep1s0f1", 1, "DOWN", "enp1s0f1np1", rate="40 Gb/sec (4X QDR)") in spark().rdma


def test_sizes_are_bytes_and_ports_are_numbers() -> None:
    node = spark()
    assert node.memory_available == 120_000_000 * 1024
    assert node.listening == {22}


def test_docker_s_absence_is_told_in_its_own_words() -> None:
    node = read("architecture aarch64\ndocker_error Cannot connect to the Docker daemon")
    assert (node.docker, node.docker_error) == ("", "Cannot connect to the Docker daemon")


def test_a_client_without_its_daemon_is_no_docker() -> None:
    node = read('docker {"ServerErrors":["Cannot connect"],"ServerVersion":""}')
    assert (node.docker, node.docker_error) == ("", "Cannot connect")


def test_images_of_the_recipe_are_known_by_digest() -> None:
    listed = "image a/b sha256:11\nimage a/b <none>\nimage c/d sha256:11\nimage a/b sha256:22"
    assert read(listed).images == (("a/b", "sha256:11"), ("c/d", "sha256:11"), ("a/b", "sha256:22"))
    assert read(listed).digests("docker.io/a/b") == {"sha256:11", "sha256:22"}
    assert read(listed).digests("x/y") == set()


def test_an_image_has_proven_itself_under_the_tag_that_says_so() -> None:
    listed = (
        "image a/b sha256:11 <none> sha256:aa 34.5GB\nimage a/b sha256:22 self-tested sha256:bb 34.5GB\n"
        "image a/b sha256:22 0.5.4-abc sha256:bb 34.5GB\nimage c/d sha256:33 not-self-tested sha256:cc 34.5GB\n"
        "image a/b <none> self-tested sha256:dd 34.5GB"
    )
    assert read(listed).images == (("a/b", "sha256:11"), ("a/b", "sha256:22"), ("c/d", "sha256:33"))
    assert read(listed).self_tested("docker.io/a/b") == {"sha256:22"}
    assert read(listed).self_tested("c/d") == set()


LENT = (
    "image h:5000/a/b self-tested-not <none> sha256:bb 1GB\nimage h:5000/a/b <none> self-tested sha256:aa 1GB\n"
    "image 127.0.0.1:27100/h_5000/a/b sha256:11 <none> sha256:aa 1GB\n"
    "image 127.0.0.1:27101/x_5000/a/b sha256:44 <none> sha256:ee 1GB"
)


def test_an_image_that_came_over_ssh_is_its_repository_s_with_its_proof() -> None:
    node = read(LENT)
    assert node.digests("h:5000/a/b") == node.self_tested("h:5000/a/b") == {"sha256:11"}
    assert node.digests("x:5000/a/b") == {"sha256:44"}
    assert node.self_tested("x:5000/a/b") == set()
    assert node.digests("a/b") == set()


def test_a_node_runs_an_image_by_a_name_that_its_engine_resolves() -> None:
    node = read(LENT)
    assert node.reference("h:5000/a/b", "sha256:11") == "127.0.0.1:27100/h_5000/a/b@sha256:11"
    pulled = read(LENT + "\nimage h:5000/a/b sha256:11 <none> sha256:aa 1GB")
    assert pulled.reference("h:5000/a/b", "sha256:11") == "h:5000/a/b@sha256:11"
    assert node.reference("docker.io/a/b", "sha256:77") == "docker.io/a/b@sha256:77"
    assert lent_name("h:5000/a/b", 27100) == "127.0.0.1:27100/h_5000/a/b"


def test_a_dead_rank_is_read_with_its_end() -> None:
    (rank,) = read("container " + json.dumps(CONTAINER)).ranks
    assert rank == RunningRank(
        "sglang-spark-lab-rank2", 2, "lab", "sha256:aa", "bb", "exited", "2026-01-01T00:01:00Z", 137, True,
        started="2026-01-01T00:00:00Z",
    )  # fmt: skip


def test_the_script_s_arguments_are_words() -> None:
    one = command("lab", "a b; rm -rf /")
    assert one.argv[-3:] == ("sh", "lab", "a b; rm -rf /")
    assert str(one).endswith("sh lab 'a b; rm -rf /'")
