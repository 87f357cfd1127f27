"""Operations to their end, for tests."""

from __future__ import annotations

from collections.abc import Generator

from deploy.event import Event


def run(events: Generator[Event, None, str]) -> tuple[list[Event], str]:
    """All events of an operation, and what it returns."""
    seen: list[Event] = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return seen, stop.value
