"""The survey: from what the script prints to what the checks look at."""

from __future__ import annotations

from deploy.cluster.load import load
from deploy.command import Command, Result
from deploy.launch.doctor.seen import GpuProcess, Seen
from deploy.remote import survey
from tests.unit.launch.samples import GOLDEN, seen

CLUSTER = load(GOLDEN / "four-sparks" / "cluster.yaml").cluster


def read(text: str) -> Seen:
    return survey.read(Result(Command(("sh",)), 0, text))


def test_each_node_is_told_its_own_address_and_its_peers() -> None:
    commands = survey.commands(CLUSTER, "abc")
    assert sorted(commands) == [0, 1, 2, 3]
    place = "~/.cache/huggingface/hub/models--zai-org--GLM-4.7-FP8"
    peers = ("192.168.101.11", "192.168.101.12", "192.168.101.14")
    assert commands[2].argv[3:] == ("sh", "four-sparks", "abc", "192.168.101.13", place, "main", *peers)


def test_a_good_node_is_read_whole() -> None:
    node = seen(CLUSTER, 1)
    assert node.facts.gpus == ("NVIDIA GB10",)
    assert node.drivers == ("580.95.05",)
    assert node.mtu["enp1s0f0np0"] == 9000
    assert node.reach == {"192.168.101.11": "", "192.168.101.13": "", "192.168.101.14": ""}
    assert (node.ssh_address, node.default_route) == ("192.168.1.12", "enP7s7")
    assert node.memory["MemTotal"] == 127508480 * 1024
    assert node.model.flaws == ""
    assert node.model.size == 352187318272
    assert node.clock == 1770000000.25


def test_a_node_that_says_nothing_is_no_error() -> None:
    node = read("")
    assert (node.reach, node.clock, node.model.folder, node.image_size) == (None, 0.0, "", 0)


def test_a_peer_s_silence_is_told_in_ping_s_words() -> None:
    assert read("ping\nreach 10.0.0.1 100% packet loss\nreach 10.0.0.2").reach == {
        "10.0.0.1": "100% packet loss",
        "10.0.0.2": "",
    }


def test_gpu_processes_carry_their_container_and_memory_if_it_is_known() -> None:
    node = read("gpu_process 12 900 " + "ab" * 32 + " /usr/bin/python3 -x\ngpu_process 13 [N/A] - ollama")
    assert node.gpu_processes == (
        GpuProcess(12, 900 << 20, "ab" * 32, "/usr/bin/python3 -x"),
        GpuProcess(13, None, "", "ollama"),
    )


def test_an_image_s_size_is_read_in_docker_s_units() -> None:
    assert read("image a/b sha256:11 tag 34.5GB\nimage a/b sha256:11 other 218MB").image_size == 34_500_000_000
    assert read("image a/b sha256:11 tag").image_size == 0


def test_a_config_that_is_no_json_is_none() -> None:
    assert read("model_folder /m\nmodel_config {oops").model.config is None


def test_an_index_without_a_total_is_still_an_index() -> None:
    node = read("model_folder /m\nmodel_config {}\nmodel_index\nmodel_wanted a.safetensors")
    assert node.model.indexed
    assert node.model.flaws == "missing: a.safetensors"
