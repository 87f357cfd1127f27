"""How far measuring has come: trials made of an estimate, and each batch size's best so far. A fold; keeps no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.tune.comparison import ROUNDS
from deploy.tune.happening import Finished, Happening, Measured
from deploy.tune.play import Fastest
from deploy.tune.search import GEMMS
from deploy.tune.task import Task, Work
from deploy.tune.trial import Timing, Trial

MORE, LEAST = 1.3, 20
"""Trials of a whole search for each candidate (1.1 to 1.4 over 17 batch sizes on an H100), and of the finalists."""


def expected(work: Work) -> int:
    """Trials of one batch size, as an estimate."""
    if isinstance(work, Task):
        return LEAST + round(MORE * sum(len(some) for some in work.candidates.values()))
    return 2 * len(GEMMS) * ROUNDS


@dataclass
class Tally:
    """`sizes` are those that were to be measured; trials that were known before count as made."""

    work: Work
    sizes: Sequence[int]
    known: Mapping[Trial, Timing]
    new: int = 0
    made: dict[int, int] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    """Sizes with all their measurements, and why there is no result all the same."""
    best: dict[int, Fastest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._guess = expected(self.work)
        stages = ("compare",) if not isinstance(self.work, Task) else ("sift", "again", "order", "final", "check")
        for trial, timing in self.known.items():
            if trial.tokens in self.sizes and trial.stage in stages:
                self._take(trial, timing)

    def take(self, happening: Happening) -> None:
        """Only new measurements and ends count."""
        if isinstance(happening, Measured):
            self.new += 1
            self._take(happening.trial, happening.timing)
        elif isinstance(happening, Finished):
            self.ended[happening.tokens] = happening.failed

    def _take(self, trial: Trial, timing: Timing) -> None:
        self.made[trial.tokens] = self.made.get(trial.tokens, 0) + 1
        self.best.setdefault(trial.tokens, Fastest()).take(trial, timing)

    def total(self, tokens: int) -> int:
        """Trials of a size: those made once it has ended, before that as the sizes that ended lead to expect."""
        made = self.made.get(tokens, 0)
        if tokens in self.ended:
            return made
        ended = [self.made[one] for one in self.ended if self.made.get(one)]
        guess = round(sum(ended) / len(ended)) if ended else self._guess
        return max(guess, made + 1)

    @property
    def all_made(self) -> int:
        return sum(self.made.get(tokens, 0) for tokens in self.sizes)

    @property
    def all(self) -> int:
        return sum(self.total(tokens) for tokens in self.sizes)

    def left(self, elapsed: float) -> float | None:
        """Seconds that the rest takes at the rate of the new trials; None before there is one."""
        return elapsed / self.new * (self.all - self.all_made) if self.new else None

    def pair(self, tokens: int) -> float:
        """Seconds of the best pair of a size so far; infinite before there is one."""
        return self.best[tokens].pair if tokens in self.best else float("inf")
