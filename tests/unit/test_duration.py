"""Durations are worded in one way."""

from __future__ import annotations

import pytest

from deploy.duration import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (42.4, "42 s"), (119, "119 s"), (300, "5 min"), (7300, "2.0 h"), (200_000, "2.3 days")],
)
def test_spans_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
