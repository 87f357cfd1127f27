"""Manifests, read, chosen and made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.errors import RegistryError
from deploy.registry.manifest import (
    CONFIGS,
    DOCKER,
    DOCKER_INDEX,
    LAYERS,
    OCI,
    OCI_INDEX,
    Addition,
    Descriptor,
    Layer,
    Manifest,
    appended,
    chosen,
    compact,
    fits,
    read,
    sha256,
)

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
CONFIG: dict[str, Any] = {
    "architecture": "arm64",
    "os": "linux",
    "container": "left over",
    "container_config": {"Cmd": ["x"]},
    "config": {"Env": ["PATH=/bin", "A=1=2"], "Entrypoint": ["/x"], "Labels": {"of": "base", "both": "old"}},
    "rootfs": {"type": "layers", "diff_ids": [sha256(b"0")]},
    "history": [{"created_by": "FROM"}, {"created_by": "ENV", "empty_layer": True}],
}


def part(content: bytes, media_type: str) -> dict[str, Any]:
    return Descriptor(media_type, sha256(content), len(content)).content


def base(family: str = OCI, **more: Any) -> Manifest:
    config = compact(CONFIG)
    content = {
        "schemaVersion": 2,
        "mediaType": family,
        "config": part(config, CONFIGS[family]),
        "layers": [part(b"layer", LAYERS[family])],
        **more,
    }
    return read(compact(content), family, "x")


def index(*platforms: dict[str, str]) -> Manifest:
    manifests = [part(bytes([place]), OCI) | {"platform": one} for place, one in enumerate(platforms)]
    return read(compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}), OCI_INDEX, "x")


def layer(content: bytes = b"new") -> Layer:
    return Layer(Descriptor(LAYERS[OCI], sha256(content), len(content)), sha256(b"tar of " + content), "append")


def test_a_manifest_keeps_its_bytes() -> None:
    raw = b' {"schemaVersion": 2, "config": %s, "layers": []}\n' % json.dumps(part(b"c", CONFIGS[OCI])).encode()
    found = read(raw, f"{OCI}; charset=utf-8", "x")
    assert (found.raw, found.media_type, found.digest, found.layers) == (raw, OCI, sha256(raw), ())


def test_docker_and_oci_are_told_apart_by_what_the_manifest_says_itself() -> None:
    assert read(base(DOCKER).raw, "application/json", "x").media_type == DOCKER
    assert not base(DOCKER).is_index
    assert index({}).is_index


@pytest.mark.parametrize(
    ("content", "media_type", "said"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, SCHEMA_1, r"schema 1, .*v1"),
        ({"schemaVersion": 3}, OCI, "schema 3"),
        ({"schemaVersion": 2, "mediaType": "application/x"}, OCI, "application/x"),
        ({"schemaVersion": 2}, "", "no media type"),
        ({"schemaVersion": 2}, OCI, "lacks what"),
        ({"schemaVersion": 2, "manifests": 3}, OCI_INDEX, "lacks what"),
        ({"schemaVersion": 2, "config": part(b"", "c"), "layers": [{"size": 1}]}, DOCKER, "lacks what"),
        ({"schemaVersion": 2, "config": {"digest": "md5:1", "size": 1}, "layers": []}, OCI, "no content"),
        (
            {"schemaVersion": 2, "config": part(b"", "c"), "layers": [part(b"", FOREIGN)]},
            DOCKER,
            "not for registries",
        ),
    ],
)  # fmt: skip
def test_an_unknown_or_broken_manifest_is_refused_with_what_it_is(content: Any, media_type: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        read(compact(content), media_type, "x")


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"3", b"\xff"])
def test_what_is_no_object_is_no_manifest(raw: bytes) -> None:
    with pytest.raises(RegistryError, match="no JSON"):
        read(raw, OCI, "x")


def test_the_image_for_a_platform_is_chosen_and_otherwise_what_there_is_is_said() -> None:
    amd, arm = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}
    unknown = {"os": "unknown", "architecture": "unknown"}
    assert chosen(index(amd, unknown, arm), "linux/arm64", "x").digest == sha256(b"\2")
    with pytest.raises(RegistryError, match=r"x: there is no image for linux/arm64; there is linux/amd64$"):
        chosen(index(amd, unknown), "linux/arm64", "x")
    with pytest.raises(RegistryError, match="there is nothing"):
        chosen(index(), "linux/arm64", "x")


def test_a_variant_must_agree_where_both_name_one() -> None:
    assert fits("linux/arm64/v8", "linux/arm64")
    assert fits("linux/arm64", "linux/arm64/v8")
    assert not fits("linux/arm/v6", "linux/arm/v7")
    assert not fits("linux/arm64", "linux/arm")
    assert not fits("", "linux/arm64")


@pytest.mark.parametrize("family", [OCI, DOCKER])
def test_a_layer_is_put_on_top_in_the_bases_own_family(family: str) -> None:
    below = base(family, annotations={"of": "base"})
    addition = Addition(
        (layer(),),
        {"both": "new"},
        {"A": "3", "B": "4"},
        {"org.opencontainers.image.base.name": "b"},
        "2026-01-02T03:04:05Z",
    )
    made, raw = appended(below, compact(CONFIG), addition)
    config = json.loads(raw)
    assert made.media_type == made.content["mediaType"] == family
    assert made.layers == (*below.layers, Descriptor(LAYERS[family], sha256(b"new"), 3))
    assert made.config == Descriptor(CONFIGS[family], sha256(raw), len(raw))
    assert made.content["annotations"] == {"of": "base", "org.opencontainers.image.base.name": "b"}
    assert config["rootfs"]["diff_ids"] == [sha256(b"0"), sha256(b"tar of new")]
    assert config["config"]["Env"] == ["PATH=/bin", "A=3", "B=4"]
    assert config["config"]["Labels"] == {"of": "base", "both": "new"}
    assert config["config"]["Entrypoint"] == ["/x"]
    assert config["history"][2:] == [{"created": "2026-01-02T03:04:05Z", "created_by": "append"}]
    assert config["created"] == "2026-01-02T03:04:05Z"
    assert not {"container", "container_config"} & config.keys()


def test_nothing_is_added_that_nobody_asked_for() -> None:
    bare = {"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    made, raw = appended(base(), compact(bare), Addition((layer(),)))
    assert json.loads(raw)["config"] == {}
    assert "history" not in json.loads(raw)
    assert "annotations" not in made.content


def test_the_same_comes_out_every_time() -> None:
    addition = Addition((layer(),), {"b": "é", "a": "1"})
    assert appended(base(), compact(CONFIG), addition) == appended(base(), compact(CONFIG), addition)
    golden = "sha256:9e576ae1701de7f18350f317d42c631813cf6a49a18ade8b3716d1c70fdd90dc"
    assert appended(base(), compact(CONFIG), addition)[0].digest == golden


def test_an_index_names_images_of_both_families() -> None:
    listed = {"schemaVersion": 2, "manifests": [part(b"", DOCKER)]}
    assert read(compact(listed), DOCKER_INDEX, "x").is_index
