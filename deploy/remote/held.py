"""The lock of one node, as its holder sees it: a shell there that is fed a byte every few seconds and says it back."""

from __future__ import annotations

import string
import threading
import time
from concurrent.futures import Future, wait
from functools import partial

from deploy.command import Command, Result
from deploy.duration import duration
from deploy.remote.exchange import Ends
from deploy.remote.execute import Fleet

_LOCKED = 75
_ENDED = "command ended with "
_BEAT = "beat "
PATIENCE = 20
"""Seconds that a node keeps the lock of a holder that says nothing."""
BEAT_EVERY = 5.0
"""Seconds between two bytes to a node."""
QUIET = 8
"""Seconds without a byte after which a node takes the holder for gone, and lets the next one wait."""
_MARGIN = 2.0
# A clock that also runs while this machine sleeps, where there is one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> float:
    return time.clock_gettime(_CLOCK)


class HeldLock:
    """`runs`: the shell runs a command of ours first, and says nothing back until that has ended."""

    def __init__(self, fleet: Fleet, rank: int, command: Command, *, runs: bool) -> None:
        self._lines: list[str] = []
        self._answered, self._ended, self._release = threading.Event(), threading.Event(), threading.Event()
        self._runs, self._fed, self._sent = runs, -BEAT_EVERY, dict[str, float]()
        self._letter, self._confirmed = 0, 0.0
        self._session, self._first_heard = fleet.sessions[rank], 0.0
        ends = Ends(self._hear, self._release, self._feed)
        self._future = fleet.call(partial(fleet.run, rank, command, ends))
        self._future.add_done_callback(self._over)

    def _over(self, _: Future[Result]) -> None:
        self._answered.set()
        self._ended.set()

    def _feed(self) -> str:
        """The next byte when it is time: letters in turn, so that an answer tells which one it answers."""
        if _now() < self._fed + BEAT_EVERY:
            return ""
        self._fed, self._letter = _now(), (self._letter + 1) % len(string.ascii_letters)
        letter = string.ascii_letters[self._letter]
        self._sent[letter] = self._fed
        return letter

    def _hear(self, line: str) -> None:
        if line.startswith(_BEAT):
            # The node keeps the lock for its patience from when the byte came, so surely from when it was sent.
            self._confirmed = self._sent.get(line.removeprefix(_BEAT), self._confirmed)
            return
        self._lines.append(line)
        if len(self._lines) == 2:
            self._first_heard = time.time()
        self._confirmed = _now()
        if line.startswith(_ENDED) or not self._runs:
            self._ended.set()
        self._answered.set()

    def problem(self) -> str:
        """Empty once the lock is held; else who holds it, or why it cannot be taken."""
        if not self._answered.wait(60):
            return "the lock did not answer in 60 s"
        if self._lines[:1] == ["locked"]:
            return ""
        result = self._future.result()
        return f"locked {_who(result.stdout)}" if result.code == _LOCKED else f"no lock: {result.tail(1)}"

    def result(self, command: Command) -> Result:
        """How the command behind the lock ended; its two streams come as one."""
        in_time = self._ended.wait(command.timeout)
        lines = list(self._lines)
        if not lines or not lines[-1].startswith(_ENDED):
            return Result(command, None, "\n".join(lines[1:]), "it broke off" if in_time else "it did not end in time")
        span = (self._session.opened, self._first_heard)
        return Result(command, int(lines[-1].removeprefix(_ENDED)), "\n".join(lines[1:-1]), span=span)

    def lost(self) -> str:
        """Why the lock may no longer be ours, or empty while it surely is."""
        if self._future.done():
            return f"the lock is lost: {self._future.result().tail(1) or 'it was let go'}"
        silence = _now() - self._confirmed
        if self._ended.is_set() and silence > PATIENCE - _MARGIN:
            return f"the lock may be lost: the node has not confirmed it for {silence:.0f} s"
        return ""

    def release(self) -> None:
        self._release.set()
        wait([self._future], timeout=5)


def _who(text: str) -> str:
    """Holder and age, from what the script said of them."""
    said = dict(line.partition(" ")[::2] for line in text.splitlines())
    age = max(int(said.get("age", "0")), 0)
    who = f"by {said.get('by', 'another run')}"
    return f"{who}, {duration(age)} ago" if "age" in said else who
