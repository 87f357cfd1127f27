"""All that is to be tuned in a run: a problem, its batch sizes, and the one search that belongs to each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploy.kernels.default import default_segments
from deploy.kernels.finding import Target
from deploy.kernels.table import Config
from deploy.tune.comparison import Comparison, comparison_of
from deploy.tune.play import replayed
from deploy.tune.problem import Problem, problem_of
from deploy.tune.roofline import Ceilings, bound
from deploy.tune.search import Asking, Found, NothingRunsError, search
from deploy.tune.trial import GemmName, Timing, Trial, config_of

ENOUGH = 0.02
"""A pair of GEMMs within this share of the bound is taken for the best."""


@dataclass(frozen=True)
class Task:
    """`sizes` in the order in which they are handed out. `ceilings` are those that the journal began with, since what
    a search asks for follows from them. `only` are the candidates where it is not all of SGLang's space."""

    problem: Problem
    sizes: tuple[int, ...]
    ceilings: Ceilings
    only: tuple[Config, ...] = ()

    def search(self, tokens: int) -> Asking:
        """The search of one batch size. The same wherever and whenever it is played."""
        first = [_default(self.problem, tokens)]
        enough = self.bound(tokens) * (1 + ENOUGH) if self.bounded else 0.0
        return search(tokens, self.candidates, first, enough)

    @property
    def candidates(self) -> Mapping[GemmName, Sequence[Config]]:
        """Those that fit, with one GROUP_SIZE_M."""
        return self.problem.fitting(self.only) if self.only else self.problem.candidates

    @property
    def bounded(self) -> bool:
        """Whether `bound` is one: other routing than uniform meets fewer experts, and may take less."""
        return not (self.problem.skew or self.problem.recorded)

    def bound(self, tokens: int) -> float:
        """Seconds that both GEMMs take at least."""
        shape = self.problem.shape
        return sum(bound(shape, gemm, tokens, self.ceilings) for gemm in shape.gemms)

    def as_json(self) -> dict[str, Any]:
        """For a worker on another machine."""
        ceilings = {"bandwidth": self.ceilings.bandwidth, "operations": self.ceilings.operations}
        only = [asdict(one) for one in self.only]
        return {"problem": self.problem.as_json(), "sizes": list(self.sizes), "ceilings": ceilings, "only": only}


Work = Task | Comparison


def task_of(fields: Mapping[str, Any]) -> Work:
    """The inverse of both kinds' `as_json`, as JSON leaves it."""
    if "pairs" in fields:
        return comparison_of(fields)
    only = tuple(map(config_of, fields["only"]))
    return Task(problem_of(fields["problem"]), tuple(fields["sizes"]), Ceilings(**fields["ceilings"]), only)


def longest_first(sizes: Sequence[int]) -> tuple[int, ...]:
    """The order in which sizes are handed out, so that none is left over at the end."""
    return tuple(sorted(sizes, reverse=True))


def _default(problem: Problem, tokens: int) -> Config:
    """What SGLang would take, with one tile order."""
    target = replace(Target(), gpu=problem.gpu, fitted_default=True)
    segments = default_segments(problem.shape, target)
    return next((one.config for one in segments if one.first <= tokens <= one.last), segments[-1].config)


@dataclass(frozen=True)
class Results:
    """What was found for each size whose measurements are all there, and why nothing was for others."""

    found: Mapping[int, Found]
    failed: Mapping[int, str]


def results(task: Task, known: Mapping[Trial, Timing]) -> Results:
    """What follows from measurements: a search is played again, and nothing is measured."""
    found: dict[int, Found] = {}
    failed: dict[int, str] = {}
    for tokens in sorted(task.sizes):
        try:
            result = replayed(task.search(tokens), known)
        except NothingRunsError as error:
            failed[tokens] = str(error)
            continue
        if result:
            found[tokens] = result
    return Results(found, failed)
