"""Where the implementations' text is taken from. Nothing is fetched here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from deploy import store
from deploy.errors import BuildError, TuneError
from deploy.tune.fused import sources


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return store.cache()


def wheel(*members: str) -> object:
    """In pip's place: a wheel with these files."""

    def fetch(wanted: tuple[str, ...], folder: Path, name: str) -> Path:
        assert wanted[-1] == "vllm==0.11.0"
        path = folder / "vllm.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, member)
        return path

    return fetch


@pytest.mark.parametrize(
    ("triton", "project"),
    [("3.4.0", "sgl-kernel"), ("3.5.0", "sglang-kernel"), ("3.6.0", "sglang-kernel"), ("3.10.1", "sglang-kernel")],
)
def test_the_wheel_follows_tritons_version(triton: str, project: str) -> None:
    assert sources.kernels_wheel(triton)[0] == project


@pytest.mark.parametrize(
    ("triton", "older", "fits"), [("3.4.0", True, True), ("3.5.0", True, False), ("3.6.0", False, True)]
)
def test_an_installed_one_is_taken_where_it_fits_this_triton(
    triton: str, older: bool, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "triton_kernels"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    if older:
        (folder / "routing.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "_version", lambda _: triton)
    monkeypatch.setattr(sources, "part", lambda project, version, _: Path(project))
    assert ("triton_kernels" not in sources.folders(["triton_kernels"], "0.5.4.post3")) == fits


def test_only_the_part_that_is_needed_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "fetch", wheel("vllm/model/a.py", "vllm/other.py", "vllm/huge.so"))
    folder = sources.part("vllm", "0.11.0", "vllm/model/")
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")] == ["vllm/model/a.py"]
    assert list((cache / "sources").iterdir()) == [folder]


def test_what_is_kept_is_not_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "fetch", wheel("vllm/model/a.py"))
    first = sources.part("vllm", "0.11.0", "vllm/model/")
    monkeypatch.setattr(sources, "fetch", None)
    assert sources.part("vllm", "0.11.0", "vllm/model/") == first


def test_a_wheel_without_that_part_is_refused_and_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "fetch", wheel("vllm/other.py"))
    with pytest.raises(BuildError, match=r"vllm 0\.11\.0 has no vllm/model/"):
        sources.part("vllm", "0.11.0", "vllm/model/")
    assert not list((cache / "sources").glob("vllm*"))


def test_what_has_to_be_here_and_is_not_is_named() -> None:
    with pytest.raises(TuneError, match="no-such-package is not installed"):
        sources.installed("no-such-package")
