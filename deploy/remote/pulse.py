"""One long command a node that says every second how its rank is; and the reading of what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from deploy.command import Command, Result
from deploy.launch.pulse import INTERVAL, Pulse, Silent
from deploy.remote import facts
from deploy.remote.execute import Fleet
from deploy.script import script

Hear = Callable[[Pulse | Silent], None]
SCRIPT = Path(__file__).with_name("pulse.sh")
_LAST = "pulse"


def command(cluster: str, watcher: str = "") -> Command:
    """The command that speaks until this side lets go of it. `watcher`: who watches, for others to read."""
    argv = ("sh", "-c", script(SCRIPT), "sh", cluster, f"{INTERVAL:g}", watcher)
    return Command(argv, held=True, loose=True, timeout=float("inf"))


def follow(fleet: Fleet, rank: int, hear: Hear, watcher: str = "") -> Future[Result]:
    """Hand on every pulse of a node, and at the end, unless the fleet is stopping, that it is silent."""
    reader = Reader(rank, hear)
    future = fleet.submit(rank, command(fleet.name, watcher), lambda _, line: reader.take(line))
    future.add_done_callback(partial(_over, fleet, rank, hear))
    return future


def _over(fleet: Fleet, rank: int, hear: Hear, future: Future[Result]) -> None:
    if not fleet.stopping and not future.cancelled():
        hear(Silent(rank, time.monotonic(), future.result().tail(1) or "its pulse ended"))


class Reader:
    """Puts lines together to pulses."""

    def __init__(self, rank: int, hear: Hear) -> None:
        self._rank, self._hear, self._lines = rank, hear, list[str]()
        self._lock = threading.Lock()

    def take(self, line: str) -> None:
        """One line; the last one of a pulse hands it on."""
        with self._lock:
            if line != _LAST:
                self._lines.append(line)
                return
            text, self._lines = "\n".join(self._lines), []
        self._hear(read(self._rank, text, time.monotonic()))


def read(rank: int, text: str, at: float) -> Pulse:
    """A pulse from the lines between two ends."""
    lines = facts.keyed(text)
    return Pulse(
        rank=rank,
        at=at,
        clock=float(facts.first(lines, "clock") or 0),
        memory_available=int(facts.first(lines, "memory_available") or 0) * 1024,
        ranks=facts.ranks(lines),
        docker_error=facts.first(lines, "docker_error"),
        holder=facts.first(lines, "holder"),
    )
