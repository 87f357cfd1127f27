"""What is locked of a base is held to, and says what to do where it no longer fits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.errors import BuildError, ConfigError
from deploy.image.base.contents import versions
from deploy.image.base.lock import Locked, check, find, locked, read, write
from deploy.image.base.reading import dumped, load
from deploy.image.base.sight import Base, File, Wanted
from deploy.inside.manifest import Manifest, State, sha256

WANTED = Wanted("tree", ("a.py",), (), ("opt", "srv"))
BASE = Base({"a.py": File(b"old", 0o755, "sha256:l")}, ("c.pyc",), ("opt",), ("site/n.dist-info",), "3.12")
AFTER = {"a.py": b"new"}
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def lock() -> Locked:
    return locked("it:x", BASE, WANTED, AFTER)


def test_what_was_written_is_read_and_gives_the_base_again(lock: Locked, tmp_path: Path) -> None:
    write(tmp_path / "lock", ONE, lock)
    found = find(tmp_path / "lock", ONE, "it:x")
    assert found == lock
    assert found.base({"a.py": b"old"}) == BASE
    assert json.loads((tmp_path / "lock").read_text())["bases"][ONE]["files"]["a.py"]["before"] == sha256(b"old")


def test_another_content_than_the_locked_one_is_refused(lock: Locked) -> None:
    with pytest.raises(BuildError, match=rf"a\.py: sha256 {sha256(b'other')}, and {sha256(b'old')} is locked"):
        lock.base({"a.py": b"other"})


def test_a_name_that_leads_to_another_base_is_refused_and_a_new_name_is_not(lock: Locked, tmp_path: Path) -> None:
    write(tmp_path / "lock", ONE, lock)
    assert find(tmp_path / "lock", TWO, "other:x") is None
    with pytest.raises(BuildError, match=f"the base changed: it:x is {TWO} now, .* written for {ONE}"):
        find(tmp_path / "lock", TWO, "it:x")
    write(tmp_path / "lock", TWO, lock)
    assert set(read(tmp_path / "lock")) == {TWO}


def test_patches_that_give_something_else_than_what_is_locked_are_refused(lock: Locked) -> None:
    check(lock, WANTED, AFTER)
    for after in ({"a.py": b"newer"}, {}):
        with pytest.raises(BuildError, match="patches/ changed since"):
            check(lock, WANTED, after)
    with pytest.raises(BuildError, match=r"says nothing of b\.py"):
        check(lock, replace(WANTED, needed=("a.py", "b.py")), AFTER)
    with pytest.raises(BuildError, match="no package nvidia-nccl-cu13"):
        check(replace(lock, nccl=()), replace(WANTED, nccl=True), AFTER)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "bases": {}}', '{"format": 1, "bases": {"x": {}}}'])
def test_a_lock_that_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    with pytest.raises(ConfigError, match="lock: cannot be used"):
        read(tmp_path / "lock")


def test_no_lock_is_no_mistake(tmp_path: Path) -> None:
    assert find(tmp_path / "none", ONE, "it:x") is None


def test_the_release_is_told_by_the_checksums_of_all_files(lock: Locked) -> None:
    old, other = State(sha256(b"old"), ""), State(sha256(b"x"), "")
    assert versions(lock, Manifest({}, {"a.py": {"1": old, "2": old, "3": other}}, {})) == ["1", "2"]
    assert versions(lock, Manifest({}, {}, {})) == []


def test_the_cache_gives_a_base_again_and_nothing_where_it_is_broken(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(dumped(BASE))
    assert load(tmp_path) == BASE
    (tmp_path / "base.json").write_text(dumped(BASE)[:50])
    assert load(tmp_path) is None
