"""Signs that a server which answers is ill all the same: text that is garbage, and requests that stand still. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from deploy.launch.load import Sample

LONGEST_CYCLE = 48
"""Characters of the longest cycle that is looked for: some ten tokens."""
READ = 4096
"""Characters that are read, from the end of a text: an answer that falls into a loop does not leave it again."""
_UNREADABLE = re.compile("[�\x00-\x08\x0e-\x1f]")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Rule:
    """When requests stand still: no token for `seconds`, and no GPU that draws `watts` or more."""

    seconds: float
    watts: float


@dataclass(frozen=True)
class Wedge:
    """Requests that stand still: for how many seconds, and what was seen."""

    seconds: float
    text: str


def garbage(text: str) -> str:
    """Why a generated text is what broken kernels generate behind a green health answer, or an empty string.

    Found are silence, unreadable characters, and one token or a short cycle over and over; not a salad of words.
    """
    said = _SPACE.sub(" ", text).strip()[-READ:]
    if not said:
        return "it is empty"
    unreadable = len(_UNREADABLE.findall(said))
    if unreadable > 3 and unreadable * 5 > len(said):
        return f"{unreadable} of {len(said)} characters are unreadable"
    return next((why for period in range(1, LONGEST_CYCLE + 1) if (why := _cycle(said, period))), "")


def _cycle(text: str, period: int) -> str:
    """Why a text is little else than one piece of `period` characters over and over, or an empty string."""
    run = _longest_run(text, period)
    times, share = run // period, run / len(text)
    # A ruler or a row of a table inside a sane answer is neither most of it, nor half of it and as long as this.
    all_of_it = share >= 0.9 and times >= (4 if period == 1 else 8)
    half_of_it = share >= 0.5 and times >= 16 and run >= 256
    if not all_of_it and not half_of_it:
        return ""
    start = _start_of_run(text, period, run)
    return f"{text[start : start + period]!r} {times} times"


def _runs(text: str, period: int) -> list[tuple[int, int]]:
    """(start, length) of every stretch in which each character is the one `period` before it."""
    same = "".join("1" if one == other else "0" for one, other in zip(text, text[period:], strict=False))
    return [(found.start(), found.end() - found.start() + period) for found in re.finditer("1+", same)]


def _longest_run(text: str, period: int) -> int:
    return max((length for _, length in _runs(text, period)), default=0)


def _start_of_run(text: str, period: int, run: int) -> int:
    return next(start for start, length in _runs(text, period) if length == run)


def wedged(samples: Sequence[Sample], rule: Rule) -> Wedge | None:
    """Whether requests stand still at the last of the samples (oldest first), and have so for as long as the rule says.

    Time in which rank 0 logged no batch counts like time that was looked at, so two samples can be enough. A rank 0
    that gives no answer is judged by what it said last: one that had no requests then hangs, and is not wedged.
    """
    still = _still(samples, rule.watts)
    said = [one for one in still if one.load]
    if len(still) < 2 or not said:
        return None
    seconds = max(still[-1].at - still[0].at, min(one.batch_age or 0.0 for one in still))
    return Wedge(seconds, _told(still, said[-1], seconds)) if seconds >= rule.seconds else None


def _still(samples: Sequence[Sample], most_watts: float) -> list[Sample]:
    """The samples at the end over which requests were there and nothing moved, oldest first."""
    newest = next((one for one in reversed(samples) if one.load), None)

    def stands(one: Sample) -> bool:
        same = one.load is None or newest is None or (one.requests > 0 and one.load.tokens == _tokens(newest))
        return same and all(value < most_watts for value in one.watts)

    return list(takewhile(stands, reversed(samples)))[::-1]


def _tokens(one: Sample) -> int:
    return one.load.tokens if one.load else 0


def _told(still: Sequence[Sample], last: Sample, seconds: float) -> str:
    load = last.load
    assert load
    power = [value for one in still for value in one.watts]
    drawn = f"no GPU drew more than {max(power):.0f} W" if power else "power could not be read"
    silent = "" if still[-1].load else " when rank 0 last said so"
    counts = f"requests: {load.running} running, {load.waiting} waiting{silent}"
    return f"{counts}, and no token came for {seconds:.0f} s; {drawn} ({load.source})"
