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
    """How far a task has come, in bytes or pieces; `total` is None where the source does not say."""

    task: str
    current: int
    total: int | None = None
    detail: str = ""


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


Event = Note | Progress | RankPhase | LogLine
