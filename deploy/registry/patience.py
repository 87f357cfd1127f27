"""How long a registry is tried again, and when it is not. Pure, but for the waiting itself."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploy.errors import CutError, RegistryError

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a little later."""


@dataclass(frozen=True)
class Patience:
    """`waits`: seconds before each further try. `most`: the longest wait that a registry may ask for.

    `connect` and `read`: seconds until a connection must stand, and that it may be silent. `finish`: that it may be
    after a blob was sent, which registries then read once more.
    """

    waits: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    most: float = 120.0
    connect: float = 10.0
    read: float = 60.0
    finish: float = 300.0
    sleep: Callable[[float], None] = time.sleep


BRIEF = Patience(waits=(0.5, 1.0))
"""For a question that somebody waits for."""


class Tries:
    """The tries of one thing, counted."""

    def __init__(self, patience: Patience) -> None:
        self._patience, self._done = patience, 0

    def after(self, error: CutError) -> None:
        """Wait for the next try; raises RegistryError where there is none. Up to a quarter longer than said, so that
        clients which were sent away together do not come back together.
        """
        if self._done == len(self._patience.waits):
            raise RegistryError(f"{error.message} (tried {self._done + 1} times)", error.hint)
        if error.wait > self._patience.most:
            raise RegistryError(f"{error.message}; it asks to be left alone for {error.wait:.0f} s", error.hint)
        pause = max(error.wait, self._patience.waits[self._done])
        self._done += 1
        self._patience.sleep(pause * random.uniform(1.0, 1.25))

    def anew(self) -> None:
        """It went on: what failed before no longer counts."""
        self._done = 0


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds that a registry asks to be left alone for, 0.0 where it says nothing that can be read."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - now)
    except (TypeError, ValueError):
        return 0.0
