"""The picture of times over the batch size."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import KernelError
from deploy.tune.picture import Lines, draw

LINES = Lines({1: 1e-4, 16: 2e-4, 512: 9e-4}, {1: 2e-4, 16: 3e-4}, {1: 9e-5, 16: 1e-4, 512: 8e-4}, "the default")


def test_it_has_every_line_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    for file in (one, other):
        draw(LINES, "a table", file)
    text = one.read_text()
    for word in ("tuned", "the default", "bound: bytes", "a table", "512"):
        assert f"<!-- {word}" in text
    assert one.read_bytes() == other.read_bytes()


def test_without_anything_before_there_is_no_such_line(tmp_path: Path) -> None:
    draw(Lines(LINES.found, {}, LINES.bound, "the default"), "a table", tmp_path / "one.svg")
    assert "the default" not in (tmp_path / "one.svg").read_text()


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"end it in|is no picture"):
        draw(LINES, "a table", tmp_path / "one.txt")
