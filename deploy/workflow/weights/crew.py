"""Roles that nodes play at the same time, and what they say, in the order in which it comes."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.command import Command, Result
from deploy.errors import HubError, WeightsError
from deploy.remote.execute import Fleet
from deploy.remote.fed import Fed

Line = Mapping[str, Any]
ENDS_WITHIN = 5.0


@dataclass(frozen=True)
class Said:
    """One line of a role on a node, or how it ended."""

    rank: int
    role: str
    line: Line | None = None
    over: Result | None = None


class Crew:
    """All that it starts ends with `stop`, and on nodes that hear nothing more of this side by itself."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._said: queue.Queue[Said] = queue.Queue()
        self._running: dict[tuple[int, str], Fed] = {}
        self._words: dict[tuple[int, str], list[str]] = {}
        self._errors: dict[tuple[int, str], Line] = {}

    def start(self, rank: int, role: str, command: Command) -> None:
        """Begin a role on a node."""
        self._words[rank, role] = []
        put = self._said.put
        hear = self._hearing(rank, role)
        self._running[rank, role] = Fed(self._fleet, rank, command, hear, lambda over: put(Said(rank, role, over=over)))

    def _hearing(self, rank: int, role: str) -> Callable[[str], None]:
        def hear(text: str) -> None:
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict):
                self._words[rank, role] = [*self._words[rank, role][-3:], text]
            elif "error" in line:
                self._errors[rank, role] = line
            else:
                self._said.put(Said(rank, role, line))

        return hear

    def listen(self, timeout: float) -> Said | None:
        """What is said next, or nothing in that time."""
        try:
            return self._said.get(timeout=timeout)
        except queue.Empty:
            return None

    def error(self, rank: int, role: str, over: Result) -> WeightsError:
        """Why a role ended before its time, in its own words where it had any."""
        told = self._errors.get((rank, role))
        if told:
            kind = HubError if told.get("passing") else WeightsError
            return kind(str(told["error"]), str(told["hint"]))
        words = " | ".join(self._words[rank, role])
        if over.code is None:
            return WeightsError(over.tail(1))
        return WeightsError(": ".join(filter(None, (f"exit code {over.code}", words))), "see what the node itself says")

    def stop(self) -> None:
        """End every role that still plays, and wait a little for that."""
        for one in self._running.values():
            one.stop()
        for one in self._running.values():
            one.wait(ENDS_WITHIN)
        self._running.clear()


def answers(
    fleet: Fleet, role: str, commands: Mapping[int, Command]
) -> tuple[dict[int, Line], dict[int, WeightsError]]:
    """The last line of one role on each node, and why there is none, by rank."""
    crew, found, failed = Crew(fleet), dict[int, Line](), dict[int, WeightsError]()
    for rank, command in commands.items():
        crew.start(rank, role, command)
    try:
        going = set(commands)
        while going:
            said = crew.listen(1.0)
            if said and said.line:
                found[said.rank] = said.line
            elif said and said.over:
                going.discard(said.rank)
                if not said.over.ok or said.rank not in found:
                    failed[said.rank] = crew.error(said.rank, role, said.over)
    finally:
        crew.stop()
    return {rank: line for rank, line in found.items() if rank not in failed}, failed
