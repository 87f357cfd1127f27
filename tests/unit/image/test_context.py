"""The same inputs give the same recipe, archive and reference, wherever they lie."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.context import ContextFile, build_context, collect, hashed, recipe, reference
from deploy.image.dockerfile import TUNING_STARTED
from deploy.image.order import check_repository
from deploy.image.revision import web_address

IMAGE = Image(repository="ghcr.io/me/image")
PIN = "deploy/image/wheels/nccl-2.30.7/requirements.txt"
PACKAGES = {"deploy/lab/__init__.py", "deploy/lab/standin/__init__.py"}
TABLE = "configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    for part in ("configs", "patches", "deploy/inside", "deploy/image", "deploy/kernels", "deploy/tune"):
        shutil.copytree(root / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__", "errors", "group", "store", "wheel", "worker"):
        shutil.copy(root / "deploy" / f"{name}.py", tmp_path / "deploy")
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
    assert here.archive().read() == there.archive().read()
    assert reference(IMAGE, here.recipe) == reference(IMAGE, there.recipe)
    assert recipe(IMAGE, root) == here.recipe


def test_results_of_kernel_comparisons_are_in_no_image_and_no_commit(project: Path, root: Path) -> None:
    before = recipe(IMAGE, project)
    results = project / "configs/benchmark_ops/vllm_sglang_fused_moe"
    results.mkdir(parents=True)
    (results / "E8-N1024-K1024-top2-bf16.json").write_text("{}")
    assert recipe(IMAGE, project) == before
    assert "/configs/benchmark_ops/" in (root / ".gitignore").read_text().splitlines()
    ignored = (root / ".dockerignore").read_text().splitlines()
    assert ignored.index("configs/benchmark_ops") > ignored.index("!configs")


@pytest.mark.parametrize(
    "path", [TABLE, "patches/manifest.json", "deploy/inside/patch.py", "deploy/kernels/memory.py", PIN]
)
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
    with tarfile.open(fileobj=context.archive()) as tar:
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


def test_the_wheel_lies_beside_its_hashes_and_changes_no_recipe(root: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "nvidia_nccl_cu13-2.30.7-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    context = build_context(IMAGE, root)
    place = str(Path(PIN).with_name(wheel.name))
    with tarfile.open(fileobj=context.archive({place: wheel})) as tar:
        assert tar.extractfile(place).read() == b"wheel"  # type: ignore[union-attr]
    assert build_context(IMAGE, root).recipe == context.recipe


def test_a_version_of_nccl_without_hashes_is_refused_with_those_that_have_them(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"9\.9\.9 is not pinned \(pinned: 2\.29\.3, 2\.30\.7\)") as caught:
        build_context(IMAGE.model_copy(update={"nccl": "9.9.9"}), root)
    assert "python -m deploy.image.pinned nccl 9.9.9" in caught.value.hint
    with pytest.raises(ConfigError, match=r"image\.ray: 9\.9\.9 is not pinned \(pinned: 2\.59\.0\)") as caught:
        build_context(IMAGE.model_copy(update={"ray": "9.9.9"}).with_tune, root)
    assert "python -m deploy.image.pinned ray 9.9.9" in caught.value.hint


def test_without_nccl_no_hashes_are_part_of_the_build(root: Path) -> None:
    assert build_context(IMAGE.model_copy(update={"nccl": None}), root).pins == {}


def test_all_that_the_self_test_imports_is_in_the_image(root: Path) -> None:
    carried = set(build_context(IMAGE, root).files)
    ours, foreign = reached(root, [path for path in carried if path.startswith("deploy/inside/")])
    assert ours
    assert ours <= carried
    assert foreign <= set(sys.stdlib_module_names)


def test_all_that_the_tuner_imports_is_in_the_image_with_tuning(root: Path) -> None:
    """Torch and Triton are the base's, Ray is in the tuning layer; the rest of deploy/tune/ works on this side."""
    carried = set(build_context(IMAGE.with_tune, root).files)
    started = [module.replace(".", "/") + ".py" for module in TUNING_STARTED]
    ours, foreign = reached(root, started)
    assert set(started) < ours
    assert ours - carried == set()
    assert foreign - set(sys.stdlib_module_names) <= {"ray", "torch", "triton"}


def test_all_that_stands_in_for_a_gpu_imports_of_ours_is_in_the_image_with_tuning(root: Path) -> None:
    carried = set(build_context(IMAGE.with_tune, root).files)
    stand_ins = {f"deploy/lab/standin/{name}.py" for name in ("timer", "compiler")}
    assert reached(root, stand_ins)[0] - stand_ins - PACKAGES <= carried


def reached(root: Path, starts: Iterable[str]) -> tuple[set[str], set[str]]:
    """What these modules import, wherever in them they do: files of ours with those of their packages, and names."""
    ours, foreign, waiting = set[str](), set[str](), list(starts)
    while waiting:
        path = waiting.pop()
        if path in ours:
            continue
        ours.add(path)
        waiting += [one for above in Path(path).parents if above.name and (one := f"{above}/__init__.py") not in ours]
        for name in imported(root / path):
            places = [f"{name.replace('.', '/')}{end}" for end in (".py", "/__init__.py")]
            waiting += [place for place in places if (root / place).is_file()]
            foreign |= {name.partition(".")[0]} - {"deploy"}
    return ours, foreign


def imported(path: Path) -> set[str]:
    """The names of modules; what is imported from one may be a module too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_tuning_makes_another_image_and_changes_nothing_of_the_one_without(project: Path) -> None:
    plain, tuning = recipe(IMAGE, project), recipe(IMAGE.with_tune, project)
    assert reference(IMAGE, plain) == f"ghcr.io/me/image:0.5.4.post2-{plain[:12]}"
    assert reference(IMAGE.with_tune, tuning) == f"ghcr.io/me/image:0.5.4.post2-tune-{tuning[:12]}"
    assert plain != tuning
    (project / "deploy" / "tune" / "search.py").write_text("changed")
    for changes in ({}, {"ray": "2.58.1"}, {"python": "3.11"}):
        changed = IMAGE.model_copy(update=changes)
        assert recipe(changed, project) == plain
        if not changes.get("ray"):
            assert recipe(changed.with_tune, project) != tuning
    assert set(build_context(IMAGE, project).files) < set(build_context(IMAGE.with_tune, project).files)


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
