"""All that is to be tuned in a run: a problem, its batch sizes, and the one search that belongs to each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deploy.kernels.default import default_segments
from deploy.kernels.finding import Target
from deploy.kernels.table import Config
from deploy.tune.play import play
from deploy.tune.problem import Problem, problem_of
from deploy.tune.roofline import Ceilings, bound
from deploy.tune.search import Asking, Found, NothingRunsError, search
from deploy.tune.trial import Timing, Trial

ENOUGH = 0.02
"""A pair of GEMMs within this share of the bound is taken for the best."""


@dataclass(frozen=True)
class Task:
    """`sizes` in the order in which they are handed out. `ceilings` are those that the journal began with, since what
    a search asks for follows from them."""

    problem: Problem
    sizes: tuple[int, ...]
    ceilings: Ceilings

    def search(self, tokens: int) -> Asking:
        """The search of one batch size. The same wherever and whenever it is played."""
        first = [_default(self.problem, tokens)]
        return search(tokens, self.problem.candidates, first, self.bound(tokens) * (1 + ENOUGH))

    def bound(self, tokens: int) -> float:
        """Seconds that both GEMMs take at least."""
        shape = self.problem.shape
        return sum(bound(shape, gemm, tokens, self.ceilings) for gemm in shape.gemms)

    def as_json(self) -> dict[str, Any]:
        """For a worker on another machine."""
        ceilings = {"bandwidth": self.ceilings.bandwidth, "operations": self.ceilings.operations}
        return {"problem": self.problem.as_json(), "sizes": list(self.sizes), "ceilings": ceilings}


def task_of(fields: Mapping[str, Any]) -> Task:
    """The inverse of `Task.as_json`, as JSON leaves it."""
    return Task(problem_of(fields["problem"]), tuple(fields["sizes"]), Ceilings(**fields["ceilings"]))


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
            found[tokens] = _replayed(task.search(tokens), known)
        except _UnknownError:
            continue
        except NothingRunsError as error:
            failed[tokens] = str(error)
    return Results(found, failed)


def _replayed(asking: Asking, known: Mapping[Trial, Timing]) -> Found:
    try:
        next(play(asking, _Nothing(), known))
    except StopIteration as end:
        found: Found = end.value
        return found
    raise AssertionError("nothing was measured, so nothing can be told")


class _UnknownError(Exception):
    """A measurement that the journal does not have."""


class _Nothing:
    """In place of a GPU where everything must be known."""

    def prepare(self, trials: Iterable[Trial]) -> None:
        """There is nothing to compile for."""

    def time(self, trial: Trial, limit: float) -> Timing:  # noqa: ARG002
        raise _UnknownError
