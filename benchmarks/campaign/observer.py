"""Looks at the ranks of a lane ten times a second, independently of the tool, and remembers when each was there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.campaign import sight
from benchmarks.campaign.sight import Node

INTERVAL = 0.1


@dataclass
class Seen:
    """A rank's container: its node, its processes, when it was last there (monotonic seconds), its last line."""

    node: int
    pids: list[int]
    last: float
    alive: bool = True
    line: str = ""
    size: int = -1


class Observer:
    """A thread of its own; `nodes` says what the nodes are now, since one that was off has new processes."""

    def __init__(self, nodes: Callable[[], Mapping[int, Node]]) -> None:
        self._nodes = nodes
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen: dict[str, Seen] = {}
        self.worst_gap = 0.0
        self._thread = threading.Thread(target=self._loop, name="observer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def alive(self) -> dict[str, Seen]:
        """The rank containers that run now, by id."""
        with self._lock:
            return {name: one for name, one in self._seen.items() if one.alive}

    def of(self, names: set[str]) -> dict[str, Seen]:
        """What was seen of these containers."""
        with self._lock:
            return {name: one for name, one in self._seen.items() if name in names}

    def forget(self) -> None:
        """Forget what is gone."""
        with self._lock:
            self._seen = {name: one for name, one in self._seen.items() if one.alive}

    def _loop(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(INTERVAL):
            self._look()
            now = time.monotonic()
            self.worst_gap, before = max(self.worst_gap, now - before), now

    def _look(self) -> None:
        for index, node in self._nodes().items():
            found = sight.ranks(node)
            now = time.monotonic()
            with self._lock:
                for name, pids in found.items():
                    one = self._seen.setdefault(name, Seen(index, pids, now))
                    one.pids, one.last, one.alive = pids, now, True
                mine = [(name, one) for name, one in self._seen.items() if one.node == index]
                for name, one in mine:
                    one.alive = name in found
            for name, one in mine:
                self._read_log(node, name, one)

    def _read_log(self, node: Node, name: str, one: Seen) -> None:
        size = sight.log_size(node, name)
        if size not in (-1, one.size):
            one.line, one.size = sight.last_line(node, name) or one.line, size
