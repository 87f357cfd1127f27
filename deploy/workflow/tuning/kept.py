"""A journal in place of a GPU: what it holds is all there is. Measures nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from deploy.errors import ConfigError, TuneError
from deploy.event import Event, Note
from deploy.tune.happening import Happening
from deploy.tune.journal import Journal
from deploy.tune.problem import Problem
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial


class Kept:
    """A Site for tables from measurements that were made before, perhaps on another machine."""

    def __init__(self, problem: Problem, file: Path) -> None:
        self._problem, self._file = problem, file

    def ready(self) -> Generator[Event, None, Mapping[str, Any]]:
        """The facts of the device that measured. Raises ConfigError where there is no file, TuneError where it is of
        something else."""
        if not self._file.is_file():
            hint = "name the one that a run wrote: --journal FILE"
            raise ConfigError(f"{self._file}: there is no journal", hint)
        with closing(Journal(self._file, self._problem.as_json(), None)) as journal:
            facts: Mapping[str, Any] = journal.facts
        if not facts:
            raise TuneError(f"{self._file}: is empty", "measure first, with --local or --nodes")
        yield Note(f"measured on {facts['device']}; nothing is measured now")
        return facts

    def measured(self, work: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]) -> Iterator[Happening | Event]:  # noqa: ARG002
        """Nothing."""
        yield from ()

    def close(self) -> None:
        """There is nothing to leave."""
