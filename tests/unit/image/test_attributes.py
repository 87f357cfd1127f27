"""How an image's attributes are read; the engine itself is tested against a real one."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.image.attributes import digest_of, fits, label, repository

DIGEST = "sha256:" + "ef" * 32


@pytest.mark.parametrize(
    ("attrs", "platform", "good"),
    [
        ({"Os": "linux", "Architecture": "arm64"}, "linux/arm64", True),
        ({"Os": "linux", "Architecture": "arm64", "Variant": "v8"}, "linux/arm64", True),
        ({"Os": "linux", "Architecture": "arm64"}, "linux/arm64/v8", True),
        ({"Os": "linux", "Architecture": "arm", "Variant": "v6"}, "linux/arm/v7", False),
        ({"Os": "linux", "Architecture": "amd64"}, "linux/arm64", False),
        ({"Os": "windows", "Architecture": "amd64"}, "linux/amd64", False),
        ({}, "linux/arm64", False),
    ],
)
def test_an_image_fits_its_platform_or_not(attrs: dict[str, Any], platform: str, good: bool) -> None:
    assert fits(attrs, platform) is good


@pytest.mark.parametrize(
    "attrs", [None, {}, {"Config": None}, {"Config": {"Labels": None}}, {"Config": {"Labels": {}}}]
)
def test_a_label_that_is_not_there_is_empty(attrs: dict[str, Any] | None) -> None:
    assert label(attrs, "recipe") == ""


@pytest.mark.parametrize(
    ("reference", "written"),
    [
        ("ghcr.io/me/it:1-2", "ghcr.io/me/it"),
        ("localhost:5000/it:1", "localhost:5000/it"),
        ("localhost:5000/it", "localhost:5000/it"),
        (f"lmsysorg/sglang:spark@{DIGEST}", "lmsysorg/sglang"),
        ("docker.io/library/debian:12", "debian"),
    ],
)
def test_a_repository_is_written_as_an_engine_writes_it(reference: str, written: str) -> None:
    assert repository(reference) == written


def test_a_digest_counts_only_in_its_own_repository() -> None:
    attrs = {"RepoDigests": [f"other/it@{DIGEST[:-1]}0", f"me/it@{DIGEST}"]}
    assert digest_of(attrs, "me/it:1") == DIGEST
    assert digest_of(attrs, "you/it:1") == ""
    assert digest_of({"RepoDigests": None}, "me/it:1") == ""
