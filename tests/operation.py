"""Operations to their end, for tests."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from deploy.event import Event

T = TypeVar("T")


def run(events: Generator[Event, None, T]) -> tuple[list[Event], T]:
    """All events of an operation, and what it returns."""
    seen: list[Event] = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return seen, stop.value
