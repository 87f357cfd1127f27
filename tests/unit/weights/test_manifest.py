"""A manifest comes from a hub, so nothing in it may lead out of the model's folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.weights.manifest import File, manifest, needed
from tests.unit.weights.samples import MANIFEST


def test_a_manifest_comes_back_from_its_json() -> None:
    assert manifest(MANIFEST.as_json()) == MANIFEST


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "a\0b"])
def test_a_path_out_of_the_folder_is_refused(path: str) -> None:
    told = {**MANIFEST.as_json(), "files": [[path, 1, "a" * 40]]}
    with pytest.raises(ValueError, match="not a file"):
        manifest(told)


@pytest.mark.parametrize(
    "change",
    [{"commit": "main"}, {"commit": "../x"}, {"files": [["a", 1, "short"]]}, {"files": [["a", -1, "a" * 40]]}],
    ids=str,
)
def test_what_is_no_commit_checksum_or_size_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no commit|not a file"):
        manifest({**MANIFEST.as_json(), **change})


def test_two_files_of_one_content_are_one_blob_and_counted_once() -> None:
    again = replace(MANIFEST, files=(*MANIFEST.files, replace(MANIFEST.files[1], path="copy.safetensors")))
    assert again.blobs == MANIFEST.blobs
    assert again.size == MANIFEST.size


def test_the_weights_are_taken_in_one_format() -> None:
    files = [File(path, 1, "a" * 40) for path in ("a.safetensors", "b.bin", "original/c.pth", "d.json", "sub/e.bin")]
    assert [one.path for one in needed(files)] == ["a.safetensors", "d.json"]
    assert len(needed(files[1:])) == 4, "a model without safetensors has them in another"
