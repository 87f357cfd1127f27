"""Which commands are under way, counted without a gap: none can begin unseen. Runs nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pending:
    """Work of one generation after the other. Settling ends a generation: what of it has not begun never begins."""

    def __init__(self) -> None:
        self.generation = 0
        self._running: dict[int, int] = {}
        self._changed = threading.Condition()

    @contextmanager
    def one(self, generation: int) -> Iterator[bool]:
        """Counts one piece of work for as long as the context lasts; False where its generation is over."""
        with self._changed:
            begins = generation == self.generation
            self._running[generation] = self._running.get(generation, 0) + begins
        try:
            yield begins
        finally:
            with self._changed:
                self._running[generation] -= begins
                self._changed.notify_all()

    def settle(self, timeout: float) -> bool:
        """End the generation, and wait up to `timeout` s for its work; whether all of it has ended."""
        until = time.monotonic() + timeout
        with self._changed:
            self.generation += 1
            while any(self._running.values()) and time.monotonic() < until:
                self._changed.wait(max(until - time.monotonic(), 0.01))
            return not any(self._running.values())
