"""The same inputs give the same recipe, archive and reference, wherever they lie."""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.context import ContextFile, build_context, collect, hashed, recipe, reference
from deploy.image.order import check_repository
from deploy.image.revision import web_address

IMAGE = Image(repository="ghcr.io/me/image")
TABLE = "configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    for part in ("configs", "patches", "deploy/inside", "deploy/image"):
        shutil.copytree(root / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "deploy" / "__init__.py", tmp_path / "deploy")
    return tmp_path


def test_the_context_is_the_dockerfile_the_tables_the_patches_and_what_applies_them(root: Path) -> None:
    context = build_context(IMAGE, root)
    assert {"Dockerfile", TABLE, "patches/manifest.json", "deploy/inside/patch.py"} <= set(context.files)
    assert context.sources == tuple(sorted(set(context.files) - {"Dockerfile"}))
    assert not [path for path in context.files if "README" in path or "__pycache__" in path]


def test_another_machine_gets_the_same_archive_and_reference(project: Path, root: Path) -> None:
    for path in project.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o775 if path.is_dir() else 0o664)
    (project / "patches" / "__pycache__").mkdir()
    (project / "patches" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (project / "patches" / ".manifest.json.swp").write_bytes(b"x")
    here, there = build_context(IMAGE, root), build_context(IMAGE, project)
    assert here.archive() == there.archive()
    assert reference(IMAGE, here.recipe) == reference(IMAGE, there.recipe)
    assert recipe(IMAGE, root) == here.recipe


@pytest.mark.parametrize("path", [TABLE, "patches/manifest.json", "deploy/inside/patch.py"])
def test_every_file_counts(project: Path, path: str) -> None:
    before = build_context(IMAGE, project).recipe
    (project / path).write_bytes((project / path).read_bytes() + b"\n")
    assert build_context(IMAGE, project).recipe != before


@pytest.mark.parametrize("change", [{"base": "a:b"}, {"platform": "linux/amd64"}, {"sglang": "0.5.4.post3"}])
def test_what_changes_the_dockerfile_changes_the_recipe(root: Path, change: dict[str, str]) -> None:
    changed = IMAGE.model_copy(update=change)
    assert build_context(changed, root).recipe != build_context(IMAGE, root).recipe


def test_the_repository_alone_does_not_change_the_recipe(root: Path) -> None:
    assert build_context(Image(repository="x/y"), root).recipe == build_context(IMAGE, root).recipe


def test_paths_modes_and_contents_cannot_be_confused() -> None:
    empty, b = ContextFile(b""), ContextFile(b"b")
    all_files = ({"a": b, "c": empty}, {"a": b}, {"a": empty, "c": b}, {"a": ContextFile(b"b", True), "c": empty})
    recipes = {hashed(files) for files in all_files}
    assert len(recipes) == 4


def test_the_archive_holds_the_files_in_order_and_nothing_of_this_machine(root: Path) -> None:
    context = build_context(IMAGE, root)
    with tarfile.open(fileobj=io.BytesIO(context.archive())) as tar:
        entries = tar.getmembers()
        assert [entry.name for entry in entries] == sorted(context.files)
        assert {(entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) for entry in entries} == {
            (0, 0, "", "", 0)
        }
        assert {entry.mode for entry in entries} <= {0o644, 0o755}
        assert tar.extractfile(TABLE).read() == (root / TABLE).read_bytes()  # type: ignore[union-attr]


@pytest.mark.parametrize("version", ["0.5.4.post2", "0.6+cu13", "é/é", "." * 200, "v" * 200])
def test_a_reference_has_a_legal_tag(root: Path, version: str) -> None:
    image = IMAGE.model_copy(update={"sglang": version})
    name, _, tag = reference(image, recipe(image, root)).rpartition(":")
    assert name == image.repository
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag)
    assert re.search(r"-[0-9a-f]{12}$", tag)


def test_no_table_for_this_triton_is_an_error_that_names_the_folder(root: Path) -> None:
    with pytest.raises(ConfigError, match="configs/triton_9_9_9"):
        build_context(Image(repository="a/b", triton="9.9.9"), root)


def test_a_missing_part_of_the_project_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"patches/manifest\.json"):
        collect(IMAGE, lambda path: {"x": ContextFile(b"")} if path.startswith("configs") else {})


def test_a_link_is_refused(project: Path) -> None:
    (project / "patches" / "link.json").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match=r"link\.json: is not a plain file"):
        build_context(IMAGE, project)


@pytest.mark.parametrize("repository", ["ghcr.io/OWNER/image", "a//b", "a/-b", "a/b/", "ghcr.io/a b", "u:p@h/a"])
def test_a_repository_that_no_registry_takes_is_refused(repository: str) -> None:
    with pytest.raises(ConfigError, match=r"image\.repository"):
        check_repository(repository)


@pytest.mark.parametrize("repository", ["a/b", "ghcr.io/a/b-c__d.e", "localhost:5000/a", "127.0.0.1:5000/a/b"])
def test_a_repository_that_registries_take_is_taken(repository: str) -> None:
    check_repository(repository)


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:me/it.git", "https://github.com/me/it"),
        ("https://me:marker@github.com/me/it.git", "https://github.com/me/it"),
        ("https://marker@github.com/me/it/", "https://github.com/me/it"),
        ("ssh://git@host:2222/me/it.git", "https://host/me/it"),
        ("/srv/git/it.git", "unknown"),
        ("../it", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_remote_becomes_a_web_address_without_credentials(remote: str, address: str) -> None:
    assert web_address(remote) == address
