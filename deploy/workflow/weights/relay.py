"""One turn of a chain: the first node takes from the hub what no node has, and each gives to the next while it gets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Generator, Iterator, Mapping

from deploy.event import Event, Note, Progress
from deploy.remote.execute import Fleet
from deploy.weights import command
from deploy.weights.manifest import Manifest
from deploy.weights.plan import Chain, Held
from deploy.workflow.weights.asked import Model
from deploy.workflow.weights.crew import Crew, Said
from deploy.workflow.weights.known import Source
from deploy.workflow.weights.verify import pace

STREAMS = 4
"""Files that the hub sends at the same time."""
RELAY, DOWNLOAD = "relay", "download"


class Turn:
    """One turn. `bad`: checksums of files to be fetched anew, by rank; `lost`: who could not go on, and why."""

    def __init__(
        self, fleet: Fleet, model: Model, wanted: Manifest, chain: Chain, bad: Mapping[int, Collection[str]]
    ) -> None:
        self._fleet, self._model, self._wanted, self._chain, self._bad = fleet, model, wanted, chain, bad
        self.lost: dict[int, str] = {}
        self._whole: set[int] = set()
        self._first: dict[int, tuple[int, float]] = {}
        self._downloading = False

    def taken(self, source: Source, nodes: Mapping[int, Held]) -> Generator[Event, None, None]:
        """Until every node has the model, or one is lost. Raises WeightsError where the hub fails."""
        begin = None
        if self._chain.download:
            more = {"manifest": self._wanted.as_json(), "streams": STREAMS}
            begin = yield from source.command(self._head, DOWNLOAD, nodes[self._head].hub, more)
        crew, key = Crew(self._fleet), secrets.token_hex(32)
        try:
            for rank in self._chain.order:
                crew.start(rank, RELAY, command.here(RELAY, self._order(rank, nodes[rank].hub, key)))
            while not self.lost and not self._over:
                said = crew.listen(0.5)
                if said and begin and said.rank == self._head and said.line:
                    # Not before the relay there has said something: it has the lock then.
                    crew.start(self._head, DOWNLOAD, begin)
                    self._downloading, begin = True, None
                if said:
                    yield from self._heard(crew, said)
        finally:
            crew.stop()

    @property
    def _head(self) -> int:
        return self._chain.order[0]

    @property
    def _over(self) -> bool:
        return not self._downloading and self._whole == set(self._chain.order)

    def _order(self, rank: int, hub: str, key: str) -> dict[str, object]:
        before, last = self._chain.before(rank), rank == self._chain.order[-1]
        upstream = None if before is None else (self._fleet.nodes[before].fabric, command.PORT)
        place = {"address": self._fleet.nodes[rank].fabric, "port": 0 if last else command.PORT, "upstream": upstream}
        bad = sorted(self._bad.get(rank, ()))
        return {**self._model.order, "hub": hub, "manifest": self._wanted.as_json(), "bad": bad, "key": key, **place}

    def _heard(self, crew: Crew, said: Said) -> Iterator[Event]:
        if said.over:
            self._ended(crew, said)
        elif said.line and said.role == RELAY and said.line.get("whole"):
            self._whole.add(said.rank)
            yield Note(f"{self._host(said.rank)} has all of it")
        elif said.line and said.role == RELAY:
            yield self._progress(said.rank, int(said.line["have"]))

    def _ended(self, crew: Crew, said: Said) -> None:
        if said.role == DOWNLOAD and said.over and said.over.ok:
            self._downloading = False
            return
        assert said.over is not None
        error = crew.error(said.rank, said.role, said.over)
        if said.role == DOWNLOAD and self._fleet.sessions[said.rank].alive:
            raise type(error)(f"{self._host(said.rank)}: {error.message}", error.hint)
        self.lost[said.rank] = f"{error.message} ({error.hint})" if error.hint else error.message

    def _progress(self, rank: int, have: int) -> Progress:
        """The rate is that of this turn: what was there before took no time."""
        now = time.monotonic()
        first, since = self._first.setdefault(rank, (have, now))
        rate = pace(have - first, now - since)
        return Progress(f"model on {self._host(rank)}", have, self._wanted.size, rate=rate)

    def _host(self, rank: int) -> str:
        return self._fleet.nodes[rank].host
