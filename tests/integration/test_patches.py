"""Patching SGLang's real trees, on disk and in images: killed in between, at once, of a strange base."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.image.dockerfile import TREE
from deploy.inside.journal import JOURNAL
from deploy.inside.manifest import load
from tests.integration.image_parts import docker, need_engine, remove_images
from tests.integration.test_image import HERE, OTHER
from tests.integration.trees import VERSIONS, unpack

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
MANIFEST = load(ROOT / "patches")
PATHS = [*MANIFEST.edits, *MANIFEST.added]
SERVING = "sglang/srt/entrypoints/openai/serving_chat.py"
KILLED = """
import os, signal, sys
from deploy.inside import patch
real, renames = os.replace, []
def replace(new, target):
    if len(renames) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    renames.append(new)
    real(new, target)
os.replace = replace
patch.main(["apply", sys.argv[1], "--manifest", "patches"])
"""


@pytest.fixture(params=VERSIONS)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The files that are patched, of one version, where they belong."""
    whole = unpack(request.param, tmp_path / "whole")
    for path in MANIFEST.edits:
        place = tmp_path / "tree" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((whole / path).read_bytes())
    return tmp_path / "tree"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "build-and-deploy.py", "patches", *map(str, words)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def status(where: object) -> tuple[int, str]:
    done = run("status", where, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["state"]


def test_a_real_tree_is_told_by_its_checksums_and_patched_once(tree: Path, request: pytest.FixtureRequest) -> None:
    assert status(tree) == (1, "not patched")
    done = json.loads(run("apply", tree, "--json").stdout)
    assert set(done["written"]) == set(PATHS)
    assert request.node.callspec.params["tree"] in done["bases"]
    assert status(tree) == (0, "patched")
    before = {path: (tree / path).stat().st_mtime_ns for path in PATHS}
    assert "nothing to do" in run("apply", tree).stdout
    assert {path: (tree / path).stat().st_mtime_ns for path in PATHS} == before


@pytest.mark.parametrize("at", [0, 1, 3, len(PATHS)])
def test_a_run_that_is_killed_leaves_a_tree_that_the_next_completes(tree: Path, at: int) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED.format(at=at), str(tree)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tree.rglob("*.sglang-spark"))
    assert status(tree) == (1, "half patched" if at > 1 else "not patched")
    done = run("apply", tree)
    assert ("the tree was half patched" in done.stdout) == (at > 1), done.stdout + done.stderr
    assert status(tree) == (0, "patched")
    assert not list(tree.rglob("*.sglang-spark"))


def test_several_at_once_leave_a_patched_tree(tree: Path) -> None:
    argv = [sys.executable, "-m", "deploy.inside.patch", "apply", str(tree), "--manifest", "patches"]
    runs = [subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [one.communicate(timeout=60)[0] for one in runs]
    assert [one.returncode for one in runs] == [0] * 4
    assert sum("nothing to do" in text for text in said) == 3
    assert status(tree) == (0, "patched")


def test_a_strange_base_is_refused_named_and_patched_when_it_is_allowed(tree: Path) -> None:
    with (tree / SERVING).open("a") as file:
        file.write("# of another version\n")
    done = run("apply", tree)
    assert (done.returncode, status(tree)) == (3, (1, "unknown"))
    assert SERVING in done.stderr
    assert not (tree / JOURNAL).exists()
    allowed = json.loads(run("apply", tree, "--allow-unknown-base", "--json").stdout)
    assert (allowed["unknown_base"], allowed["allowed"]) == ([SERVING], ["unknown-base"])
    assert status(tree) == (0, "patched")
    assert run("apply", tree).returncode == 0


def test_an_allowance_does_not_move_an_anchor(tree: Path) -> None:
    text = (tree / SERVING).read_text()
    (tree / SERVING).write_text(text.replace("request.chat_template_kwargs:", "request.kwargs:"))
    done = run("apply", tree, "--allow-unknown-base")
    assert done.returncode == 3
    assert "exactly once" in done.stderr
    assert status(tree) == (1, "unknown")


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="needs setpriv")
def test_a_tree_of_somebody_else_is_an_error_and_no_traceback(tree: Path) -> None:
    for folder in [tree, *[path for path in tree.rglob("*") if path.is_dir()]]:
        folder.chmod(0o555)
    tree.parent.chmod(0o755)
    argv = [sys.executable, "build-and-deploy.py", "patches", "apply", str(tree)]
    if os.geteuid() == 0:
        argv = ["/usr/bin/setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *argv]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    for folder in [tree, *[path for path in tree.rglob("*") if path.is_dir()]]:
        folder.chmod(0o755)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    assert "Permission denied; nothing was changed" in done.stderr
    assert status(tree) == (1, "not patched")


@pytest.fixture
def images(tree: Path) -> Iterator[list[str]]:
    """The tree as an image without a shell, for this platform and for another."""
    need_engine()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(tree / "sglang", TREE.lstrip("/") + "/sglang")
    names = [f"sglang-spark-test/tree-{secrets.token_hex(4)}:x" for _ in range(2)]
    try:
        for name, platform in zip(names, (HERE, OTHER), strict=True):
            docker("import", "--platform", platform, "-", name, stdin=buffer.getvalue())
        yield names
    finally:
        remove_images(*names)


def test_an_image_is_read_without_being_run_also_for_another_machine(tree: Path, images: list[str]) -> None:
    for name in images:
        done = run("status", name, "--json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["image"], found["state"]) == (1, name, "not patched")
        assert docker("ps", "--all", "--quiet", "--filter", f"ancestor={name}") == ""


def test_a_patched_image_says_so_and_one_without_sglang_too(tree: Path) -> None:
    need_engine()
    assert run("apply", tree).returncode == 0
    buffer, empty = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(tree / "sglang", TREE.lstrip("/") + "/sglang")
    with tarfile.open(fileobj=empty, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("nothing"))
    full, bare = (f"sglang-spark-test/tree-{secrets.token_hex(4)}:x" for _ in range(2))
    try:
        docker("import", "-", full, stdin=buffer.getvalue())
        docker("import", "-", bare, stdin=empty.getvalue())
        assert status(full) == (0, "patched")
        done = run("status", bare)
        assert done.returncode == 3
        assert f"none of the files to patch at {TREE}" in done.stderr
    finally:
        remove_images(full, bare)


def test_an_image_that_is_not_here_is_not_pulled(tmp_path: Path) -> None:
    need_engine()
    done = run("status", "sglang-spark.invalid/none:x")
    assert done.returncode == 3
    assert "docker pull sglang-spark.invalid/none:x" in done.stderr
