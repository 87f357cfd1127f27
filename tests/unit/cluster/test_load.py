"""cluster.yaml: every mistake is found, with its file, line and column."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from deploy.cluster.load import load, parse
from deploy.cluster.schema import schema
from deploy.errors import ConfigError

GOOD = """name: sparks
image:
  repository: ghcr.io/o/n
nodes:
  - host: a
    fabric: 10.0.0.1
  - host: b
    fabric: 10.0.0.2
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse("c.yaml", text)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value.message.splitlines()


def test_the_smallest_cluster_loads_with_defaults() -> None:
    cluster = parse("c.yaml", GOOD).cluster
    assert cluster.image.base == "lmsysorg/sglang:spark"
    assert cluster.model.path == "zai-org/GLM-4.7-FP8"
    assert [node.fabric for node in cluster.nodes] == ["10.0.0.1", "10.0.0.2"]


def test_the_committed_example_loads_and_fits_the_committed_schema(root: Path) -> None:
    assert len(load(root / "cluster.yaml").cluster.nodes) == 4
    assert (root / "cluster.schema.json").read_text() == schema()
    jsonschema.validate(yaml.safe_load((root / "cluster.yaml").read_text()), json.loads(schema()))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/c\.yaml: No such file"):
        load("/nowhere/c.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["name: [", "name: a\n\tb: c", "a: b: c", "- x\ny"])
def test_broken_yaml_is_refused_with_its_place(text: str) -> None:
    assert mistakes(text)[0].startswith("c.yaml:")


@pytest.mark.parametrize("text", ["just text", "- a\n- b\n", "7\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    assert mistakes(text) == ["c.yaml:1:1: a cluster is a mapping of keys to values"]


def test_a_duplicate_key_names_both_lines() -> None:
    assert mistakes(GOOD + "name: two\n") == ["c.yaml:9:1: name: the key was given before, in line 1"]


def test_an_unknown_key_names_the_nearest_right_one() -> None:
    assert mistakes(GOOD + "ssh:\n  usr: x\n") == ["c.yaml:10:3: ssh.usr: unknown key; did you mean user?"]


def test_a_wrong_type_names_what_was_found() -> None:
    (line,) = mistakes(GOOD.replace("host: b", "host: 7"))
    assert line.startswith("c.yaml:7:5: nodes[1].host: ")
    assert "(found 7)" in line


def test_a_missing_key_is_reported_where_it_belongs() -> None:
    assert mistakes(GOOD.replace("    fabric: 10.0.0.2\n", "")) == ["c.yaml:7:5: nodes[1].fabric: is needed here"]


def test_duplicate_addresses_are_refused() -> None:
    lines = mistakes(GOOD.replace("10.0.0.2", "10.0.0.1").replace("host: b", "host: a"))
    assert lines == [
        "c.yaml:7:5: nodes[1].host: a is nodes[0] already",
        "c.yaml:8:5: nodes[1].fabric: 10.0.0.1 is nodes[0] already",
    ]


def test_two_nodes_behind_one_host_differ_by_port() -> None:
    text = GOOD.replace("host: b", "host: a\n    port: 2222")
    assert parse("c.yaml", text).cluster.nodes[1].port == 2222


def test_an_address_that_is_none_is_refused() -> None:
    assert "'10.0.0.300' is not an IPv4 address" in mistakes(GOOD.replace("10.0.0.2", "10.0.0.300"))[0]


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    lines = mistakes("name: Bad Name\nimage: {}\nnodes: []\nrendezvous_port: 70000\n")
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3", "4"]


def test_sixty_colon_thirty_is_text_and_not_a_number() -> None:
    cluster = parse("c.yaml", GOOD + "server:\n  decode-log-interval: 60:30\n  watchdog-timeout: 1_0\n").cluster
    assert cluster.server == {"decode-log-interval": "60:30", "watchdog-timeout": "1_0"}


def test_on_and_off_are_words() -> None:
    assert parse("c.yaml", GOOD + "environment: {MODE: off}\n").cluster.environment == {"MODE": "off"}


def test_control_characters_are_refused() -> None:
    assert "model.path" in mistakes(GOOD + 'model: {path: "a\\nb"}\n')[0]


def test_a_secret_cannot_also_have_a_value_in_the_file() -> None:
    lines = mistakes(GOOD + "environment: {HF_TOKEN: x}\nsecrets: [HF_TOKEN]\n")
    assert lines == ["c.yaml:9:15: environment.HF_TOKEN: is also in secrets; a secret has no value in this file"]


def test_a_repository_carries_no_tag() -> None:
    assert "repository without tag" in mistakes(GOOD.replace("ghcr.io/o/n", "ghcr.io/o/n:v1"))[0]


def test_a_registry_port_is_not_a_tag() -> None:
    assert parse("c.yaml", GOOD.replace("ghcr.io/o/n", "10.0.0.9:5000/n")).cluster.image.repository


def test_an_allowance_is_one_of_those_that_are_known() -> None:
    image = "  repository: ghcr.io/o/n\n"
    text = GOOD.replace(image, image + "  allow: [unknown_base]\n")
    expected = "c.yaml:4:11: image.allow[0]: 'unknown_base' is not one of unknown-base; did you mean unknown-base?"
    assert mistakes(text) == [expected]
    assert parse("c.yaml", text.replace("unknown_base", "unknown-base")).cluster.image.allow == ["unknown-base"]
    assert parse("c.yaml", GOOD).cluster.image.allow == []


@pytest.mark.parametrize("mount", ["/a", "/a:b", "/a:/b:zz", "a:/b:ro:x"])
def test_a_mount_that_docker_would_refuse_is_refused(mount: str) -> None:
    assert "is not HOST:CONTAINER" in mistakes(GOOD + f'mounts: {{extra: ["{mount}"]}}\n')[0]
