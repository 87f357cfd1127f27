"""Every node and rank of a launch, watched from the login to the proof. Takes nothing down."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import wait

from deploy.cluster.spec import Cluster
from deploy.errors import DeployError, NotReadyError
from deploy.event import Event, Note, RankPhase
from deploy.launch.gang import Gang, ending, verdict
from deploy.launch.health import Observation
from deploy.launch.node import gib
from deploy.launch.pulse import Pulse, Silent
from deploy.remote import pulse
from deploy.remote.execute import Fleet
from deploy.remote.lock import Lock
from deploy.workflow.renewal import Renewal, Renewed

MUTE_SECONDS = 15.0
"""No pulse for so long on a connection that is open: a Docker Engine that hangs delays one by ten."""


class Lookout:
    """Hears the pulse of every node. Whoever waits for something takes turns with it, and learns of trouble so.

    `held` is the lock that the launch needs, once it is taken; `begun`: there is something to undo. `renewal`: how a
    broken connection is opened anew, once ranks only have to be waited for.
    """

    def __init__(self, fleet: Fleet, cluster: Cluster) -> None:
        self.fleet, self.cluster = fleet, cluster
        self.gang = Gang.of(len(cluster.nodes), cluster.watch.memory_floor)
        self.seen: queue.Queue[Observation | Renewed] = queue.Queue()
        self.held: Lock | None = None
        self.renewal: Renewal | None = None
        self.begun = False
        self._warned: set[int] = set()
        self._mute, self._last = dict.fromkeys(fleet.ranks, 0.0), time.monotonic()
        for rank in fleet.ranks:
            pulse.follow(fleet, rank, self.seen.put)

    def expect(self, ranks: Iterable[int], *, running: bool = False) -> None:
        """From now on a container of these ranks that does not run is trouble. `running`: they have run for a while."""
        new = [rank for rank in ranks if self.gang.ranks[rank].judged < 0]
        self.gang = self.gang.expecting(new, running=running)

    def turn(self, timeout: float = 0.0) -> Iterator[Event]:
        """Take in what was seen, after waiting up to `timeout` s for something. Raises where the launch must end."""
        yield from self._take_in(timeout)
        self._count_mute()
        if self.gang.gone:
            raise self.failure()
        if self.held:
            self.held.check(self.renewal.excused() if self.renewal else ())

    def beside(self, work: Iterator[Event]) -> Iterator[Event]:
        """Hand on the events of work that may block, and take turns meanwhile."""
        said: queue.Queue[Event] = queue.Queue()

        def go() -> None:
            for event in work:
                said.put(event)

        going = self.fleet.call(go)
        over = False
        while not over:
            over = not wait((going,), timeout=0.1).not_done
            yield from _drained(said)
            yield from self.turn()
        going.result()

    def failure(self) -> DeployError:
        """What went wrong as one error: of the ranks once there are any, else of the nodes."""
        hint = "read more with `logs --rank N`"
        if self.gang.started:
            return NotReadyError(verdict(self.gang, self.cluster.name), hint)
        return self.fleet.error({one.rank: one.reason for one in self.gang.gone}, "see `doctor`")

    def told(self) -> str:
        """The first trouble in a line, or empty."""
        first = next(iter(self.gang.gone), None)
        return f"rank {first.rank} on {self.fleet.nodes[first.rank].host} {ending(first)}" if first else ""

    def _take_in(self, timeout: float) -> Iterator[Event]:
        before = self.gang
        found = self._next(timeout)
        # A log can come faster than it is read: what comes meanwhile is for the next turn.
        for _ in range(self.seen.qsize() + 1):
            yield from self._take(found)
            found = self._next(0)
        yield from self._take(found)
        yield from self._changes(before)

    def _take(self, found: Observation | Renewed | None) -> Iterator[Event]:
        if isinstance(found, (Pulse, Silent, Renewed)):
            self._mute[found.rank] = 0.0
        if isinstance(found, Renewed):
            yield Note(f"{self.fleet.nodes[found.rank].host}: {found.why}; logged in anew", "warning")
        elif found is not None and not self._renews(found):
            self.gang = self.gang.after(found)

    def _renews(self, found: Observation) -> bool:
        return bool(self.renewal and isinstance(found, Silent) and self.renewal.begins(found))

    def _next(self, timeout: float) -> Observation | Renewed | None:
        try:
            return self.seen.get(timeout=timeout) if timeout > 0 else self.seen.get_nowait()
        except queue.Empty:
            return None

    def _changes(self, before: Gang) -> Iterator[Event]:
        for rank, state in self.gang.ranks.items() if self.gang.started else ():
            if (state.phase, state.detail) != (before.ranks[rank].phase, before.ranks[rank].detail):
                yield RankPhase(rank, self.fleet.nodes[rank].host, state.phase, state.detail)
        for rank in set(self.gang.low) - self._warned:
            self._warned.add(rank)
            left, floor = gib(self.gang.ranks[rank].available), gib(int(self.gang.floor))
            host = self.fleet.nodes[rank].host
            yield Note(f"{host}: ONLY {left} OF MEMORY LEFT while loading; under {floor} is too little", "warning")

    def _count_mute(self) -> None:
        """In turns of this side, so that its own sleep is not taken for a node's silence."""
        now = time.monotonic()
        passed, self._last = min(now - self._last, 1.0), now
        for rank in self._mute:
            self._mute[rank] += passed
            if self._mute[rank] > MUTE_SECONDS:
                self.gang = self.gang.after(Silent(rank, now, f"no pulse for {MUTE_SECONDS:.0f} s"))


def _drained(said: queue.Queue[Event]) -> Iterator[Event]:
    while not said.empty():
        yield said.get()
