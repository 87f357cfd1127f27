"""The real huggingface_hub against a stand-in for the hub: what lands in the cache, and what a hub's faults come to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.hub import COMMIT, Hub, model, serving
from deploy.errors import HubError, WeightsError
from deploy.weights.cache import OURS, ModelCache
from deploy.weights.hub import Hub as Asked
from deploy.weights.manifest import Manifest

pytestmark = pytest.mark.integration


@dataclass
class At:
    """A hub, and where it is."""

    hub: Hub
    url: str

    def asked(self, patience: float = 20) -> Asked:
        return Asked(self.hub.token, patience, self.url)


@pytest.fixture
def at() -> Iterator[At]:
    found = Hub(model(3, 1 << 20))
    with serving(found, "127.0.0.1") as url:
        yield At(found, url)


def told(at: At) -> Manifest:
    return at.asked().manifest(at.hub.repository, "main")


def cache(folder: Path, at: At) -> ModelCache:
    return ModelCache(str(folder), at.hub.repository)


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, without what is no part of the hub's layout."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(path)
        elif path.is_file() and not {OURS, ".locks"} & set(path.parts):
            found[str(path.relative_to(folder))] = str(hash(path.read_bytes()))
    return found


def test_the_cache_comes_out_as_huggingface_hub_lays_it_out_itself(at: At, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    wanted, ours = told(at), cache(tmp_path / "ours", at)
    assert wanted.commit == COMMIT
    assert "pytorch_model.bin" not in [one.path for one in wanted.files], "the weights come in one format"
    paths = list(at.asked().download(ours, wanted, 4))
    ours.place(wanted, "main")
    theirs = snapshot_download(
        at.hub.repository, cache_dir=tmp_path / "theirs", ignore_patterns=["*.bin"], endpoint=at.url
    )
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")
    assert sorted(paths) == sorted(one.path for one in wanted.files)
    offline = snapshot_download(at.hub.repository, cache_dir=tmp_path / "ours", local_files_only=True)
    assert Path(offline).relative_to(tmp_path / "ours") == Path(theirs).relative_to(tmp_path / "theirs")


def test_wrong_bytes_and_a_cut_are_mended_and_nothing_wrong_is_ever_in_the_models_place(at: At, tmp_path: Path) -> None:
    wanted, ours = told(at), cache(tmp_path, at)
    at.hub.wrong, at.hub.cut = 1, 1
    list(at.asked().download(ours, wanted, 1))
    assert all(ours.whole(one, COMMIT) for one in wanted.blobs)
    at.hub.wrong = 99
    other = cache(tmp_path / "other", at)
    with pytest.raises(WeightsError, match="has not the checksum"):
        list(at.asked().download(other, wanted, 1))
    assert not any(other.whole(one, COMMIT) for one in wanted.blobs if one.path.endswith(".safetensors"))


def test_an_interrupted_download_goes_on_where_it_was(at: At, tmp_path: Path) -> None:
    wanted, ours = told(at), cache(tmp_path, at)
    large = next(one for one in wanted.files if one.path.endswith(".safetensors"))
    part = ours.staged / f"{large.checksum}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(at.hub.files[large.path].data[: large.size - 1000])
    sent = at.hub.sent
    list(at.asked().download(ours, wanted, 4))
    assert at.hub.sent - sent == wanted.size - (large.size - 1000)
    assert not ours.staging.exists()


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"status": 500}, HubError, "HTTP 500"),
        ({"status": 429}, HubError, "HTTP 429"),
        ({"status": 403}, WeightsError, "refuses it"),
        ({"token": "another"}, WeightsError, "refuses it"),
        ({"repository": "lab/other"}, WeightsError, "no such model"),
    ],
    ids=str,
)
def test_a_fault_of_the_hub_is_told_by_its_name(
    at: At, fault: dict[str, object], kind: type[WeightsError], said: str
) -> None:
    for name, value in fault.items():
        setattr(at.hub, name, value)
    with pytest.raises(kind, match=said):
        Asked("ours", 1, at.url).manifest("lab/random", "main")


def test_a_revision_that_the_hub_has_not_is_told(at: At) -> None:
    with pytest.raises(WeightsError, match="no such revision"):
        at.asked().manifest(at.hub.repository, "v2")
