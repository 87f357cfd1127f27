"""Faults that are ordered while a rank runs, by a file inside its container; says what is ordered, plays nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

KINDS = ("wedge", "garbage", "hang", "die")
"""`wedge` and `garbage` are rank 0's, and end when the file is emptied or removed. `hang` and `die[:EXIT CODE]` are for
any rank, and do not end."""
POLL = 0.2


def ordered(text: str) -> tuple[str, int]:
    """The fault of KINDS that a file's text orders, and an exit code (1 if none is given); "" where none is ordered.

    Raises ValueError for what is no order.
    """
    kind, _, code = text.strip().partition(":")
    if kind and kind not in KINDS:
        raise ValueError(f"no such fault: {kind} (one of {', '.join(KINDS)})")
    return kind, int(code or 1)


def follow(path: Path, carry_out: Callable[[str, int], None], complain: Callable[[str], None]) -> None:
    """Look at the file for as long as the rank lives; hand on each change of what it orders."""
    before = ""
    while True:
        text = _read(path)
        if text != before:
            before = text
            try:
                carry_out(*ordered(text))
            except ValueError as error:
                complain(f"{path}: {error}")
        time.sleep(POLL)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
