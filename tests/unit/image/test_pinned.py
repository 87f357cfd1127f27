"""Pinned wheels: held to their hashes, fetched once. pip itself is tested where the network may be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.cluster.load import parse
from deploy.errors import BuildError, ConfigError
from deploy.image import pinned
from deploy.image.pinned import MACHINES, NCCL, PYTHONS, RAY, Pinned, wheels

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

    monkeypatch.setattr(pinned, "fetch", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return asked


def wheel(platform: str) -> Path:
    (found,) = wheels(Pinned(NCCL, "2.30.7", platform), PIN)
    return found


def test_a_wheel_is_fetched_once_for_its_platform_and_held_to_its_hashes(fetched: list[tuple[str, ...]]) -> None:
    path = wheel("linux/arm64")
    assert path.read_bytes() == CONTENT
    assert wheel("linux/arm64/v8") == path
    assert len(fetched) == 1
    assert {"--require-hashes", "manylinux_2_18_aarch64"} <= set(fetched[0])
    wheel("linux/amd64")
    assert "manylinux_2_18_x86_64" in fetched[1]


def test_a_wheel_that_changed_in_the_cache_is_fetched_again(fetched: list[tuple[str, ...]]) -> None:
    path = wheel("linux/arm64")
    path.write_bytes(b"something else")
    assert wheel("linux/arm64").read_bytes() == CONTENT
    assert len(fetched) == 2


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="file") as caught:
        wheel("linux/arm64")
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_platform_without_a_wheel_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="no wheel for linux/riscv64") as caught:
        assert Pinned(NCCL, "2.30.7", "linux/riscv64").machine
    assert "null" in caught.value.hint


@pytest.mark.parametrize("version", ["2.29.2", "2.28.9", "1.99.99", "2.9.4"])
def test_a_version_that_can_hang_is_refused_with_the_reason(version: str) -> None:
    with pytest.raises(ConfigError, match=r"image\.nccl: must be 2\.29\.3 or newer: older ones can hang"):
        parse("c.yaml", CLUSTER % version)


@pytest.mark.parametrize(("written", "read"), [("2.29.3", "2.29.3"), ("2.100.0", "2.100.0"), ("null", None)])
def test_newer_versions_and_none_are_taken(written: str, read: str | None) -> None:
    assert parse("c.yaml", CLUSTER % written).cluster.image.nccl == read


def test_wheels_for_one_python_are_kept_apart_from_those_for_another(fetched: list[tuple[str, ...]]) -> None:
    one, other = (wheels(Pinned(RAY, "2.59.0", "linux/arm64", python), PIN) for python in ("3.11", "3.12"))
    assert one != other
    assert [words[words.index("--python-version") + 1] for words in fetched] == ["3.11", "3.12"]
    assert {"cp", "manylinux2014_aarch64"} <= set(fetched[0])


def test_wheels_are_fetched_again_where_one_of_them_is_missing(fetched: list[tuple[str, ...]]) -> None:
    wheel("linux/arm64")
    needs_more = PIN + b"click==8.5.1 --hash=sha256:" + b"0" * 64 + b"\n"
    wheels(Pinned(NCCL, "2.30.7", "linux/arm64"), needs_more)
    assert len(fetched) == 2


def test_what_is_recorded_is_all_that_every_python_and_platform_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def found(words: tuple[str, ...], name: str) -> list[tuple[str, str]]:
        asked.append(words)
        return [
            ("ray==9.0.0", f"{len(asked)}"),
            ("click==8.0.0", "same"),
            *([("old==1.0.0", "first")][: 2 - len(asked)]),
        ]

    monkeypatch.setattr(pinned, "found", found)
    monkeypatch.setattr(pinned, "ROOT", tmp_path)
    lines = pinned.record(RAY, "9.0.0").read_text().replace(" \\\n   ", "").splitlines()
    hashes = " ".join(f"--hash=sha256:{number + 1}" for number in range(len(PYTHONS) * len(MACHINES)))
    assert lines == [f"ray==9.0.0 {hashes}", "click==8.0.0 --hash=sha256:same", "old==1.0.0 --hash=sha256:first"]
    assert asked[0][-1] == "ray==9.0.0"
    assert all(words[-3:] == ("ray==9.0.0", "click==8.0.0", "old==1.0.0") for words in asked[1:])


def test_an_unknown_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert pinned.main(["torch", "2.9.0"]) == 2
    assert "nccl or ray" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [NCCL, RAY], ids=["nccl", "ray"])
def test_every_pin_has_hashes_for_every_platform_and_python(root: Path, kind: pinned.Kind) -> None:
    folders = list((root / pinned.PINS).glob(f"{kind.setting}-*"))
    assert folders
    for folder in folders:
        version = folder.name.removeprefix(f"{kind.setting}-")
        text = (root / Pinned(kind, version, "linux/arm64").pin).read_text()
        assert text.startswith(f"{kind.distribution}=={version} ")
        first = text.partition("==")[2].partition("==")[0]
        assert first.count("--hash=sha256:") == len(MACHINES) * len(kind.pythons)
        assert "--hash" in text.rpartition("==")[2]


def test_a_python_that_is_no_version_is_refused() -> None:
    text = CLUSTER.replace("nccl: %s", "python: %s")
    for wrong in ("3.12", '"3"', '"3.12.1"', '"2.7"'):
        with pytest.raises(ConfigError, match=r"image\.python"):
            parse("c.yaml", text % wrong)
    assert parse("c.yaml", text % '"3.13"').cluster.image.python == "3.13"
