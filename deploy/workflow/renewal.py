"""A connection that breaks while ranks only have to be waited for is opened anew, with its lock, pulse and log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from deploy.launch.pulse import Pulse, Silent
from deploy.remote import pulse
from deploy.remote.execute import Fleet
from deploy.remote.lock import Lock

SECONDS = 3.0
"""For the new login; a node that has fallen silent is not waited for once more."""
TIMES = 3
"""Connections to one node that may break in one launch."""


@dataclass(frozen=True)
class Renewed:
    """A node that is heard again, and why it was not."""

    rank: int
    why: str


Hear = Callable[[Pulse | Silent | Renewed], None]


class Renewal:
    """`hear` gets the pulses that come anew, Renewed, or the Silent that stays; `follow(rank, since)` follows the
    rank's log again, from `since` seconds ago on."""

    def __init__(self, fleet: Fleet, held: Lock, hear: Hear, follow: Callable[[int, float], None]) -> None:
        self._fleet, self._held, self._hear, self._follow = fleet, held, hear, follow
        self._left = dict.fromkeys(fleet.ranks, TIMES)
        self.under_way: set[int] = set()

    def begins(self, silent: Silent) -> bool:
        """Whether the node is logged in to anew: its connection broke, and it had not fallen silent before."""
        session, rank = self._fleet.sessions[silent.rank], silent.rank
        if session.alive or session.silent or not self._left[rank] or self._fleet.stopping:
            return False
        self._left[rank] -= 1
        self.under_way.add(rank)
        self._fleet.call(partial(self._renew, silent))
        return True

    def excused(self) -> set[int]:
        """Nodes whose lock need not be held at this moment: a lost one is taken again before anything is done there."""
        return self.under_way | {rank for rank in self._fleet.ranks if not self._fleet.sessions[rank].alive}

    def _renew(self, silent: Silent) -> None:
        rank, began = silent.rank, time.monotonic()
        away = {one: error.message for one, error in self._fleet.revive((rank,), SECONDS).items()}
        refused = away or self._held.retake((rank,))
        if refused:
            self._left[rank] = 0
            self._hear(Silent(rank, silent.at, f"{silent.why}; {refused[rank]}"))
        else:
            pulse.follow(self._fleet, rank, self._hear)
            self._follow(rank, time.monotonic() - began + 1.0)
            self._hear(Renewed(rank, silent.why))
        self.under_way.discard(rank)
