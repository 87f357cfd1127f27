"""What a place that measures has to offer, be it this machine's GPU or a cluster's. Measures nothing itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

from deploy.event import Event
from deploy.tune.happening import Happening
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial


class Site(Protocol):
    """One GPU or many, all of a kind."""

    def ready(self) -> Generator[Event, None, Mapping[str, Any]]:
        """Find the GPUs; what measures, see Journal's IDENTITY, and its ceilings. Raises DeployError where nothing can
        be measured; nothing has been started then."""
        ...

    def measured(self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]) -> Iterator[Happening | Event]:
        """Measure what is not known yet, the sizes in this order. Closing it ends all that it began. Raises DeployError
        where it cannot go on; what was measured until then was told."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...
