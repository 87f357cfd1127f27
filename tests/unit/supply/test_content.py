"""Which layers an image has over its base, told by the base or, where that cannot be read, by its history."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.errors import RegistryError
from deploy.image.append import BY
from deploy.registry.manifest import CONFIGS, LAYERS, OCI, Descriptor, Manifest, compact
from deploy.registry.repository import Repository
from deploy.supply.content import Pushed, own

BLOBS = [Descriptor(LAYERS[OCI], f"sha256:{digit * 64}", 1) for digit in "1234"]
IDS = ["a", "b", "c", "d"]


def image(diff_ids: list[str], *lines: str, labels: dict[str, str] | None = None) -> Pushed:
    config = Descriptor(CONFIGS[OCI], f"sha256:{'0' * 64}", 1)
    content = {"schemaVersion": 2, "config": config.content, "layers": [one.content for one in BLOBS]}
    about: dict[str, Any] = {"rootfs": {"diff_ids": diff_ids}, "history": [{"created_by": line} for line in lines]}
    return Pushed(cast("Repository", "x"), Manifest(compact(content), OCI), about | {"config": {"Labels": labels}})


def test_the_base_tells_where_it_ends() -> None:
    assert own(image(IDS), ("a", "b")) == (2, 3)
    assert own(image(IDS), ("a", "b", "c", "d")) == ()


def test_the_history_tells_where_the_base_cannot_be_read_or_is_another() -> None:
    made = image(IDS, "COPY .", f"{BY}NCCL", f"{BY}kernel tables")
    assert made.appended == ("NCCL", "kernel tables")
    assert own(made, None) == own(made, ("x", "b")) == (2, 3)
    assert own(image(IDS, "COPY ."), None) is None


def test_a_config_of_other_layers_is_refused() -> None:
    with pytest.raises(RegistryError, match="4 layers, and its config names 3"):
        own(image(IDS[:3]), None)


def test_the_base_is_what_both_labels_say() -> None:
    name, digest = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
    assert image(IDS, labels={name: "n:t", digest: "sha256:1"}).base == "n:t@sha256:1"
    assert image(IDS, labels={name: "n:t"}).base == image(IDS).base == ""
