"""Many GPUs: batch sizes handed out by Ray, an actor a GPU, to whoever is idle. The one home of `ray`.

What a lost worker had measured is known here already, so that the next one goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from deploy.errors import TuneError
from deploy.tune import local
from deploy.tune.device import Device
from deploy.tune.gather import gathered
from deploy.tune.happening import Finished, Happening, Lost, Measured
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial

LOOK_EVERY = 1.0
"""Seconds between two looks for GPUs that joined."""
LONELY = 60.0
"""Seconds without any GPU after which the run is given up."""
REST = 8.0
"""Seconds that a node gets no new actor after it lost one: by then Ray knows whether the node itself is gone."""
FRUITLESS = 3
"""Times that a GPU may be lost without a measurement in between before its node is left out."""


@dataclass(frozen=True)
class Kind:
    """What every GPU here is: SGLang's module of kernel and launcher on its node, and its number, such as 121."""

    source: Path
    arch: int


class Timer:
    """An actor: makes the searches of batch sizes on its own GPU."""

    def __init__(self, task: Work, kind: Kind, node: str, beside: int) -> None:
        compilers = max(1, len(os.sched_getaffinity(0)) // beside)
        self._task, self._node = task, node
        self._device = Device(task.problem, kind.source, kind.arch, compilers)

    def measure(self, tokens: int, known: Mapping[Trial, Timing]) -> Iterator[list[Happening]]:
        """What happens, in handfuls, as it happens. Raises what the search raises."""
        yield from gathered(local.measured(self._task, [tokens], self._device, known, self._node))


@dataclass
class _Hand:
    """One actor, and the stream of what it is at."""

    identity: str
    node: str
    actor: Any
    tokens: int = 0
    stream: Any = None


@dataclass
class Crew:
    """`known` grows by what is measured. Ray must run at `address` (ADDRESS:PORT)."""

    task: Work
    kind: Kind
    known: dict[Trial, Timing]
    _hands: list[_Hand] = field(default_factory=list)
    _fruitless: dict[str, int] = field(default_factory=dict)
    _rests: dict[str, float] = field(default_factory=dict)
    _looked: float = 0.0

    def connect(self, address: str) -> None:
        """Become Ray's driver."""
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)

    def measured(self, sizes: Sequence[int]) -> Iterator[Happening]:
        """What happens until all sizes are finished, the first ones begun first. Raises TuneError without GPUs."""
        waiting, lonely = list(sizes), time.monotonic()
        while waiting or any(hand.stream is not None for hand in self._hands):
            self._look()
            idle = [one for one in self._hands if one.stream is None]
            for hand in idle[: len(waiting)]:
                self._begin(hand, waiting.pop(0))
            if self._hands:
                lonely = time.monotonic()
            elif time.monotonic() - lonely > LONELY:
                raise TuneError(f"no GPU is left, and {len(waiting)} batch sizes are", "see why its node was lost")
            for happening in self._heard():
                if isinstance(happening, Lost) and happening.tokens:
                    waiting.insert(0, happening.tokens)
                yield happening

    def _look(self) -> None:
        """An actor for every GPU that has none."""
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        for node in ray.nodes():
            identity, name, gpus = node["NodeID"], node["NodeName"], int(node["Resources"].get("GPU", 0))
            resting = self._rests.get(identity, 0.0) > self._looked
            if not node["Alive"] or resting or self._fruitless.get(identity, 0) >= FRUITLESS:
                continue
            for _ in range(gpus - sum(one.identity == identity for one in self._hands)):
                self._hands.append(_Hand(identity, name, self._hired(identity, name, gpus)))

    def _hired(self, identity: str, name: str, gpus: int) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(identity, soft=False)
        actor = ray.remote(Timer).options(num_gpus=1, num_cpus=0, scheduling_strategy=place)
        return actor.remote(self.task, self.kind, name, gpus)

    def _begin(self, hand: _Hand, tokens: int) -> None:
        known = {trial: timing for trial, timing in self.known.items() if trial.tokens == tokens}
        hand.tokens = tokens
        hand.stream = hand.actor.measure.options(num_returns="streaming").remote(tokens, known)

    def _heard(self) -> Iterator[Happening]:
        """What came within a moment."""
        streams = {hand.stream: hand for hand in self._hands if hand.stream is not None}
        if not streams:
            time.sleep(0.2)
            return
        ray.wait(list(streams), num_returns=1, timeout=LOOK_EVERY, fetch_local=False)
        ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0, fetch_local=False)
        for stream in ready:
            yield from self._next(streams[stream])

    def _next(self, hand: _Hand) -> Iterator[Happening]:
        try:
            happenings: list[Happening] = ray.get(next(hand.stream))
        except StopIteration:
            hand.stream = None
            return
        except ray.exceptions.RayError as error:
            yield self._lost(hand, error)
            return
        for happening in happenings:
            if isinstance(happening, Measured):
                self.known[happening.trial] = happening.timing
                self._fruitless.pop(hand.identity, None)
            if isinstance(happening, Finished):
                hand.tokens = 0
            yield happening

    def _lost(self, hand: _Hand, error: Exception) -> Lost:
        self._hands.remove(hand)
        self._fruitless[hand.identity] = self._fruitless.get(hand.identity, 0) + 1
        self._rests[hand.identity] = time.monotonic() + REST
        with contextlib.suppress(Exception):
            ray.kill(hand.actor)
        return Lost(hand.node, _why(error), hand.tokens)


def _why(error: Exception) -> str:
    """In a line: what an actor raised, or what Ray says of its end."""
    cause = getattr(error, "cause", None) or error
    text = getattr(cause, "message", None) or str(cause)
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"[:300]
