"""Times as Docker and folders write them, and ages that a clock which is set back does not break. Reads no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def epoch(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time with up to nanoseconds; 0 where it is none."""
    found = _RFC3339.fullmatch(text)
    if not found:
        return 0.0
    moment = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return moment.timestamp() + float(f"0.{found[2] or 0}")


def stamp(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Moment:
    """One moment of this machine: wall clock, which boot it was, and seconds since that boot began."""

    wall: float
    boot: str
    up: float

    def age(self, now: Moment) -> float:
        """Seconds from this moment to `now`.

        Within one boot the wall clock plays no part. Over boots it may have been set back: then all that is known is
        that this boot came later.
        """
        if self.boot == now.boot:
            return max(now.up - self.up, 0.0)
        return max(now.wall - self.wall, now.up)
