"""What was seen of each rank at one moment, as the judgement of its state needs it. Judges nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy.launch.health import Line, RankState, observe
from deploy.launch.load import Sample
from deploy.launch.pulse import Pulse

READY = ("The server is fired up and ready to roll!", "Dummy health check server started")
MARKS = ("Init torch distributed ends", "Load weight begin", "checkpoint shards", "uda graph begin", "UDA graph begin")
"""What the lines of a start hold that tell how far it is; READY tells its end."""
_NEW_TOKENS = re.compile(r"Prefill batch.*#new-token: (\d+)")


@dataclass(frozen=True)
class LogLine:
    """A line of a rank's log, and when Docker took it, in seconds since the epoch by the node's clock."""

    at: float
    text: str


@dataclass(frozen=True)
class Health:
    """What a rank's health port said: an HTTP status, or 0 and why none came within `seconds`."""

    status: int
    why: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status == 200


@dataclass(frozen=True)
class Start:
    """How far a rank's start is: a phase of `health.PHASES` with its detail, and since when (seconds, as LogLine)."""

    phase: str
    detail: str = ""
    since: float | None = None


@dataclass(frozen=True)
class Seen:
    """One node: its pulse, or why there is none; lines of its log that tell of the start; its health port; watts."""

    rank: int
    host: str
    away: str = ""
    pulse: Pulse | None = None
    lines: tuple[LogLine, ...] = ()
    health: Health = Health(0, "not asked")
    watts: tuple[float, ...] = ()

    @property
    def up(self) -> bool:
        """Whether the rank runs and has been ready: only then it tells what it uses."""
        container = self.pulse.container if self.pulse else None
        return (
            container is not None and container.state == "running" and (self.health.ok or self.start.phase == "ready")
        )

    @property
    def start(self) -> Start:
        """How far the start of the container that runs now is; lines of an earlier run of it do not count."""
        container = self.pulse.container if self.pulse else None
        began = moment(container.since) if container else None
        return read_start(line for line in self.lines if began is None or line.at >= began - 1)


@dataclass(frozen=True)
class Head:
    """What only rank 0 tells: load samples (oldest first), the last line about a batch, a short text it generated."""

    samples: tuple[Sample, ...] = ()
    batch: LogLine | None = None
    text: str | None = None

    @property
    def prefill(self) -> int:
        """Tokens that the last batch began to read; 0 where it was none that reads."""
        found = _NEW_TOKENS.search(self.batch.text) if self.batch else None
        return int(found[1]) if found else 0


def read_start(lines: Iterable[LogLine]) -> Start:
    """Fold the lines of a start, oldest first."""
    start, state = Start("starting"), RankState()
    for line in lines:
        if any(mark in line.text for mark in READY):
            return Start("ready", "", line.at)
        state = observe(state, Line(0, line.text))
        since = start.since if state.phase == start.phase else line.at
        start = Start(state.phase, state.detail, since)
    return start


def moment(text: str) -> float | None:
    """RFC 3339, of up to nine decimals, as seconds since the epoch; None for what is none, as Docker's year 1."""
    try:
        found = datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
    return found if found > 0 else None


def shown(at: float | None) -> str:
    """Seconds since the epoch as RFC 3339 in UTC; empty where they are not known."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
