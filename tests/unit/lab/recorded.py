"""A stand-in for the lab's hands: remembers what it was asked to run and answers from a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.lab.host import Host, Outcome


class RecordedHost(Host):
    """`answers` maps a part of a command line to what it prints, or to an exit code."""

    def __init__(self, answers: Mapping[str, str | int] | None = None) -> None:
        super().__init__()
        self.answers = dict(answers or {})
        self.ran: list[str] = []

    def attempt(self, argv: Sequence[str], stdin: str | None = None, env: Mapping[str, str] | None = None) -> Outcome:
        line = " ".join(argv)
        self.ran.append(line)
        answer = next((answer for part, answer in self.answers.items() if part in line), "")
        return Outcome(
            tuple(argv), answer if isinstance(answer, int) else 0, "" if isinstance(answer, int) else answer, ""
        )

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        return [call() for call in calls]
