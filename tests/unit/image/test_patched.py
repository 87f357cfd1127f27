"""`patches apply` and `patches status` on folders: what they say, and with which exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.cli import patches as room
from deploy.errors import BuildError, ConfigError, DeployError
from deploy.image.patched import is_folder, tree
from deploy.inside.manifest import sha256
from deploy.inside.patch import main
from tests.unit.inside.test_patch import DONE, EDITS, NEW, OLD, OTHER, PARSER


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with python/sglang, and patches for it that the command uses."""
    folder, patches = tmp_path / "checkout" / "python", tmp_path / "patches"
    (folder / "sglang" / "srt").mkdir(parents=True)
    for path, content in OLD.items():
        (folder / path).write_bytes(content)
    patches.mkdir()
    (patches / "new.py").write_bytes(DONE[NEW])
    one = {
        "edits": {path: [vars(edit) for edit in edits] for path, edits in EDITS.items()},
        "files": {NEW: {"source": "new.py", "sha256": ""}},
    }
    (patches / "manifest.json").write_text(json.dumps({"format": 1, "sets": {"one": one}, "known": {}}))
    assert main(["record", f"v1={folder}", "--manifest", str(patches)]) == 0
    monkeypatch.setattr(room, "PATCHES", patches)
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(room.patches, [str(word) for word in words])


def refused(*words: object) -> DeployError:
    error = run(*words).exception
    assert isinstance(error, DeployError), error
    assert error.hint
    return error


def test_a_tree_is_patched_once_and_its_status_says_so(project: Path) -> None:
    before = run("status", project)
    assert (before.exit_code, before.stdout.splitlines()[-1]) == (1, "the tree is not patched")
    assert "would patch sglang/parser.py" in run("apply", "-n", project).stdout
    assert (project / PARSER).read_bytes() == OLD[PARSER]
    assert run("apply", project).stdout.splitlines() == [f"patched {path}" for path in DONE] + ["base: v1"]
    after = run("status", project)
    assert (after.exit_code, after.stdout.splitlines()[-1]) == (0, "the tree is patched")
    assert "nothing to do" in run("apply", project).stdout


def test_json_says_what_was_written_and_what_each_file_is(project: Path) -> None:
    (project / PARSER).write_bytes(DONE[PARSER])
    done = json.loads(run("apply", project, "--json").stdout)
    assert (done["tree"], done["was"], done["written"]) == (str(project), "half patched", [OTHER, NEW])
    assert done["patched_already"] == [PARSER]
    found = json.loads(run("status", project, "--json").stdout)
    assert (found["tree"], found["state"], found["bases"]) == (str(project), "patched", ["v1"])
    assert [one["path"] for one in found["files"]] == [PARSER, OTHER, NEW]


def test_an_unknown_file_is_refused_with_both_checksums_and_can_be_allowed(project: Path) -> None:
    (project / OTHER).write_bytes(b"x = 1 # mine\n")
    error = refused("apply", project)
    assert isinstance(error, BuildError)
    for word in (OTHER, sha256(OLD[OTHER]), sha256(b"x = 1 # mine\n"), "nothing was changed"):
        assert word in error.message
    assert "--allow-unknown-base" in error.hint
    status = run("status", project)
    assert (status.exit_code, status.stdout.splitlines()[-1]) == (1, "the tree is unknown")
    assert f"unknown base, allowed: {OTHER}" in run("apply", project, "--allow-unknown-base").stdout
    assert (project / OTHER).read_bytes() == b"x = 2 # mine\n"
    assert "allowed: unknown-base" in run("status", project).stdout


@pytest.mark.parametrize(
    ("below", "near"), [("python/sglang", "python"), ("python/sglang/srt", "python"), (".", "python")]
)
def test_a_folder_beside_the_right_one_is_answered_with_the_right_one(project: Path, below: str, near: str) -> None:
    for verb in ("apply", "status"):
        error = refused(verb, f"{project.parent / below}/")
        assert isinstance(error, ConfigError)
        assert error.hint == f"did you mean {project.parent / near}?"


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_a_place_without_sglang_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "sglang").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no such folder|holds no sglang"):
        tree(str(tmp_path / name))


@pytest.mark.parametrize(
    ("place", "folder"),
    [(".", True), ("/nowhere", True), ("./x", True), ("~/x", True), ("ghcr.io/me/it:1", False), ("debian", False)],
)
def test_what_looks_like_a_path_is_one_and_all_else_is_an_image(place: str, folder: bool) -> None:
    assert is_folder(place) is folder


def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    error = refused("apply", project)
    assert error.message == f"{project}: No space left on device; nothing was changed"


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "sets": {}}', '{"format": 1, "sets": []}'])
def test_a_broken_manifest_is_an_error_and_no_traceback(project: Path, text: str) -> None:
    (room.PATCHES / "manifest.json").write_text(text)
    assert isinstance(refused("status", project), ConfigError)
