"""What an operation says while it runs; views, JSON and exit codes are folds over these, and nothing here prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One fact for the user, as one plain line. `level` is info, warning or done."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Progress:
    """How far a task has come, in bytes or pieces; `total` is None where the source does not say.

    `rate` is in bytes a second over the whole task so far, None where it is not known; the time left follows from it.
    """

    task: str
    current: int
    total: int | None = None
    detail: str = ""
    rate: float | None = None


@dataclass(frozen=True)
class RankPhase:
    """A rank has reached a phase (see `launch.health`); `detail` is "37 %" or the like."""

    rank: int
    node: str
    phase: str
    detail: str = ""


@dataclass(frozen=True)
class LogLine:
    """One line that a rank said."""

    rank: int
    text: str


@dataclass(frozen=True)
class Watched:
    """One change that the watch of a running cluster tells.

    `what` is for scripts: watching, waiting, lost, back, memory, trouble, down, incident, restarting, restarted,
    given-up, planned, standing-back, stopped. `at` is the time in UTC, RFC 3339; `folder` is where an incident is kept.
    """

    what: str
    text: str
    at: str
    rank: int | None = None
    folder: str = ""

    @property
    def loud(self) -> bool:
        return self.what in ("lost", "memory", "trouble", "down", "incident", "restarting", "given-up")


Event = Note | Progress | RankPhase | LogLine | Watched
