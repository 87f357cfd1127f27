"""Standard input as a lifeline: whoever holds its other end feeds it, and a process that is fed no more ends itself.

So nothing of a run outlives its controller, however that one ended: killed, cut off or frozen.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

PATIENCE = 20.0
"""Seconds of silence after which the other end is taken for gone."""
FEED_EVERY = 4.0
"""Seconds between two bytes from the other end."""


class Lifeline:
    """A file descriptor that is read from one end: its first line, then nothing but signs of life."""

    def __init__(self, handle: int = 0, patience: float = PATIENCE) -> None:
        self._handle, self._patience = handle, patience
        self._more = b""

    def line(self) -> str:
        """The first line, without its end. Raises EOFError where the other end is gone before."""
        while b"\n" not in self._more:
            self._more += self._read()
        line, _, self._more = self._more.partition(b"\n")
        return line.decode()

    def hold(self, over: Callable[[str], None]) -> None:
        """Watch from now on, beside everything else; `over` is told why, once the other end is gone."""
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()

    def _watch(self, over: Callable[[str], None]) -> None:
        try:
            while True:
                self._read()
        except EOFError as end:
            over(str(end))

    def _read(self) -> bytes:
        """What came. Raises EOFError at the end, and after a silence."""
        if not select.select([self._handle], [], [], self._patience)[0]:
            raise EOFError(f"the controller was silent for {self._patience:g} s")
        found = os.read(self._handle, 1 << 16)
        if not found:
            raise EOFError("the controller is gone")
        return found
