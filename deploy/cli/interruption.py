"""Ctrl-C, and a polite kill, as one KeyboardInterrupt that leaves no lock behind. Does not know what it interrupts."""

from __future__ import annotations

import signal
from types import FrameType

HEARD = (signal.SIGINT, signal.SIGTERM)
LOOK_AGAIN = 0.001
"""Seconds after which a delicate place is looked at again."""
LOOKS = 1000
"""So often a look finds the main thread at one and the same delicate instruction before it is taken for stuck there."""
DELICATE = frozenset(("concurrent", "contextlib", "importlib", "logging", "paramiko", "queue", "threading", "weakref"))
"""Packages whose own Python code takes and gives back what nobody else would give back."""
WAITING = frozenset(("wait", "join", "_wait_for_tstate_lock"))
"""Their functions that wait, and bear an exception while they do."""


class Interruption:
    """Raised once, so that what was begun is undone once: a second Ctrl-C would leave half of it behind.

    Python runs a signal's handler between any two instructions of the main thread. Raised in `Condition.__exit__` or in
    `concurrent.futures.wait`, an interruption leaves a lock held for good: whoever wants it never ends, and what
    waits for that thread hangs. There it is put off, mostly for microseconds. What waits is known by being at the same
    instruction a moment later.
    """

    def __init__(self) -> None:
        self._place: tuple[FrameType | None, int] = (None, 0)
        self._looks = 0

    def listen(self) -> None:
        """Take the signals, in the main thread; SIGALRM and its timer are taken too."""
        for number in HEARD:
            signal.signal(number, self._hear)
        signal.signal(signal.SIGALRM, self._look)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        for one in HEARD:
            signal.signal(one, signal.SIG_IGN)
        self._look(number, frame)

    def _look(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if frame and (_finalizing(frame) or (_delicate(frame) and not self._stays(frame))):
            signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN)
            return
        self._place = (None, 0)
        raise KeyboardInterrupt

    def _stays(self, frame: FrameType) -> bool:
        place = (frame, frame.f_lasti)
        self._place, self._looks = place, self._looks + 1 if place == self._place else 0
        return self._looks >= (1 if frame.f_code.co_name in WAITING else LOOKS)


def _delicate(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in DELICATE


def _finalizing(frame: FrameType | None) -> bool:
    """Whatever `__del__` raises is swallowed."""
    while frame and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None
