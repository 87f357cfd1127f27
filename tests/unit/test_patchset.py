"""What the patches change for the flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.patchset import added_choices, choices


def test_the_committed_patches_make_glm47_legal(root: Path) -> None:
    assert added_choices(root / "patches") == {"tool-call-parser": ("glm47",)}


def test_sets_add_up_and_may_add_nothing() -> None:
    text = '{"sets": {"a": {"flags": {"f": ["1"]}}, "b": {}, "c": {"flags": {"f": ["2"], "g": ["3"]}}}}'
    assert choices(text) == {"f": ("1", "2"), "g": ("3",)}


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sets": 1}'])
def test_a_manifest_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be read"):
        added_choices(tmp_path)
