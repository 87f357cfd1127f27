"""How long a registry is tried again, and when it is not. Pure, but for the waiting itself."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a little later."""


@dataclass(frozen=True)
class Patience:
    """`waits`: seconds before each further try. `most`: the longest wait that a registry may ask for.

    `connect` and `read`: seconds until a connection must stand, and that it may be silent.
    """

    waits: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    most: float = 120.0
    connect: float = 10.0
    read: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def pauses(self) -> Iterator[float]:
        """The waits one after the other, each up to a quarter longer, so that clients do not come back together."""
        return (wait * random.uniform(1.0, 1.25) for wait in self.waits)


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds that a registry asks to be left alone for, 0.0 where it says nothing that can be read."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - now)
    except (TypeError, ValueError):
        return 0.0
