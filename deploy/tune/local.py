"""One GPU makes all searches of a task, one after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from deploy.tune.happening import Began, Finished, Happening, Measured
from deploy.tune.play import Made, NoMemoryError, Times, play
from deploy.tune.search import NothingRunsError
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial


def measured(
    task: Work, sizes: Iterable[int], device: Times, known: Mapping[Trial, Timing], node: str = "here"
) -> Iterator[Happening]:
    """Measure what is not known yet, and say so. A size that the GPU's memory does not hold now is left."""
    for tokens in sizes:
        yield Began(node, tokens)
        yield from _searched(play(task.search(tokens), device, known), tokens, node)


def _searched(playing: Generator[Made, None, Any], tokens: int, node: str) -> Iterator[Happening]:
    try:
        for trial, timing in playing:
            yield Measured(node, trial, timing)
    except (NothingRunsError, NoMemoryError) as error:
        yield Finished(node, tokens, str(error))
        return
    yield Finished(node, tokens)
