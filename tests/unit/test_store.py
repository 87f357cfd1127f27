"""The cache of what was fetched: whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import store


def test_a_folder_is_filled_once(tmp_path: Path) -> None:
    for content in ("first", "second"):
        store.keep(tmp_path / "a" / "kept", lambda new, content=content: (new / "file").write_text(content))  # type: ignore[misc]
    assert (tmp_path / "a" / "kept" / "file").read_text() == "first"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def broken(new: Path) -> None:
        (new / "half").write_text("")
        raise RuntimeError("the line broke")

    with pytest.raises(RuntimeError, match="the line broke"):
        store.keep(tmp_path / "kept", broken)
    assert not list(tmp_path.iterdir())


def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache() == tmp_path / "sglang-spark"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert store.cache() == Path.home() / ".cache" / "sglang-spark"
