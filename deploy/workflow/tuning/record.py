"""Measures what is still to be measured, writes it to the journal at once, and says how far it is. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

from deploy.duration import duration
from deploy.event import Event, Note, Progress
from deploy.tune.happening import Began, Finished, Happening, Lost, Measured
from deploy.tune.journal import Journal
from deploy.tune.tally import Tally
from deploy.tune.task import Task, Work
from deploy.workflow.tuning.site import Site

OFTEN = 0.25
"""Seconds between two words on how far it is."""
SIZE = "{} tokens"


def recorded(
    site: Site, work: Work, sizes: Sequence[int], journal: Journal
) -> Generator[Event, None, Mapping[int, str]]:
    """Every measurement is on disk before it is told. Sizes without a result, and why. Raises what the site raises; an
    interruption keeps the rest."""
    if not sizes:
        return {}
    going = site.measured(work, sizes, journal.known)
    told = _Told(Tally(work, sizes, journal.known))
    try:
        with closing(cast(Any, going)):
            for one in going:
                if isinstance(one, Measured):
                    journal.add(one.trial, one.timing, one.node)
                if isinstance(one, Began | Measured | Finished | Lost):
                    yield from told.of(one)
                else:
                    yield one
    except KeyboardInterrupt:
        kept = f"interrupted: {len(journal.known)} measurements are in {journal.path}"
        yield Note(f"{kept}; the same command goes on from there", "warning")
        raise
    return {tokens: why for tokens, why in told.tally.ended.items() if why}


@dataclass
class _Told:
    """What is said of what happens."""

    tally: Tally
    began: float = field(default_factory=time.monotonic)
    last: float = 0.0

    def of(self, one: Happening) -> Iterator[Event]:
        self.tally.take(one)
        if isinstance(one, Lost):
            then = f"; {one.tokens} tokens go to another GPU" if one.tokens else ""
            yield Note(f"{one.node}: its GPU is gone: {one.why}{then}", "warning")
        elif isinstance(one, Finished):
            yield from self._finished(one)
        elif isinstance(one, Measured) and time.monotonic() - self.last >= OFTEN:
            self.last = time.monotonic()
            yield from (self._of_size(one.trial.tokens), self._whole())

    def _finished(self, one: Finished) -> Iterator[Event]:
        made = self.tally.made.get(one.tokens, 0)
        yield Progress(SIZE.format(one.tokens), made, made, "trials")
        if one.failed:
            yield Note(f"{SIZE.format(one.tokens)}: no result: {one.failed}", "warning")
        elif isinstance(self.tally.work, Task):
            yield Note(f"{SIZE.format(one.tokens)}: {self._best(one.tokens)}, {made} trials, on {one.node}")
        yield self._whole()

    def _of_size(self, tokens: int) -> Progress:
        best = self._best(tokens)
        said = f"trials{', best ' + best if best else ''}"
        return Progress(SIZE.format(tokens), self.tally.made[tokens], self.tally.total(tokens), said)

    def _best(self, tokens: int) -> str:
        """Of both GEMMs, against what the GPU could do."""
        seconds = self.tally.pair(tokens)
        if seconds == float("inf") or not isinstance(self.tally.work, Task):
            return ""
        of = f", {seconds / self.tally.work.bound(tokens):.2f} times the bound" if self.tally.work.bounded else ""
        return f"{seconds * 1e6:.1f} µs{of}"

    def _whole(self) -> Progress:
        tally = self.tally
        what = "tune" if isinstance(tally.work, Task) else "compare"
        left = tally.left(time.monotonic() - self.began)
        rest = f", {duration(left)} left" if left else ""
        said = f"trials, {len(tally.ended)} of {len(tally.sizes)} sizes{rest}"
        return Progress(what, tally.all_made, tally.all, said)
