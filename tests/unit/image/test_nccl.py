"""NCCL's wheel: held to its hashes, fetched once. pip itself is tested where the network may be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.cluster.load import parse
from deploy.errors import BuildError, ConfigError
from deploy.image import nccl

CONTENT = b"a wheel"
PIN = f"nvidia-nccl-cu13==2.30.7 --hash=sha256:{hashlib.sha256(CONTENT).hexdigest()}\n".encode()
CLUSTER = "name: c\nimage: {repository: a/b, nccl: %s}\nnodes: [{host: a, fabric: 10.0.0.1}]\n"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A cache of the test's own, and what pip would be asked."""
    asked: list[tuple[str, ...]] = []

    def fetch(words: tuple[str, ...], folder: Path, name: str) -> Path:
        asked.append(words)
        path = folder / "nvidia_nccl_cu13-2.30.7-py3-none-any.whl"
        path.write_bytes(CONTENT)
        return path

    monkeypatch.setattr(nccl, "fetch", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return asked


def test_a_wheel_is_fetched_once_for_its_platform_and_held_to_its_hashes(fetched: list[tuple[str, ...]]) -> None:
    path = nccl.wheel("2.30.7", "linux/arm64", PIN)
    assert path.read_bytes() == CONTENT
    assert nccl.wheel("2.30.7", "linux/arm64/v8", PIN) == path
    assert len(fetched) == 1
    assert {"--require-hashes", "manylinux_2_18_aarch64"} <= set(fetched[0])
    nccl.wheel("2.30.7", "linux/amd64", PIN)
    assert "manylinux_2_18_x86_64" in fetched[1]


def test_a_wheel_that_changed_in_the_cache_is_fetched_again(fetched: list[tuple[str, ...]]) -> None:
    path = nccl.wheel("2.30.7", "linux/arm64", PIN)
    path.write_bytes(b"something else")
    assert nccl.wheel("2.30.7", "linux/arm64", PIN).read_bytes() == CONTENT
    assert len(fetched) == 2


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="file") as caught:
        nccl.wheel("2.30.7", "linux/arm64", PIN)
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_platform_without_a_wheel_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="no wheel for linux/riscv64") as caught:
        nccl.machine("linux/riscv64")
    assert "null" in caught.value.hint


@pytest.mark.parametrize("version", ["2.29.2", "2.28.9", "1.99.99", "2.9.4"])
def test_a_version_that_can_hang_is_refused_with_the_reason(version: str) -> None:
    with pytest.raises(ConfigError, match=r"image\.nccl: must be 2\.29\.3 or newer: older ones can hang"):
        parse("c.yaml", CLUSTER % version)


@pytest.mark.parametrize(("written", "read"), [("2.29.3", "2.29.3"), ("2.100.0", "2.100.0"), ("null", None)])
def test_newer_versions_and_none_are_taken(written: str, read: str | None) -> None:
    assert parse("c.yaml", CLUSTER % written).cluster.image.nccl == read


def test_every_pin_has_a_hash_for_every_platform(root: Path) -> None:
    pins = list((root / nccl.PINS).iterdir())
    assert pins
    for pin in pins:
        version = pin.name.removeprefix("nccl-")
        text = (root / nccl.pin_path(version)).read_text()
        assert text.startswith(f"nvidia-nccl-cu13=={version} ")
        assert text.count("--hash=sha256:") == len(nccl.MACHINES)
