from __future__ import annotations

import base64
import json
from pathlib import Path

import yaml

from deploy.cluster.spec import Cluster
from deploy.lab import trust
from deploy.lab.clusterfile import cluster_yaml
from deploy.lab.layout import DEFAULT_SUBNET, Layout, lay_out

DIGEST = "sha256:" + "0" * 64


def layout(nodes: int = 4) -> Layout:
    return lay_out(Path("/a folder/.lab"), DEFAULT_SUBNET, nodes)


def test_the_registry_s_certificate_is_for_its_address() -> None:
    argv = trust.server_certificate(layout(), ("ca.key", "ca.crt"), "tls.key", "tls.crt")
    assert "subjectAltName=IP:172.31.250.2" in argv
    assert "basicConstraints=CA:FALSE" in argv


def test_docker_s_config_holds_the_login_for_that_registry_alone() -> None:
    auths = json.loads(trust.docker_config("10.0.0.2:5000", "secret"))["auths"]
    assert list(auths) == ["10.0.0.2:5000"]
    assert base64.b64decode(auths["10.0.0.2:5000"]["auth"]) == b"lab:secret"


def test_known_hosts_has_a_line_for_each_node() -> None:
    assert trust.known_hosts({"10.0.0.1": "ssh-ed25519 AAAA", "10.0.0.2": "ssh-ed25519 BBBB"}) == (
        "10.0.0.1 ssh-ed25519 AAAA\n10.0.0.2 ssh-ed25519 BBBB\n"
    )


def test_the_written_cluster_is_one_that_the_toolkit_takes() -> None:
    cluster = Cluster.model_validate(yaml.safe_load(cluster_yaml(layout(), DIGEST, "linux/amd64", "3.11")))
    assert cluster.image.base == f"172.31.250.2:5000/lmsysorg/sglang:spark@{DIGEST}"
    assert [node.fabric for node in cluster.nodes] == [f"172.31.250.{last}" for last in (11, 12, 13, 14)]
    assert cluster.ssh.identity == "/a folder/.lab/id_ed25519"
    assert cluster.server == {}


def test_a_lab_s_file_leaves_tp_to_the_number_of_nodes() -> None:
    file = yaml.safe_load(cluster_yaml(layout(8), DIGEST, "linux/amd64", "3.11"))
    assert len(file["nodes"]) == 8
    assert "server" not in file
