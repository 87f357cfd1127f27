"""Some files of a tree as they are, the rest stood in for. The tree is written here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.tune.fused.gpu.borrowed import Borrowed, load

PACKAGE = "borrowed_tree"


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[Borrowed]:
    folder = tmp_path / PACKAGE / "deep"
    folder.mkdir(parents=True)
    (folder / "real.py").write_text(
        f"from {PACKAGE}.other import given, missing\nfrom .second import VALUE\n"
        "def ask():\n    return given(VALUE)\ndef fall():\n    return missing(VALUE)\n"
    )
    (folder / "second.py").write_text("VALUE = 3\n")
    (folder / "unused.py").write_text("raise SystemExit('nobody asked for this file')\n")
    made = Borrowed(tmp_path, PACKAGE, {f"{PACKAGE}.deep.real", f"{PACKAGE}.deep.second"}, {"given": lambda x: x + 1})
    yield made
    sys.meta_path[:] = [one for one in sys.meta_path if one is not made]
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_named_files_run_as_they_are_and_get_what_is_given(finder: Borrowed) -> None:
    assert load(finder, f"{PACKAGE}.deep.real").ask() == 4


def test_what_nobody_gave_may_be_imported_and_says_so_when_it_is_called(finder: Borrowed) -> None:
    with pytest.raises(TypeError, match=rf"{PACKAGE}\.other\.missing has no stand-in"):
        load(finder, f"{PACKAGE}.deep.real").fall()


def test_other_files_of_the_tree_are_never_run(finder: Borrowed) -> None:
    load(finder, f"{PACKAGE}.deep.real")
    __import__(f"{PACKAGE}.deep.unused")


def test_what_was_imported_before_under_that_name_is_forgotten(
    finder: Borrowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.deep.second", type(sys)("installed"))
    assert load(finder, f"{PACKAGE}.deep.real").ask() == 4
