"""A command on a node whose input is its lifeline: fed for as long as it is wanted, and it ends itself after that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

from deploy.command import Command, Result
from deploy.remote.exchange import Ends
from deploy.remote.execute import Fleet

Hear = Callable[[str], None]
FEED_EVERY = 4.0
"""Seconds between two line ends to the command: one that reads patiently takes 20 s without for the end."""


class Fed:
    """One such command; `hear` is told its lines and `over`, last, its Result, both in another thread.

    A node refuses its start where this side no longer holds the lock there; what runs is ended by `stop`, by the end of
    this process and by the node itself when it hears nothing more.
    """

    def __init__(
        self, fleet: Fleet, rank: int, command: Command, hear: Hear, over: Callable[[Result], None] | None = None
    ) -> None:
        self._stop, self._fed = threading.Event(), time.monotonic()
        sent = fleet.fence(command) if fleet.fence else command
        ends = Ends(hear, self._stop, self._feed)
        self._future: Future[Result] = fleet.call(partial(fleet.run, rank, sent, ends))
        if over:
            self._future.add_done_callback(lambda done: None if done.cancelled() else over(done.result()))

    def _feed(self) -> str:
        if time.monotonic() < self._fed + FEED_EVERY:
            return ""
        self._fed = time.monotonic()
        return "\n"

    def stop(self) -> None:
        """Let go of it: its input ends."""
        self._stop.set()

    @property
    def result(self) -> Result:
        """How it ended; waits for that."""
        return self._future.result()

    def wait(self, timeout: float) -> bool:
        """Until this side is through with it; whether it is."""
        return not wait([self._future], timeout=timeout).not_done
