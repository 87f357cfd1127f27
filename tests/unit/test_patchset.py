"""What the patches change for the flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.patchset import added_choices, in_image, sets, unknown

TEXT = """{"sets": {
  "a": {"flags": {"f": ["1"]}}, "b": {}, "c": {"optional": true, "flags": {"f": ["2"], "g": ["3"]}, "new_flags": [{"name": "h"}]}
}}"""  # noqa: E501


def test_the_committed_patches_make_glm47_legal(root: Path) -> None:
    assert added_choices(in_image(sets(root / "patches"), ())) == {"tool-call-parser": ("glm47",)}


def test_sets_add_up_and_may_add_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(TEXT)
    every = sets(tmp_path)
    assert added_choices(every) == {"f": ("1", "2"), "g": ("3",)}
    assert added_choices(in_image(every, ())) == {"f": ("1",)}
    assert [one.name for one in in_image(every, ("c",))] == ["a", "b", "c"]
    assert every[2].new_flags == ({"name": "h"},)


def test_only_an_optional_set_can_be_chosen() -> None:
    assert unknown(TEXT, ("c", "a", "d")) == ["a", "d"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sets": 1}'])
def test_a_manifest_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be read"):
        sets(tmp_path)
