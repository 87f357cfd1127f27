"""One incident as it is kept: values, their JSON, their folder's name, and which old ones go. Touches no file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deploy.launch.watch.cause import Cause
from deploy.launch.watch.when import Moment, stamp

FORMAT = 1
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[a-z-]+(?:-\d+)?")


@dataclass(frozen=True)
class Incident:
    """What went wrong and what was done.

    `gang` are the starts of the containers by rank, by which a later watch knows the incident again. `missing` are the
    ranks whose logs could not be had yet. `restarts` are those within the window, earlier incidents' too, so that
    folders which go take no history with them. `outcome`: down, restarting, restarted, interrupted, given-up, planned.
    """

    cluster: str
    at: Moment
    cause: Cause
    noticed: str = ""
    gang: Mapping[int, str] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    restarts: tuple[Moment, ...] = ()
    outcome: str = "down"

    @property
    def folder(self) -> str:
        """The name of its folder: date, then cause."""
        return f"{stamp(self.at.wall).replace(':', '-')}-{self.cause.kind}"

    def same_gang(self, gang: Mapping[int, str]) -> bool:
        """Whether these containers, by rank and start, are those that this incident took down."""
        return any(started and self.gang.get(rank) == started for rank, started in gang.items())

    def restarted(self, now: Moment) -> Incident:
        return replace(self, restarts=(*self.restarts, now), outcome="restarting")

    def taken_back(self) -> Incident:
        """As if the last restart had not been tried: it began nothing."""
        return replace(self, restarts=self.restarts[:-1], outcome="down")


def write(incident: Incident) -> str:
    """JSON for incident.json."""
    plain = asdict(incident)
    plain["time"] = stamp(incident.at.wall)
    return json.dumps({"format": FORMAT, **plain}, indent=2) + "\n"


def read(text: str) -> Incident | None:
    """The incident of an incident.json; None where it is none of ours."""
    try:
        found = json.loads(text)
        return _incident(found) if found["format"] == FORMAT else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _incident(found: Mapping[str, Any]) -> Incident:
    cause = found["cause"]
    return Incident(
        cluster=found["cluster"],
        at=Moment(**found["at"]),
        cause=Cause(cause["kind"], cause["rank"], cause["text"], tuple(cause["lines"])),
        noticed=found["noticed"],
        gang={int(rank): started for rank, started in found["gang"].items()},
        missing=tuple(found["missing"]),
        restarts=tuple(Moment(**one) for one in found["restarts"]),
        outcome=found["outcome"],
    )


def history(incidents: Iterable[Incident], now: Moment, window: float) -> tuple[Moment, ...]:
    """The restarts within `window` seconds that any incident tells of, each once, the oldest first."""
    found = {restart for one in incidents for restart in one.restarts if restart.age(now) < window}
    return tuple(sorted(found, key=lambda one: -one.age(now)))


def surplus(folders: Sequence[tuple[str, int]], most: int, most_bytes: float) -> tuple[str, ...]:
    """The folders (name, bytes) that must go, the oldest first; the newest always stays. Strangers' are left alone."""
    ours = sorted((one for one in folders if _NAME.fullmatch(one[0])), reverse=True)
    gone, total = [], 0
    for index, (name, size) in enumerate(ours):
        total += size
        if index and (index >= most or total > most_bytes):
            gone.append(name)
    return tuple(reversed(gone))
