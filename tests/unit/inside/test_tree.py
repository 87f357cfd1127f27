"""Writing to a tree: whole or not at all, whatever breaks in between."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from deploy.inside import tree as room
from deploy.inside.journal import JOURNAL
from deploy.inside.manifest import PatchError
from deploy.inside.patch import main
from deploy.inside.plan import status
from deploy.inside.tree import WAITING, HalfWrittenError, apply, read_tree, write_all
from tests.unit.inside.test_patch import DONE, MANIFEST, NEW, OLD, OTHER, PARSER

NAMES = {"parser.py", "other.py", "new.py", Path(JOURNAL).name}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sglang").mkdir()
    for path, content in OLD.items():
        (tmp_path / path).write_bytes(content)
    return tmp_path


def untouched(tree: Path) -> bool:
    names = {path.name for path in (tree / "sglang").iterdir()}
    return names == {"parser.py", "other.py"} and read_tree(tree, MANIFEST) == OLD


@pytest.mark.parametrize("at", range(1, 5))
def test_a_disk_that_fills_leaves_no_file_changed(tree: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    calls: list[int] = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == at:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        apply(tree, MANIFEST)
    assert untouched(tree)


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("error", [OSError(1, "Operation not permitted"), KeyboardInterrupt()])
def test_a_rename_that_fails_takes_back_those_before_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException
) -> None:
    real, calls = os.replace, []

    def fail(new: str, target: str) -> None:
        calls.append(new)
        if len(calls) == at:
            raise error
        real(new, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        apply(tree, MANIFEST)
    assert untouched(tree)


def test_what_cannot_be_taken_back_is_said_and_applying_again_completes_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = os.replace, []

    def fail(new: str, target: str) -> None:
        calls.append(new)
        if len(calls) > 2:
            raise OSError(30, "Read-only file system")
        real(new, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(HalfWrittenError, match="some files are changed: apply again"):
            apply(tree, MANIFEST)
    assert status(read_tree(tree, MANIFEST), MANIFEST).state == "half patched"
    assert apply(tree, MANIFEST).state == "half patched"
    assert {path: (tree / path).read_bytes() for path in DONE} == DONE


def test_what_a_killed_run_left_behind_is_cleared_away(tree: Path) -> None:
    left = tree / "sglang" / f".parser.py.abcd1234{WAITING}"
    left.write_text("half a fi")
    apply(tree, MANIFEST)
    assert {path.name for path in (tree / "sglang").iterdir()} == NAMES


def test_bytecode_that_python_would_not_compare_with_its_source_is_removed(tree: Path) -> None:
    cache = tree / "sglang" / "__pycache__"
    cache.mkdir()
    for name in ("parser.cpython-312.pyc", "parser.cpython-312.opt-1.pyc", "elsewhere.cpython-312.pyc"):
        (cache / name).touch()
    apply(tree, MANIFEST)
    assert [path.name for path in cache.iterdir()] == ["elsewhere.cpython-312.pyc"]


def test_a_file_that_links_out_of_the_tree_is_refused_and_its_target_kept(tree: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.py"
    shared.write_bytes(OLD[OTHER])
    (tree / OTHER).unlink()
    (tree / OTHER).symlink_to(shared)
    with pytest.raises(PatchError, match="put a copy there"):
        apply(tree, MANIFEST)
    assert shared.read_bytes() == OLD[OTHER]
    assert (tree / PARSER).read_bytes() == OLD[PARSER]


def test_a_hard_link_is_broken_and_a_link_inside_the_tree_is_followed(tree: Path, tmp_path: Path) -> None:
    os.link(tree / PARSER, tmp_path / "twin.py")
    (tree / OTHER).rename(tree / "sglang" / "real.py")
    (tree / OTHER).symlink_to("real.py")
    apply(tree, MANIFEST)
    assert (tmp_path / "twin.py").read_bytes() == OLD[PARSER]
    assert (tree / OTHER).is_symlink()
    assert (tree / "sglang" / "real.py").read_bytes() == DONE[OTHER]


def test_a_tree_that_is_itself_a_link_is_patched(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "sglang").symlink_to(tree / "sglang")
    apply(tmp_path / "link", MANIFEST)
    assert {path: (tree / path).read_bytes() for path in DONE} == DONE


def test_modes_are_kept_and_a_new_file_can_be_read_by_all(tree: Path) -> None:
    (tree / PARSER).chmod(0o600)
    apply(tree, MANIFEST)
    assert (tree / PARSER).stat().st_mode & 0o777 == 0o600
    assert (tree / NEW).stat().st_mode & 0o777 == 0o644


def test_a_dry_run_writes_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(apply(tree, MANIFEST, dry_run=True).writes)[1:] == [PARSER, OTHER, NEW]
    assert untouched(tree)


def test_two_at_once_patch_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(room, "write_all", lambda *both: (written.append(len(both[1])), write_all(*both)))
    threads = [threading.Thread(target=apply, args=(tree, MANIFEST)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == [0, 0, 0, 4]


def test_a_folder_without_sglang_is_refused_with_words(tmp_path: Path, root: Path) -> None:
    assert main(["apply", str(tmp_path), "--manifest", str(root / "patches")]) == 1
