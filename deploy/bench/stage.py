"""What suites that need more than one launch ask for, and what they are told; launches nothing."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from deploy.event import Event, Note


@dataclass(frozen=True)
class Aside(Note):
    """What a launch says meanwhile: for whoever looks on, and not for the results."""


@dataclass(frozen=True)
class Side:
    """How a server is to run: with speculation or without, with its kernel tables or with SGLang's own default."""

    speculation: bool
    tables: bool = True


@dataclass(frozen=True)
class Launched:
    """A server that serves: seconds until it did, and a line for each kernel table that its ranks use."""

    seconds: float
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fallen:
    """A server that did not come up, or did not live on: the cause, as the watch names causes, and where it began."""

    kind: str
    rank: int | None
    text: str
    lines: tuple[str, ...] = ()


class Stage(Protocol):
    """Where servers are launched. Whoever gave it to a suite brings the first server back afterwards."""

    def check(self) -> None:
        """Raises DeployError where no side can be launched, or the first server could not be brought back."""

    def launch(self, side: Side) -> Generator[Event, None, Launched | Fallen]:
        """Take the server down and launch it as asked. Raises DeployError where no rank could be started."""

    def fallen(self) -> Generator[Event, None, Fallen | None]:
        """Why no request is answered any more; None where every rank runs."""
