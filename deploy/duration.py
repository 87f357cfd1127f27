"""Durations in words, the one way that all rooms tell them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """42 s, 34 min, 5.2 h, 3.1 days: as exact as anybody reads it."""
    for size, unit, below in ((1, "s", 120), (60, "min", 7200), (3600, "h", 172_800)):
        if seconds < below:
            count = max(seconds, 0) / size
            return f"{count:.1f} {unit}" if unit == "h" else f"{count:.0f} {unit}"
    return f"{seconds / 86_400:.1f} days"
