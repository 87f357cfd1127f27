"""A crew on the nodes, from its first measurement to its last: who ends is begun again, and the rest goes on."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deploy.command import Command, Result
from deploy.errors import LockedError, TuneError
from deploy.event import Event, Note
from deploy.remote.execute import Fleet
from deploy.remote.fed import Fed
from deploy.remote.lock import Lock
from deploy.tune.happening import Finished, Happening, Lost, Measured, heard
from deploy.tune.plan import Launch, Tries
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial, timing_json, trial_json

LISTEN = 0.5
STOPS = 10.0
BACK_EVERY = 10.0
"""Seconds that one try to reach a lost node takes."""
HEAD = "head"
SILENCE = 900.0
"""Seconds without a word from the head, which speaks for all, until it is taken for hung. A sound run waits longest
for the compiler, which has its own limit of some minutes."""


@dataclass(frozen=True)
class _Said:
    """A line of a node's, or how its command ended, or that the node is reached again."""

    rank: int
    crew: int
    line: str = ""
    over: Result | None = None
    back: bool = False
    why: str = ""


class Shift:
    """`gpus` by rank. While it works, `todo` and `known` are what is left and what is measured."""

    def __init__(self, fleet: Fleet, held: Lock, launch: Launch, gpus: Mapping[int, int], arch: int) -> None:
        self._fleet, self._held, self._launch, self._gpus, self._arch = fleet, held, launch, gpus, arch
        self._present = list(gpus)
        self._running: dict[int, Fed] = {}
        self._said: queue.SimpleQueue[_Said] = queue.SimpleQueue()
        self._last: dict[int, str] = {}
        self._tries, self._crew, self._over = Tries(), 0, False
        self.todo: list[int] = []
        self.known: dict[Trial, Timing] = {}

    def measured(self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]) -> Iterator[Happening | Event]:
        """What happens until every size is finished. Raises TuneError, LockedError."""
        self.todo, self.known = list(sizes), dict(known)
        while self.todo:
            if not self._present:
                raise TuneError("no node can be reached", "run it again: it goes on where it was")
            self._begin(task)
            try:
                yield from self._attended()
            finally:
                self.stop()

    def stop(self) -> None:
        """Let go of everything that runs; it ends by itself on its node."""
        running, self._running = list(self._running.values()), {}
        for one in running:
            one.stop()
        for one in running:
            one.wait(STOPS)

    def close(self) -> None:
        """Look for lost nodes no more."""
        self._over = True
        self.stop()

    def _begin(self, task: Work) -> None:
        """The first node that is present leads; the others join."""
        self._crew += 1
        self._last.clear()
        head, *others = self._present
        left = set(self.todo)
        known = [
            {"trial": trial_json(trial), "timing": timing_json(timing)}
            for trial, timing in self.known.items()
            if trial.tokens in left
        ]
        job = {"task": task.as_json(), "sizes": list(self.todo), "known": known}
        self._start(head, self._launch.head(head, self._gpus[head], self._arch, job))
        for rank in others:
            self._join(rank)

    def _join(self, rank: int) -> None:
        self._start(rank, self._launch.join(rank, self._gpus[rank], self._present[0]))

    def _start(self, rank: int, command: Command) -> None:
        crew = self._crew
        self._running[rank] = Fed(
            self._fleet,
            rank,
            command,
            lambda line: self._said.put(_Said(rank, crew, line)),
            lambda over: self._said.put(_Said(rank, crew, over=over)),
        )

    def _attended(self) -> Iterator[Happening | Event]:
        """One crew until its head has ended."""
        head, heard = self._present[0], time.monotonic()
        while time.monotonic() - heard < SILENCE:
            self._check()
            try:
                said = self._said.get(timeout=LISTEN)
            except queue.Empty:
                continue
            heard = time.monotonic() if (said.rank, said.crew) == (head, self._crew) else heard
            if said.back or said.why:
                yield from self._returned(said)
            elif said.crew != self._crew:
                continue
            elif said.over is None:
                yield from self._heard(said)
            elif said.rank == head:
                yield from self._head_over(head, said.over)
                return
            else:
                yield from self._join_over(said.rank, said.over)
        yield from self._begun_anew(head, f"not a word in {SILENCE:.0f} s")

    def _check(self) -> None:
        """Raises LockedError where another run may be at work."""
        lost = {rank: why for rank, why in self._held.lost().items() if self._reached(rank)}
        if lost:
            hint = "nothing more is measured there: see `status`, then run it again; it goes on where it was"
            raise self._fleet.error(lost, hint, LockedError)

    def _reached(self, rank: int) -> bool:
        return rank in self._present and self._fleet.sessions[rank].alive

    def _heard(self, said: _Said) -> Iterator[Happening]:
        try:
            happening = heard(said.line)
        except (ValueError, KeyError, TypeError):
            self._last[said.rank] = said.line
            return
        if isinstance(happening, Measured):
            self.known[happening.trial] = happening.timing
            self._tries.fruitful(HEAD)
            self._tries.fruitful(happening.node)
        if isinstance(happening, Finished) and happening.tokens in self.todo:
            self.todo.remove(happening.tokens)
        yield happening

    def _head_over(self, rank: int, result: Result) -> Iterator[Happening | Event]:
        if result.ok and not self.todo:
            return
        yield from self._begun_anew(rank, self._why(rank, result))

    def _begun_anew(self, rank: int, why: str) -> Iterator[Happening | Event]:
        """What is to be said before another head takes over, or the same one again. Raises TuneError."""
        if not self._fleet.sessions[rank].alive:
            yield self._away(rank, why)
        elif not self._tries.again(HEAD):
            raise TuneError(f"{self._host(rank)}: {why}", "it was begun again in vain; what was measured is kept")
        yield Note(f"{self._host(rank)}, Ray's head, ended: {why}; beginning again with what is known", "warning")

    def _join_over(self, rank: int, result: Result) -> Iterator[Happening | Event]:
        why, host = self._why(rank, result), self._host(rank)
        self._running.pop(rank, None)
        if not self._fleet.sessions[rank].alive:
            yield self._away(rank, why)
        elif self._tries.again(host):
            yield Note(f"{host}: {why}; it joins again", "warning")
            self._join(rank)
        else:
            self._present.remove(rank)
            yield Lost(host, f"left out, since it ended again and again: {why}")

    def _away(self, rank: int, why: str) -> Lost:
        """Go on without a node, and look for it."""
        self._present.remove(rank)
        self._running.pop(rank, None)
        self._fleet.call(partial(self._look_for, rank))
        return Lost(self._host(rank), f"it cannot be reached: {why}")

    def _look_for(self, rank: int) -> None:
        """Until it is reached and its lock is ours again."""
        while not self._over and not self._fleet.stopping:
            if self._fleet.revive([rank], BACK_EVERY):
                continue
            refused = self._held.retake([rank])
            self._said.put(_Said(rank, 0, back=not refused, why=refused.get(rank, "")))
            return

    def _returned(self, said: _Said) -> Iterator[Event]:
        host = self._host(said.rank)
        if not said.back:
            yield Note(f"{host} can be reached again, and is left out: {said.why}", "warning")
            return
        self._present.append(said.rank)
        if self._tries.again(host):
            yield Note(f"{host} can be reached again; it joins")
            self._join(said.rank)

    def _why(self, rank: int, result: Result) -> str:
        """What a role said last, or how its command ended."""
        last = self._last.get(rank, "")
        try:
            return str(json.loads(last)["error"])
        except (ValueError, KeyError, TypeError):
            ended = result.stderr.strip() if result.code is None else f"exit code {result.code}"
            return ": ".join(filter(None, (ended, last)))

    def _host(self, rank: int) -> str:
        return self._fleet.nodes[rank].host
