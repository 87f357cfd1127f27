"""What has been seen of a cluster while it is watched, folded into one value. Asks nothing and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.launch.load import Sample
from deploy.launch.node import RunningRank
from deploy.launch.pulse import Pulse, Silent
from deploy.launch.symptom import garbage
from deploy.launch.watch.when import epoch

KEPT_SAMPLES = 600
CLOCK_SET_SECONDS = 4.0


@dataclass(frozen=True)
class Health:
    """What a rank's health port said at `at` (monotonic seconds); `what` is its answer where it is not a good one."""

    rank: int
    at: float
    ok: bool
    what: str = ""


@dataclass(frozen=True)
class Said:
    """The text that rank 0 generated when it was asked for one; None where none came in time."""

    at: float
    text: str | None

    @property
    def bad(self) -> str:
        """Why the text is garbage, or empty."""
        return "" if self.text is None else garbage(self.text)


Seen = Pulse | Silent | Health | Said | Sample


@dataclass(frozen=True)
class NodeView:
    """One node and its rank. Times are monotonic seconds of this machine; None: it is not so now.

    `ahead` is the node's clock less ours, from the pulse that came fastest.
    """

    heard: float
    pulse: Pulse | None = None
    ahead: float = 0.0
    lost: str = ""
    engine_silent: float | None = None
    absent: float | None = None
    healthy: float | None = None
    unhealthy: float | None = None
    answer: str = ""

    def after_pulse(self, pulse: Pulse) -> NodeView:
        knows = not pulse.docker_error
        return replace(
            self,
            heard=pulse.at,
            pulse=pulse,
            ahead=self._ahead(pulse),
            lost="",
            engine_silent=_since(self.engine_silent, pulse.at, holds=not knows),
            absent=_since(self.absent, pulse.at, holds=knows and not pulse.ranks),
        )

    def _ahead(self, pulse: Pulse) -> float:
        found = pulse.clock - pulse.at
        # More than any delay: the node's clock was set.
        return max(found, self.ahead) if self.pulse and abs(found - self.ahead) < CLOCK_SET_SECONDS else found

    def finished(self, container: RunningRank) -> float:
        """When a container of this node ended, by our clock."""
        return epoch(container.since) - self.ahead

    def after_health(self, seen: Health) -> NodeView:
        if seen.ok:
            return replace(self, healthy=seen.at, unhealthy=None, answer="")
        return replace(self, unhealthy=_since(self.unhealthy, seen.at, holds=True), answer=seen.what)


def _since(before: float | None, now: float, *, holds: bool) -> float | None:
    return (now if before is None else before) if holds else None


@dataclass(frozen=True)
class Scene:
    """The whole cluster since `began`. `answered`: rank 0 has generated text. `bad_texts`: why the last ones in a row
    were garbage."""

    began: float
    nodes: Mapping[int, NodeView]
    answered: bool = False
    samples: tuple[Sample, ...] = ()
    bad_texts: tuple[str, ...] = ()

    @staticmethod
    def of(size: int, now: float, *, answered: bool = False) -> Scene:
        """Nothing seen yet; a server that has `answered` was healthy a moment ago."""
        healthy = now if answered else None
        return Scene(now, {rank: NodeView(now, healthy=healthy) for rank in range(size)}, answered)

    def after(self, seen: Seen) -> Scene:
        if isinstance(seen, Sample):
            return replace(self, samples=(*self.samples, seen)[-KEPT_SAMPLES:])
        if isinstance(seen, Said):
            return self._after_text(seen)
        node = self.nodes[seen.rank]
        if isinstance(seen, Pulse):
            node = node.after_pulse(seen)
        elif isinstance(seen, Silent):
            node = replace(node, lost=seen.why or "its connection ended")
        else:
            node = node.after_health(seen)
        return replace(self, nodes={**self.nodes, seen.rank: node})

    def _after_text(self, seen: Said) -> Scene:
        if seen.text is None:
            return self
        return replace(self, answered=True, bad_texts=(*self.bad_texts, seen.bad) if seen.bad else ())

    @property
    def pulses(self) -> Mapping[int, Pulse]:
        """The last pulse of every node that was ever heard."""
        return {rank: node.pulse for rank, node in self.nodes.items() if node.pulse}

    @property
    def holder(self) -> str:
        """Who holds the cluster's lock on some node, or empty."""
        return next((pulse.holder for pulse in self.pulses.values() if pulse.holder), "")

    @property
    def running(self) -> bool:
        """Every rank's container runs, as far as nodes say."""
        found = [pulse.container for pulse in self.pulses.values()]
        return len(found) == len(self.nodes) and all(one is not None and one.state == "running" for one in found)
