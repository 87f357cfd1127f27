"""The patch set adaptive-moe on SGLang's real trees, with real PyTorch and without a GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import store
from deploy.inside import patch
from deploy.inside.manifest import load, sha256
from deploy.launch.flags import derive
from deploy.launch.tables import table_for
from deploy.patchset import sets
from tests.integration import adaptive_inside
from tests.integration.trees import VERSIONS, unpack

# The first test waits for several GB of packages, and for both trees.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
PATCHES = ROOT / "patches"
REQUIREMENTS = Path(__file__).with_name("adaptive_requirements.txt")
SET = next(one for one in sets(PATCHES) if one.name == "adaptive-moe")
Found = dict[str, str]


@pytest.fixture(scope="session")
def packages() -> Path:
    """PyTorch 2.8.0 and what else SGLang imports, installed once into the user's cache: several GB."""
    name = f"sglang-0.5.4-{sha256(REQUIREMENTS.read_bytes())[:12]}-{sys.implementation.cache_tag}"
    folder = store.cache() / "environments" / name
    quick = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    install = (
        [quick, "pip", "install", "--python", sys.executable] if quick else [sys.executable, "-m", "pip", "install"]
    )
    words = [*install, "--quiet", "--requirement", str(REQUIREMENTS), "--target"]
    store.keep(folder, lambda new: subprocess.run([*words, str(new)], check=True))
    return folder


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both trees, patched with the set and without."""
    found = {version: unpack(version, tmp_path_factory.mktemp(f"tree-{version}")) for version in VERSIONS}
    for tree in found.values():
        assert patch.main(["apply", str(tree), "--manifest", str(PATCHES), "--with", SET.name]) == 0
    return found


@pytest.fixture(scope="module")
def inside(trees: dict[str, Path], packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What each tree showed, in a process of its own, all of them at once."""
    out = tmp_path_factory.mktemp("inside")
    environment = {**os.environ, "PYTHONPATH": str(packages), "CUDA_VISIBLE_DEVICES": ""}
    argv = [sys.executable, "-m", "tests.integration.adaptive_inside"]
    running = {
        version: subprocess.Popen(
            [*argv, str(tree), str(out / version)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
        )
        for version, tree in trees.items()
    }
    try:
        for one in running.values():
            one.wait(timeout=600)
    finally:
        for one in running.values():
            one.kill()
    return {version: json.loads((out / version).read_text()) for version in running}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", [one.__name__ for one in adaptive_inside.CHECKS])
def test_inside_a_patched_tree(inside: dict[str, Found], version: str, check: str) -> None:
    assert inside[version][check] == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifest_says_the_flags_that_a_patched_tree_has(trees: dict[str, Path], version: str) -> None:
    found = derive(version, lambda path: (trees[version] / "sglang" / path).read_text())
    wanted = table_for(version).extended(SET.new_flags)
    added = {one.name: one for one in found.flags if one.name in {flag["name"] for flag in SET.new_flags}}
    assert added == {one.name: one for one in wanted.flags if one.name in added}
    assert [one.name for one in found.flags] == [one.name for one in wanted.flags]
    assert replace(found, wheel="").find("--enable-adaptive-moe") is not None


def test_the_set_is_in_no_tree_that_did_not_ask_for_it(tmp_path: Path) -> None:
    tree = unpack(VERSIONS[0], tmp_path)
    assert patch.main(["apply", str(tree), "--manifest", str(PATCHES)]) == 0
    assert not (tree / "sglang/srt/adaptive_moe").exists()
    assert "adaptive" not in (tree / "sglang/srt/server_args.py").read_text()
    assert patch.main(["status", str(tree), "--manifest", str(PATCHES), "--with", SET.name]) == 1
    assert patch.main(["apply", str(tree), "--manifest", str(PATCHES), "--with", SET.name]) == 0
    assert patch.main(["status", str(tree), "--manifest", str(PATCHES), "--with", SET.name]) == 0


def test_an_unknown_tree_is_refused_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = unpack(VERSIONS[1], tmp_path)
    strange = tree / "sglang/srt/layers/quantization/unquant.py"
    strange.write_text(strange.read_text() + "# of another version\n")
    before = strange.read_bytes()
    assert patch.main(["apply", str(tree), "--manifest", str(PATCHES), "--with", SET.name]) == 1
    assert "unquant.py" in capsys.readouterr().err
    assert strange.read_bytes() == before
    assert not (tree / "sglang/srt/adaptive_moe").exists()


def test_an_optional_set_edits_no_file_of_another_set() -> None:
    plain, whole = load(PATCHES), load(PATCHES, (SET.name,))
    assert {path: whole.edits[path] for path in plain.edits} == dict(plain.edits)
    assert len(whole.edits) > len(plain.edits)
