"""A model in a hub's cache on a node: laid out as huggingface_hub does it, and never half of it taken for all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.errors import WeightsError
from deploy.weights import checksum, pruning
from deploy.weights.plan import held
from tests.unit.weights.samples import COMMIT, CONTENTS, MANIFEST, cache

SHARD = MANIFEST.files[1]


def test_a_model_in_its_place_is_found_by_its_name_and_holds_its_contents(tmp_path: Path) -> None:
    made = cache(tmp_path, whole=True)
    assert (made.folder / "refs" / "main").read_text() == COMMIT
    folder = made.snapshots / COMMIT
    assert {path: (folder / path).read_bytes() for path in CONTENTS} == CONTENTS
    assert os.readlink(folder / "config.json") == f"../../blobs/{MANIFEST.files[0].checksum}"
    assert os.readlink(folder / "sub" / "empty.txt") == f"../../../blobs/{MANIFEST.files[3].checksum}"


def test_a_look_tells_all_that_a_plan_needs(tmp_path: Path) -> None:
    found = held(cache(tmp_path, whole=True).look("main"))
    assert found.in_place(MANIFEST, "main")
    assert found.missing(MANIFEST) == 0
    assert found.manifest(COMMIT) == MANIFEST
    assert found.free > 0
    assert not found.problem


def test_where_nothing_is_a_look_tells_that(tmp_path: Path) -> None:
    found = held(cache(tmp_path).look("main"))
    assert found.missing(MANIFEST) == MANIFEST.size
    assert not found.in_place(MANIFEST, "main")


def test_what_has_come_of_a_file_counts_and_is_not_the_file(tmp_path: Path) -> None:
    made = cache(tmp_path)
    made.blobs.mkdir(parents=True)
    made.part(SHARD).write_bytes(b"fir")
    assert made.whole(SHARD, COMMIT) is None
    assert made.present(SHARD, COMMIT) == 3
    assert held(made.look("main")).missing(MANIFEST) == MANIFEST.size - 3


def test_a_blob_that_is_too_short_is_not_the_file(tmp_path: Path) -> None:
    made = cache(tmp_path, whole=True)
    (made.blobs / SHARD.checksum).write_bytes(b"short")
    assert made.whole(SHARD, COMMIT) is None
    assert not held(made.look("main")).in_place(MANIFEST, "main")


def test_plain_files_in_the_models_folder_are_taken_as_they_are(tmp_path: Path) -> None:
    made = cache(tmp_path)
    for path, content in CONTENTS.items():
        place = made.snapshots / COMMIT / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert held(made.look("main")).missing(MANIFEST) == 0
    made.place(MANIFEST, "main")
    assert not (made.snapshots / COMMIT / SHARD.path).is_symlink()
    assert held(made.look("main")).in_place(MANIFEST, "main")


def test_a_wrong_content_of_the_right_size_is_found(tmp_path: Path) -> None:
    made = cache(tmp_path, whole=True)
    assert all(checksum.right(one, made.blobs / one.checksum) for one in MANIFEST.files)
    (made.blobs / SHARD.checksum).write_bytes(b"x" * SHARD.size)
    assert not checksum.right(SHARD, made.blobs / SHARD.checksum)


def test_two_fetches_of_one_model_do_not_meet(tmp_path: Path) -> None:
    made = cache(tmp_path)
    with made.lock(), pytest.raises(WeightsError, match="at work"), made.lock():
        pass
    with made.lock():
        pass


def test_what_another_revision_left_is_unneeded_and_the_model_stays_whole(tmp_path: Path) -> None:
    made = cache(tmp_path, whole=True)
    old = made.snapshots / ("d" * 40)
    old.mkdir()
    (made.blobs / ("e" * 64)).write_bytes(b"old" * 10000)
    (old / "weights").symlink_to(f"../../blobs/{'e' * 64}")
    (made.folder / "refs" / "v1").write_text("d" * 40)
    made.part(SHARD).write_bytes(b"left over")
    found = pruning.unneeded(made, COMMIT)
    names = {one.path.name for one in found}
    assert names == {"v1", "d" * 40, "e" * 64, f"{SHARD.checksum}.incomplete"}
    assert sum(one.size for one in found) >= 30000
    pruning.remove(made, found, whole=False)
    assert held(made.look("main")).in_place(MANIFEST, "main")
    assert pruning.unneeded(made, COMMIT) == []


def test_another_model_goes_as_a_whole(tmp_path: Path) -> None:
    made = cache(tmp_path, whole=True)
    pruning.remove(made, pruning.unneeded(made, ""), whole=True)
    assert not made.folder.exists()
