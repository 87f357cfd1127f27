"""One `up` or `down` at a time a cluster: a lock on every node, which frees itself when its holder cannot be heard.

Two controllers are never at work at once: a node refuses the commands of one that lost its lock there, also when
that one has not noticed yet (guard.sh).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deploy.command import Command, Result
from deploy.errors import LockedError
from deploy.remote import held
from deploy.remote.execute import Fleet
from deploy.remote.held import HeldLock
from deploy.script import script

_SCRIPT = Path(__file__).with_name("lock.sh")
_GUARD = Path(__file__).with_name("guard.sh")


@contextmanager
def lock(fleet: Fleet, holder: str, then: Mapping[int, Command] | None = None) -> Iterator[Lock]:
    """Hold the lock of every node of the fleet. Raises RemoteError where a login failed, LockedError.

    `then`, a command a node, runs as soon as its own lock is held, with no input and in the same round trip.
    """
    locks = Lock(fleet, holder, then)
    try:
        locks.take()
        yield locks
    finally:
        locks.release()


def holding(marks: tuple[str, ...], then: Command | None = None) -> Command:
    """The command that holds a lock; `marks`: cluster, token, patience and quiet in seconds, `again` or empty,
    holder."""
    argv = ("sh", "-c", script(_SCRIPT), "sh", *marks, *(then.argv if then else ()))
    return Command(argv, held=True, timeout=float("inf"))


def fenced(command: Command, cluster: str, token: str) -> Command:
    """The same command, refused by a node where the lock is not this token's."""
    return replace(command, argv=("sh", "-c", script(_GUARD), "sh", cluster, token, *command.argv))


class Lock:
    """The locks of all nodes of a fleet. While they are held, nodes refuse commands from whoever lost theirs."""

    def __init__(self, fleet: Fleet, holder: str, then: Mapping[int, Command] | None) -> None:
        self._fleet, self._holder, self._then = fleet, holder, then or {}
        self._token = secrets.token_hex(8)
        fleet.open()
        self._held = {rank: self._begin(rank, self._then.get(rank)) for rank in fleet.ranks}

    def _begin(self, rank: int, then: Command | None, again: str = "") -> HeldLock:
        marks = (self._fleet.name, self._token, str(held.PATIENCE), str(held.QUIET), again, self._holder)
        return HeldLock(self._fleet, rank, holding(marks, then), runs=bool(then))

    def take(self) -> None:
        """Wait until every lock is held. Raises RemoteError where a login failed, LockedError."""
        refused = {rank: error for rank, error in self._fleet.reach().items() if rank in self._held}
        if refused:
            raise self._fleet.refused(refused)
        self._refuse({rank: one.problem() for rank, one in self._held.items()})
        self._fleet.fence = self._fenced

    def _refuse(self, problems: dict[int, str]) -> None:
        found = {rank: what for rank, what in problems.items() if what}
        if found:
            hint = f"wait for it, or stop it; the lock of a holder that is gone frees itself within {held.PATIENCE} s"
            raise self._fleet.error(found, hint, LockedError)

    def _fenced(self, command: Command) -> Command:
        return fenced(command, self._fleet.name, self._token)

    @property
    def results(self) -> dict[int, Result]:
        """How `then` ended on each node."""
        return {rank: self._held[rank].result(then) for rank, then in self._then.items()}

    def lost(self) -> dict[int, str]:
        """The nodes whose lock is no longer ours, and why; they may be another's by now."""
        return {rank: why for rank, one in self._held.items() if (why := one.lost())}

    def check(self, excused: Iterable[int] = ()) -> None:
        """Raises LockedError where a lock was lost, but for `excused` ranks: to be called before each step."""
        lost = {rank: why for rank, why in self.lost().items() if rank not in excused}
        if lost:
            hint = "nothing more is done there, since another run may be at work: see `status`, then run it again"
            raise self._fleet.error(lost, hint, LockedError)

    def retake(self, ranks: Iterable[int]) -> dict[int, str]:
        """Take lost locks again, over connections that may be new; where that failed, and why.

        It fails where another run has held the lock since: what is there now may be the other's.
        """
        again = {
            rank: self._begin(rank, None, "again") for rank in ranks if rank in self._held and self._held[rank].lost()
        }
        for rank, one in again.items():
            self._held[rank].release()
            self._held[rank] = one
        return {rank: why for rank, one in again.items() if (why := one.problem())}

    def release(self) -> None:
        """Give every lock back."""
        for one in self._held.values():
            one.release()
        self._fleet.fence = None
