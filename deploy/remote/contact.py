"""Every node of a cluster kept in touch with: its pulses are heard, and a session that ends is opened anew."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from contextlib import closing

from deploy.cluster.spec import Cluster
from deploy.launch.pulse import Pulse, Silent
from deploy.remote import pulse
from deploy.remote.execute import Fleet
from deploy.remote.pulse import Hear

MUTE_SECONDS = 8.0
"""A session on which no pulse comes for so long is given up; a Docker Engine that hangs delays one by 5 s."""
PAUSE = 1.0


class Contacts:
    """One thread a node. `hear` gets Pulse and Silent from these threads. `watcher`: who watches, or empty."""

    def __init__(self, cluster: Cluster, hear: Hear, watcher: str = "") -> None:
        self._cluster, self._hear, self._watcher = cluster, hear, watcher
        self._stop = threading.Event()
        self._fleets: dict[int, Fleet] = {}
        self._threads = [
            threading.Thread(target=self._keep, args=(rank,), name=f"contact-{rank}", daemon=True)
            for rank in range(len(cluster.nodes))
        ]
        for thread in self._threads:
            thread.start()

    def fleet(self, rank: int) -> Fleet | None:
        """The open session of a node, for its commands and tunnels; None while there is none."""
        return self._fleets.get(rank)

    def close(self) -> None:
        """End every session; a login that hangs is left to its own timeout."""
        self._stop.set()
        for fleet in list(self._fleets.values()):
            fleet.close()
        for thread in self._threads:
            thread.join(timeout=2)

    def _keep(self, rank: int) -> None:
        while not self._stop.is_set():
            with closing(Fleet(self._cluster, (rank,))) as fleet:
                refused = fleet.reach()
                if fleet.ranks:
                    self._listen(fleet, rank)
                elif not self._stop.is_set():
                    why = refused[rank].message if rank in refused else "no login"
                    self._hear(Silent(rank, time.monotonic(), why))
            self._stop.wait(PAUSE)

    def _listen(self, fleet: Fleet, rank: int) -> None:
        """Until the session ends, falls silent, or is closed."""
        last = [time.monotonic()]

        def hear(seen: Pulse | Silent) -> None:
            last[0] = time.monotonic()
            if not self._stop.is_set():
                self._hear(seen)

        self._fleets[rank] = fleet
        future = pulse.follow(fleet, rank, hear, self._watcher)
        while wait((future,), timeout=0.5).not_done and not self._stop.is_set():
            if time.monotonic() - last[0] > MUTE_SECONDS:
                self._hear(Silent(rank, time.monotonic(), f"nothing came from it for {MUTE_SECONDS:g} s"))
                break
        del self._fleets[rank]
