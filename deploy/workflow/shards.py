"""The page cache of the shards given back on each node while its rank loads them. Judges nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from deploy import container
from deploy.cluster.spec import Cluster
from deploy.command import Command, Result
from deploy.event import Event, Note, RankPhase
from deploy.remote.exchange import Ends
from deploy.remote.execute import Fleet


class ShardRelease:
    """Starts on a node when its rank begins to load weights, and ends with `stop`."""

    def __init__(self, fleet: Fleet, cluster: Cluster, names: Sequence[str]) -> None:
        self._fleet, self._model, self._names = fleet, cluster.model.path, names
        self._stop = threading.Event()
        self._released: dict[int, int] = {}
        self._failed: dict[int, str] = {}

    def hear(self, event: Event) -> None:
        """Begin where an event says that a rank loads."""
        if isinstance(event, RankPhase) and event.phase == "weights" and event.rank not in self._released:
            self._released[event.rank] = 0
            self._fleet.call(partial(self._run, event.rank))

    def _run(self, rank: int) -> None:
        command = Command(container.release_shards(self._names[rank], self._model), held=True, timeout=float("inf"))
        result = self._fleet.run(rank, command, Ends(partial(self._count, rank), self._stop))
        if not self._stop.is_set():
            self._failed[rank] = _why(result)

    def _count(self, rank: int, line: str) -> None:
        with suppress(ValueError, TypeError, KeyError):
            seen = json.loads(line)
            self._released[rank] += max(seen["before"] - seen["after"], 0)

    def stop(self) -> None:
        self._stop.set()

    def told(self) -> Iterator[Event]:
        """What came of it, in a line."""
        for rank, why in sorted(self._failed.items()):
            yield Note(f"{self._fleet.nodes[rank].host}: the page cache was not released: {why}", "warning")
        total = sum(self._released.values())
        if total:
            yield Note(f"page cache given back while the shards loaded: {total / 1e9:.1f} GB on all nodes")


def _why(result: Result) -> str:
    return result.tail(1) or "it ended"
